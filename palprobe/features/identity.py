"""What made the features: everything that changes their values, and nothing else; one identity for each store."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palprobe.audio import audio_versions
from palprobe.encoders import EncoderIdentity, identify
from palprobe.encoders.custom_import import neighbours_unchanged, source_file
from palprobe.errors import UnfinishedError
from palprobe.files import append_line, canonical_json, read_lines, sha256_of
from palprobe.recipe import Recipe
from palprobe.specs import EncoderSpec
from palprobe.types import Kind

VERSION = 1  # of extraction: raise it when the stored numbers change for the same encoder and audio
RECORD_NAME = "encoders.jsonl"

Identity = dict[str, Any]


@dataclass(frozen=True)
class StoreIdentity:
    """The identity of one store, the layers whose mean it holds, and the kind of the encoder."""

    fields: Identity
    layers: tuple[int, ...]
    kind: Kind = "general"


def feature_identities(spec: EncoderSpec, recipe: Recipe) -> tuple[StoreIdentity, ...]:
    """The identities of an encoder's features under a recipe, a store each; a user's own class is loaded for it.

    Several stores, one for each layer, where the spec says `@all` or `@weighted`. Torch, transformers and the device
    are no part of an identity: an upgrade must not empty the caches.
    """
    return _identities(identify(spec, recipe.encoder), recipe)


def recorded_identities(spec: EncoderSpec, recipe: Recipe, root: Path) -> tuple[StoreIdentity, ...]:
    """The same identities, without loading a user's class: as recorded when its features were extracted.

    Args:
        spec: the encoder.
        recipe: its `store` and `encoder` sections count.
        root: the folder of all stores, `features/`.

    Raises:
        UsageError: a user's file is not there.
        UnfinishedError: nothing was extracted with the user's file as it is now.
    """
    if not spec.runs_user_code:
        return feature_identities(spec, recipe)
    wanted = _record_key(spec, recipe)
    record = root / RECORD_NAME
    lines = list(read_lines(record, skip_damaged=True)) if record.exists() else []
    file = source_file(spec)
    matching = [line for line in lines if line["key"] == wanted and neighbours_unchanged(line["identity"], file)]
    if not matching:
        raise UnfinishedError(
            f"Encoder {spec.text} has no features in {root} yet. Run `palprobe extract` for it first."
        )
    layers = tuple(tuple(layers) for layers in matching[-1]["layers"])
    kind = matching[-1].get("kind", "general")  # records of old have none
    return _identities(EncoderIdentity(matching[-1]["identity"], layers, kind), recipe)


def record_identities(spec: EncoderSpec, recipe: Recipe, root: Path, identities: tuple[StoreIdentity, ...]) -> None:
    """Remembers a user's encoder, so that later stages need not load it; registered ones need no record."""
    if not spec.runs_user_code:
        return
    try:
        known = recorded_identities(spec, recipe, root) == identities
    except UnfinishedError:
        known = False
    if not known:
        line = {"identity": identities[0].fields["encoder"], "layers": [store.layers for store in identities]}
        append_line(root / RECORD_NAME, {"key": _record_key(spec, recipe), **line, "kind": identities[0].kind})


def _identities(encoder: EncoderIdentity, recipe: Recipe) -> tuple[StoreIdentity, ...]:
    return tuple(
        StoreIdentity(_identity(encoder.fields, layers, recipe), layers, encoder.kind) for layers in encoder.layers
    )


def _identity(encoder: dict[str, Any], layers: tuple[int, ...], recipe: Recipe) -> Identity:
    identity = {
        "encoder": encoder,
        "layer": layers[0] if len(layers) == 1 else f"mean:{layers[0]}-{layers[-1]}",
        "dtype": recipe.store.dtype,
        "channels": "mean",
        "windows": "consecutive, of max_seconds; valid tokens joined",
        "padding": "zeros, up to min_samples",
        "extraction": VERSION,
        "audio": audio_versions(),
    }
    plain: Identity = json.loads(canonical_json(identity))  # tuples become lists, as they will in store.json
    return plain


def _record_key(spec: EncoderSpec, recipe: Recipe) -> dict[str, Any]:
    return {"spec": spec.text, "file": sha256_of(source_file(spec)), "options": recipe.encoder.model_dump(mode="json")}
