"""Folders of the encoders that texts are compared by: what must be in one, and its digest; torch is not needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palprobe.errors import WeightsError
from palprobe.files import digest, indexed_sha256, read_json, sha256_of

VERSION = 1  # of what is computed with such a model
CONTENT = (".json", ".txt", ".model", ".safetensors")  # what decides the embeddings; cards and other formats do not
MEAN, MODE = "pooling_mode_mean_tokens", "pooling_mode_"
MODULES = ("Transformer", "Pooling", "Normalize")  # of sentence-transformers; others change embeddings further


def check_folder(key: str, folder: Path, *, pooled: bool) -> None:
    """Refuses a folder that holds no such model, as far as it can be told without loading it.

    Args:
        key: of the recipe, for the message.
        folder: as a hub repository has it.
        pooled: whether a text is to have one embedding; then the mean over its tokens is the only pooling that is read.

    Raises:
        WeightsError: what it lacks, or how it pools.
    """
    tokenizer = any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt", "tokenizer.model"))
    if not (folder / "config.json").is_file() or not tokenizer or not any(folder.glob("*.safetensors")):
        raise WeightsError(
            f"{key}: {folder} is no folder of a text encoder: it needs config.json, a tokenizer and *.safetensors "
            "weights (pickled .bin weights are not read)."
        )
    if pooled and not (_pools_by_mean(folder) and _has_known_modules(folder)):
        raise WeightsError(
            f"{key}: {folder} makes embeddings otherwise than by the mean over a text's tokens, which is all that is "
            "read. Name another model."
        )


def folder_digest(folder: Path, index: Path | None = None) -> str:
    """What decides what a model makes of a text: the bytes of its configuration, tokenizer and weights.

    Args:
        folder: that `check_folder` passed.
        index: of files hashed before; None: all are read.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix in CONTENT and path.is_file())
    hashes = {
        str(path.relative_to(folder)): sha256_of(path) if index is None else indexed_sha256(path, index)
        for path in files
    }
    return digest({"version": VERSION, "files": hashes})


def _pools_by_mean(folder: Path) -> bool:
    path = folder / "1_Pooling" / "config.json"
    content: Any = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        return False
    modes = {key for key, value in content.items() if key.startswith(MODE) and value is True}
    return content.get("pooling_mode", "mean") == "mean" and modes <= {MEAN} and (bool(modes) or not _says(content))


def _says(content: dict[str, Any]) -> bool:
    return any(key.startswith(MODE) for key in content)


def _has_known_modules(folder: Path) -> bool:
    path = folder / "modules.json"
    content: Any = read_json(path) if path.is_file() else []
    if not isinstance(content, list) or not all(isinstance(module, dict) for module in content):
        return False
    return all(str(module.get("type")).rpartition(".")[2] in MODULES for module in content)
