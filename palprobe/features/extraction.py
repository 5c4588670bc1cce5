"""Extraction: what a task's clips sound like to an encoder, computed once per clip and kept in the feature store."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
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
from palprobe.features.clips import SHOWN, ClipIndex, Progress
from palprobe.features.decoding import Work, decoded_batches
from palprobe.features.identity import feature_identity, record_identity
from palprobe.features.shard import Item
from palprobe.features.store import FeatureStore
from palprobe.features.writer import StoreWriter, stored_values
from palprobe.files import differences
from palprobe.recipe import EncoderSpec, Recipe
from palprobe.types import Encoder, Example

LIBRARIES = ("torch", "torchaudio", "transformers")


@dataclass(frozen=True)
class Extraction:
    """What became of the distinct clips of a task: found = used + dropped, used = encoded + reused."""

    store_path: Path
    fingerprint: str
    found: int
    dropped: int  # not decodable
    used: int
    padded: int  # of the used ones: shorter than one token, filled up with zeros
    encoded: int  # now
    reused: int  # were there
    failures: tuple[tuple[str, str, str], ...]  # (example id, path, reason) of each dropped clip
    seconds: float  # that this call took
    audio_seconds: float  # length of the clips encoded now
    notes: tuple[str, ...] = ()  # worth a warning: libraries or device differ from those that began the store


def extract(
    spec: EncoderSpec,
    examples: Sequence[Example],
    recipe: Recipe,
    root: Path,
    *,
    device: str = "cpu",
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> Extraction:
    """Encodes every clip of the examples that the store does not hold yet; may be stopped and run again at any time.

    Args:
        spec: the encoder; it is not loaded when there is nothing to encode.
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
    identity = feature_identity(spec, recipe)
    record_identity(spec, recipe, root, identity)
    store, failed = _known(root, identity, clips)
    losses = _Losses({} if retry_failed else failed, found=len(clips), max_dropped=recipe.data.max_dropped)
    done = set(losses.failed) | {key for key in clips if store is not None and key in store}
    work = [Work(key, example, index.seconds(example)) for key, example in clips.items() if key not in done]
    notes: tuple[str, ...] = ()
    if work or store is None:
        _check_files(work)
        encoder = load_encoder(spec, recipe.encoder, device=device)
        info = _info(encoder, device) | {"origin": origin(spec, recipe.encoder)}
        store = FeatureStore.create(root, identity, info)
        notes = tuple(differences(_origin(store.info), _origin(info)))
        _check_space(work, encoder, store.path, recipe.store.dtype)
        _encode_all(work, encoder, store, recipe, losses, progress=progress)
    return _summary(store, clips, work, losses, seconds=time.monotonic() - begin, notes=notes)


def _distinct(index: ClipIndex, examples: Sequence[Example]) -> dict[str, Example]:
    """Key → the first example that asks about the clip."""
    clips: dict[str, Example] = {}
    for key, example in zip(index.keys(examples), examples, strict=True):
        clips.setdefault(key, example)
    return clips


def _summary(
    store: FeatureStore,
    clips: Mapping[str, Example],
    work: Sequence[Work],
    losses: _Losses,
    *,
    seconds: float,
    notes: tuple[str, ...],
) -> Extraction:
    encoded = [item for item in work if item.key not in losses.failed]
    used = len(clips) - len(losses.failed)
    return Extraction(
        store_path=store.path,
        fingerprint=store.fingerprint,
        found=len(clips),
        dropped=len(losses.failed),
        used=used,
        padded=sum(store.padded(key) for key in clips if key in store),
        encoded=len(encoded),
        reused=used - len(encoded),
        failures=tuple(losses.failed.values()),
        seconds=seconds,
        audio_seconds=sum(item.seconds for item in encoded),
        notes=notes,
    )


class _Losses:
    """Clips that could not be decoded; more than are allowed stop the extraction."""

    def __init__(self, failed: dict[str, tuple[str, str, str]], *, found: int, max_dropped: float) -> None:
        self.failed = failed  # key → (example id, path, reason)
        self.found = found
        self._max_dropped = max_dropped
        self._check()

    def add(self, work: Work, reason: str) -> None:
        self.failed[work.key] = (work.example.id, str(work.example.audio), reason)
        self._check()

    def _check(self) -> None:
        if len(self.failed) <= self._max_dropped * self.found:
            return
        shown = "; ".join(f"{name}: {reason}" for name, _, reason in list(self.failed.values())[:SHOWN])
        needed = math.ceil(1000 * len(self.failed) / self.found) / 1000
        raise DataError(
            f"{len(self.failed)} of {self.found} clips cannot be decoded, more than data.max_dropped = "
            f"{self._max_dropped:g} allows ({shown}). Mend the files and add --retry-failed, or go on without them: "
            f"--set data.max_dropped={needed:g} or more."
        )


def _known(
    root: Path, identity: dict[str, Any], clips: Mapping[str, Example]
) -> tuple[FeatureStore | None, dict[str, tuple[str, str, str]]]:
    """The store, if there is one, and which of the clips could not be decoded before."""
    try:
        store = FeatureStore.open(root, identity)
    except UnfinishedError:
        return None, {}
    return store, {key: failure for key, failure in store.failures().items() if key in clips}


def _check_files(work: Sequence[Work]) -> None:
    gone = [str(item.example.audio) for item in work if not item.example.audio.is_file()]
    if gone:
        raise DataError(
            f"{len(gone)} audio files are gone and their clips are not in the store: {', '.join(gone[:SHOWN])}"
            f"{' …' if len(gone) > SHOWN else ''}. Put them back, or use a store that holds these clips."
        )


def _check_space(work: Sequence[Work], encoder: Encoder, path: Path, dtype: str) -> None:
    row_bytes = encoder.dim * np.dtype(dtype).itemsize
    need = sum(item.seconds for item in work) * encoder.frame_rate * encoder.bands * row_bytes
    free = shutil.disk_usage(path).free
    if need > free:
        raise StoreError(
            f"The features of {len(work)} clips need about {need / 1e9:.1f} GB, {path} has {free / 1e9:.1f} GB free. "
            "Free space there, choose another --store, or --set data.limit=N."
        )


def _info(encoder: Encoder, device: str) -> dict[str, Any]:
    return {
        "dim": encoder.dim,
        "frame_rate": encoder.frame_rate,
        "bands": encoder.bands,
        "kind": encoder.kind,
        "versions": {library: version(library) for library in LIBRARIES},
        "device": device,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _origin(info: Mapping[str, Any]) -> dict[str, Any]:
    return {"versions": info.get("versions"), "device": info.get("device")}


def _encode_all(
    work: Sequence[Work],
    encoder: Encoder,
    store: FeatureStore,
    recipe: Recipe,
    losses: _Losses,
    *,
    progress: Progress | None,
) -> None:
    done = losses.found - len(work)
    with (
        closing(decoded_batches(work, encoder.sample_rate)) as batches,
        StoreWriter(store, shard_items=recipe.store.shard_items) as writer,
    ):
        for batch in batches:
            audible = []
            for item, waveform in batch:
                if isinstance(waveform, AudioError):
                    writer.fail(item.key, example_id=item.example.id, path=item.example.audio, reason=str(waveform))
                    losses.add(item, str(waveform))
                else:
                    audible.append((item, torch.from_numpy(waveform)))
            for item, encoded in _encoded(encoder, audible):
                writer.add(_stored(item, encoded, recipe.store.dtype))
            done += len(batch)
            if progress:
                progress(done, losses.found)


def _encoded(encoder: Encoder, audible: Sequence[tuple[Work, Tensor]]) -> list[tuple[Work, Encoded]]:
    if not audible:
        return []
    work, waveforms = zip(*audible, strict=True)
    try:
        return list(zip(work, encode_clips(encoder, waveforms), strict=True))
    except EncoderError as error:
        raise EncoderError(
            f"{error} It was working on the clips {work[0].example.id} to {work[-1].example.id}."
        ) from error


def _stored(work: Work, encoded: Encoded, dtype: str) -> Item:
    return Item(
        key=work.key,
        id=work.example.id,
        audio_sha=work.key.partition(":")[0],
        seconds=work.seconds,
        padded=encoded.padded,
        values=stored_values(encoded.features.values, dtype, name=work.example.id),
    )
