"""LLMs by name: `tiny`, a local folder, or a hub id; what decides their output; and how they are loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palprobe.errors import WeightsError
from palprobe.files import sha256_of
from palprobe.registry import Part, Registry

if TYPE_CHECKING:
    from palprobe.llm.model import LanguageModel

LLMS = Registry(
    "LLM", {"tiny": Part("palprobe.llm.tiny:build_tiny", "2 layers, 128 wide, bytes as tokens; trained from scratch")}
)

# What decides an LLM's output; other files of a repository (cards, other formats) do not.
IDENTITY_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
)


@dataclass(frozen=True)
class LLMSource:
    """An LLM that was found: its name in tables, its folder (None for a built-in), and its identity."""

    name: str
    folder: Path | None
    identity: dict[str, Any]

    @property
    def is_builtin(self) -> bool:
        return self.folder is None


def find_llm(name: str) -> LLMSource:
    """The LLM of that name, not loaded: a built-in, a local folder, or a hub id in the cache or on the hub.

    Raises:
        WeightsError: neither; the message has the download command.
    """
    if name in LLMS.parts:
        from palprobe.llm.tiny import VERSION

        return LLMSource(name, None, {"name": name, "version": VERSION})
    folder = Path(name)
    if not folder.is_dir():
        folder = _from_hub(name)
    weights = sorted(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not weights:
        raise WeightsError(
            f"{folder} is no LLM folder: it needs config.json, a tokenizer and *.safetensors weights "
            "(pickled .bin weights are not read)."
        )
    files = [*(folder / file for file in IDENTITY_FILES if (folder / file).is_file()), *weights]
    return LLMSource(name, folder, {"files": {file.name: sha256_of(file) for file in files}})


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    patterns = ["*.json", "*.safetensors", "tokenizer.model", "merges.txt"]
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
    except HFValidationError as error:
        raise WeightsError(
            f"LLM {name!r} is neither a local folder nor a hub id. Built in: {', '.join(LLMS.parts)}."
        ) from error
    except LocalEntryNotFoundError:
        pass
    if not offline:
        try:
            return Path(snapshot_download(name, allow_patterns=patterns))
        except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError):
            pass  # told below, with what to do
    raise WeightsError(
        f"LLM {name!r} is neither a local folder nor in the hub cache, and the hub was not reached. "
        f"Download it with `hf download {name}`, give a folder, or use --llm tiny."
    )


def load_llm(source: LLMSource, *, seed: int, device: str = "cpu") -> LanguageModel:
    """The LLM with its weights, in float32, frozen or not as the trainer decides.

    Args:
        source: from `find_llm`.
        seed: of a built-in's initial weights.
        device: where it runs.

    Raises:
        WeightsError: weights are missing, or the architecture is not decoder-only.
    """
    if source.folder is None:
        model: LanguageModel = LLMS.load(source.name)(seed=seed)
        return model.to(device)
    from palprobe.llm.pretrained import load_pretrained

    return load_pretrained(source.folder).to(device)
