"""Extraction: what a task's clips sound like to an encoder, computed once per clip and kept in the feature store."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palprobe.encoders import load_encoder, origin
from palprobe.encoders.windows import Encoded, encode_clips
from palprobe.errors import AudioError, DataError, EncoderError, StoreError, UnfinishedError
from palprobe.features.clips import ClipIndex, Progress
from palprobe.features.decoding import Work, decode_ahead
from palprobe.features.identity import StoreIdentity, feature_identities, record_identities
from palprobe.features.importing import ImportedFeatures, import_features
from palprobe.features.losses import Losses, check_files
from palprobe.features.shard import Item
from palprobe.features.store import FeatureStore
from palprobe.features.writer import StoreWriter, stored_values
from palprobe.files import differences
from palprobe.recipe import Recipe
from palprobe.specs import EncoderSpec
from palprobe.types import Encoder, Example

LIBRARIES = ("torch", "torchaudio", "transformers")


@dataclass(frozen=True)
class Extraction:
    """What became of the distinct clips of a task: found = used + dropped, used = encoded + reused."""

    stores: tuple[Path, ...]  # one, or one for each layer
    found: int
    dropped: int  # not decodable
    used: int
    padded: int  # of the used ones: shorter than one token, filled up with zeros
    encoded: int  # now
    reused: int  # were there
    failures: tuple[tuple[str, str, str], ...]  # (example id, path, reason) of each dropped clip
    audio_seconds: float  # length of the clips encoded now
    notes: tuple[str, ...]  # worth a warning
    seconds: float = 0.0  # that this call took
    encode_seconds: float = 0.0  # of them, from the first clip to the last shard, after the encoder was loaded


def extract(
    specs: Sequence[EncoderSpec],
    examples: Sequence[Example],
    recipe: Recipe,
    root: Path,
    *,
    device: str = "cpu",
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> Extraction:
    """Encodes every clip of the examples that the stores do not hold yet; may be stopped and run again at any time.

    Args:
        specs: one encoder, with one choice of layers or several: all come from one forward pass. It is not loaded when
            there is nothing to encode.
        examples: at least one; many may ask about one clip.
        recipe: `data.max_dropped`, `store` and `encoder` count.
        root: the folder of all stores, `features/`.
        device: a torch device.
        retry_failed: try clips again that could not be decoded before.
        progress: called with the clips done and all distinct clips.

    Raises:
        DataError: no examples, audio files that are not there, or more than `data.max_dropped` undecodable clips.
        StoreError: features do not fit on the disk or in the dtype, or the store is damaged.
        EncoderError: the encoder broke its contract.
    """
    begin = time.monotonic()
    if not examples:
        raise DataError("There are no examples to extract features for. Check the task and its split.")
    index = ClipIndex(root)
    clips = _distinct(index, examples)
    identities = _distinct_identities(specs, recipe, root)
    stores = [store for store in (_opened(root, identity) for identity in identities) if store is not None]
    whole = len(stores) == len(identities)
    known = _known_failures(stores, clips) if whole and not retry_failed else {}
    losses = Losses(known, found=len(clips), max_dropped=recipe.data.max_dropped)
    there = {key for key in clips if whole and all(key in store for store in stores)} | losses.failed.keys()
    work = [Work(key, example, index.seconds(example)) for key, example in clips.items() if key not in there]
    notes: list[str] = []
    encode_seconds = 0.0
    if work or not whole:
        check_files(work)
        encoder: Encoder | ImportedFeatures
        if specs[0].name == "imported":
            every = [Work(key, example, index.seconds(example)) for key, example in clips.items()]
            encoder = ImportedFeatures(specs[0], every)
        else:
            encoder = load_encoder(specs[0], recipe.encoder, device=device)
        info = _info(encoder, device) | {"origin": origin(specs[0], recipe.encoder)}
        stores = [FeatureStore.create(root, identity.fields, info) for identity in identities]
        notes += _other_makers(stores, info)
        _check_space(work, encoder, root, recipe.store.dtype, copies=len(stores))
        held = dict(zip((identity.layers for identity in identities), stores, strict=True))
        loaded = time.monotonic()
        if isinstance(encoder, ImportedFeatures):
            import_features(encoder, work, stores[0], recipe, losses, progress=progress)
        else:
            _encode_all(work, encoder, held, recipe, losses, progress=progress)
        encode_seconds = time.monotonic() - loaded
        notes += getattr(encoder, "notes", ())  # what somebody's class made us assume
    summary = _summary(stores, clips, work, losses, notes=notes)
    return replace(summary, seconds=time.monotonic() - begin, encode_seconds=encode_seconds)


def _opened(root: Path, identity: StoreIdentity) -> FeatureStore | None:
    try:
        return FeatureStore.open(root, identity.fields)
    except UnfinishedError:
        return None


def _other_makers(stores: Sequence[FeatureStore], info: Mapping[str, Any]) -> list[str]:
    """How libraries or device differ from those that began the stores."""
    lines = [line for store in stores for line in differences(_made_with(store.info), _made_with(info))]
    return [f"other clips of these features were made elsewhere ({line})" for line in lines]


def _distinct_identities(specs: Sequence[EncoderSpec], recipe: Recipe, root: Path) -> list[StoreIdentity]:
    """The stores that the specs ask for, each once; a user's encoder is put on record."""
    identities: dict[tuple[int, ...], StoreIdentity] = {}
    for spec in specs:
        found = feature_identities(spec, recipe)
        record_identities(spec, recipe, root, found)
        identities |= {identity.layers: identity for identity in found}
    return list(identities.values())


def _distinct(index: ClipIndex, examples: Sequence[Example]) -> dict[str, Example]:
    """Key → the first example that asks about the clip."""
    clips: dict[str, Example] = {}
    for key, example in zip(index.keys(examples), examples, strict=True):
        clips.setdefault(key, example)
    return clips


def _known_failures(stores: Sequence[FeatureStore], clips: Mapping[str, Example]) -> dict[str, tuple[str, str, str]]:
    """Which of the clips could not be decoded before; on record in every store, as each is read without the others."""
    failed = [store.failures() for store in stores]
    return {key: failed[0][key] for key in clips if all(key in failures for failures in failed)}


def _summary(
    stores: Sequence[FeatureStore],
    clips: Mapping[str, Example],
    work: Sequence[Work],
    losses: Losses,
    *,
    notes: Sequence[str],
) -> Extraction:
    encoded = [item for item in work if item.key not in losses.failed]
    used = len(clips) - len(losses.failed)
    first = stores[0]
    return Extraction(
        stores=tuple(store.path for store in stores),
        found=len(clips),
        dropped=len(losses.failed),
        used=used,
        padded=sum(first.padded(key) for key in clips if key in first),
        encoded=len(encoded),
        reused=used - len(encoded),
        failures=tuple(losses.failed.values()),
        audio_seconds=sum(item.seconds for item in encoded),
        notes=tuple(dict.fromkeys(notes)),
    )


def _check_space(
    work: Sequence[Work], encoder: Encoder | ImportedFeatures, root: Path, dtype: str, *, copies: int
) -> None:
    row_bytes = encoder.dim * np.dtype(dtype).itemsize * copies
    need = sum(item.seconds for item in work) * encoder.frame_rate * encoder.bands * row_bytes
    free = shutil.disk_usage(root).free
    if need > free:
        raise StoreError(
            f"The features of {len(work)} clips need about {need / 1e9:.1f} GB, {root} has {free / 1e9:.1f} GB free. "
            "Free space there, choose another --store, or --set data.limit=N."
        )


def _info(encoder: Encoder | ImportedFeatures, device: str) -> dict[str, Any]:
    return {
        "dim": encoder.dim,
        "frame_rate": encoder.frame_rate,
        "bands": encoder.bands,
        "kind": encoder.kind,
        "versions": {library: version(library) for library in LIBRARIES},
        "device": device,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _made_with(info: Mapping[str, Any]) -> dict[str, Any]:
    return {"versions": info.get("versions"), "device": info.get("device")}


def _encode_all(
    work: Sequence[Work],
    encoder: Encoder,
    stores: Mapping[tuple[int, ...], FeatureStore],
    recipe: Recipe,
    losses: Losses,
    *,
    progress: Progress | None,
) -> None:
    layers = sorted({layer for held in stores for layer in held})
    done = losses.found - len(work)
    with ExitStack() as stack:
        clips = stack.enter_context(closing(decode_ahead(work, encoder.sample_rate)))
        writers = {
            held: stack.enter_context(StoreWriter(store, shard_items=recipe.store.shard_items))
            for held, store in stores.items()
        }
        for item, waveform in clips:
            if isinstance(waveform, AudioError):
                for writer in writers.values():
                    writer.fail(item.key, example_id=item.example.id, path=item.example.audio, reason=str(waveform))
                losses.add(item, str(waveform))
            else:
                encoded = _encode(encoder, item, torch.from_numpy(waveform), layers)
                for held, writer in writers.items():
                    if item.key not in stores[held]:
                        rows = [layers.index(layer) for layer in held]
                        writer.add(_stored(item, encoded, rows, recipe.store.dtype))
            done += 1
            if progress:
                progress(done, losses.found)


def _encode(encoder: Encoder, item: Work, waveform: Tensor, layers: Sequence[int]) -> Encoded:
    try:
        return encode_clips(encoder, [waveform], layers)[0]
    except EncoderError as error:
        raise EncoderError(f"{error} It was working on the clip {item.example.id}.") from error


def _stored(item: Work, encoded: Encoded, rows: Sequence[int], dtype: str) -> Item:
    """One store's features of a clip: of its layer, or the mean of its layers."""
    values = encoded.features.values[list(rows)]  # (layers, T, D)
    return Item(
        key=item.key,
        id=item.example.id,
        audio_sha=item.key.partition(":")[0],
        seconds=item.seconds,
        padded=encoded.padded,
        values=stored_values(values.mean(0) if len(rows) > 1 else values[0], dtype, name=item.example.id),
    )
