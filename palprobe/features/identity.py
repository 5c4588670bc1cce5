"""What made the features: everything that changes their values, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from palprobe.audio import audio_versions
from palprobe.encoders import identify
from palprobe.errors import UnfinishedError, WeightsError
from palprobe.files import append_line, canonical_json, read_lines, sha256_of
from palprobe.recipe import EncoderSpec, Recipe

VERSION = 1  # of extraction: raise it when the stored numbers change for the same encoder and audio
RECORD_NAME = "encoders.jsonl"


def feature_identity(spec: EncoderSpec, recipe: Recipe) -> dict[str, Any]:
    """The identity of an encoder's features under a recipe; a user's own class is loaded for it.

    Torch, transformers and the device are no part of it: an upgrade must not empty the caches.
    """
    return _identity(identify(spec, recipe.encoder), spec, recipe)


def recorded_identity(spec: EncoderSpec, recipe: Recipe, root: Path) -> dict[str, Any]:
    """The same identity, without loading a user's class: as recorded when its features were extracted.

    Args:
        spec: the encoder.
        recipe: its `store` and `encoder` sections count.
        root: the folder of all stores, `features/`.

    Raises:
        WeightsError: a user's file is not there.
        UnfinishedError: nothing was extracted with the user's file as it is now.
    """
    if spec.name != "file":
        return feature_identity(spec, recipe)
    wanted = _record_key(spec, recipe)
    record = root / RECORD_NAME
    matching = (
        [line["identity"] for line in read_lines(record, skip_damaged=True) if line["key"] == wanted]
        if record.exists()
        else []
    )
    if not matching:
        raise UnfinishedError(
            f"Encoder {spec.text} has no features in {root} yet. Run `palprobe extract` for it first."
        )
    return _identity(matching[-1], spec, recipe)


def record_identity(spec: EncoderSpec, recipe: Recipe, root: Path, identity: dict[str, Any]) -> None:
    """Remembers a user's encoder, so that later stages need not load it; registered ones need no record."""
    if spec.name != "file":
        return
    try:
        known = recorded_identity(spec, recipe, root) == identity
    except UnfinishedError:
        known = False
    if not known:
        append_line(root / RECORD_NAME, {"key": _record_key(spec, recipe), "identity": identity["encoder"]})


def _identity(encoder: dict[str, Any], spec: EncoderSpec, recipe: Recipe) -> dict[str, Any]:
    identity = {
        "encoder": encoder,
        "layer": spec.layer,
        "dtype": recipe.store.dtype,
        "channels": "mean",
        "windows": "consecutive, of max_seconds; valid tokens joined",
        "padding": "zeros, up to min_samples",
        "extraction": VERSION,
        "audio": audio_versions(),
    }
    plain: dict[str, Any] = json.loads(canonical_json(identity))  # tuples become lists, as they will in store.json
    return plain


def _record_key(spec: EncoderSpec, recipe: Recipe) -> dict[str, Any]:
    path = Path(spec.path or "")
    if not path.is_file():
        raise WeightsError(f"Encoder file {path} is not there. Give the path of a Python file, as in my.py:MyEncoder.")
    return {"spec": spec.text, "file": sha256_of(path), "options": recipe.encoder.model_dump(mode="json")}
