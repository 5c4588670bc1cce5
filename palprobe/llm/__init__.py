"""LLMs by name: `tiny`, a local folder, or a hub id; what decides their output; and how they are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palprobe.errors import WeightsError
from palprobe.files import indexed_sha256, read_json, sha256_of
from palprobe.hub import snapshot
from palprobe.llm.families import check_family
from palprobe.recipe import Template
from palprobe.registry import Part, Registry

if TYPE_CHECKING:
    from palprobe.llm.model import LanguageModel
    from palprobe.llm.tokenizer import Tokenizer

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


CHAT_TEMPLATE = "chat_template.jinja"  # of newer repositories; older ones have it in tokenizer_config.json

HUB_PATTERNS = ("*.json", "*.safetensors", "tokenizer.model", "merges.txt", CHAT_TEMPLATE)


@dataclass(frozen=True)
class LLMSource:
    """An LLM that was found: its name in tables, its folder (None for a built-in), and its identity."""

    name: str
    folder: Path | None
    identity: dict[str, Any]
    num_layers: int | None  # None: its config does not say so in the usual words
    revision: str | None = None  # the hub's commit, where it came from there


def find_llm(name: str, index: Path | None = None) -> LLMSource:
    """The LLM of that name, not loaded: a built-in, a local folder, or a hub id in the cache or on the hub.

    Args:
        name: as on the command line.
        index: of files hashed before, whose gigabytes need not be read again; None: they are.

    Raises:
        WeightsError: neither, and the message has the download command; or a family that is refused, with the reason.
    """
    if name in LLMS.parts:
        from palprobe.llm.tiny import NUM_LAYERS, VERSION

        return LLMSource(name, None, {"name": name, "version": VERSION}, NUM_LAYERS)
    local = Path(name).is_dir()
    folder = Path(name) if local else _from_hub(name)
    if not _has_weights(folder):
        raise WeightsError(
            f"{folder} is no LLM folder: it needs config.json, a tokenizer and *.safetensors weights "
            "(pickled .bin weights are not read)."
        )
    check_family(read_json(folder / "config.json"), str(folder))
    files = [*(folder / file for file in IDENTITY_FILES if (folder / file).is_file())]
    files += sorted(folder.glob("*.safetensors"))
    hashes = {file.name: sha256_of(file) if index is None else indexed_sha256(file, index) for file in files}
    return LLMSource(name, folder, {"files": hashes}, _num_layers(folder), None if local else folder.name)


def _num_layers(folder: Path) -> int | None:
    config = read_json(folder / "config.json")
    found = config.get("text_config", config).get("num_hidden_layers") if isinstance(config, dict) else None
    return found if isinstance(found, int) else None


def _from_hub(name: str) -> Path:
    try:
        return snapshot(name, HUB_PATTERNS, is_whole=_has_weights)
    except WeightsError as error:
        raise WeightsError(
            f"LLM {name!r} is neither a local folder nor in the hub cache, and the hub did not give it ({error}). "
            f"Download it with `hf download {name}`, give a folder, or use --llm tiny."
        ) from error


def _has_weights(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def load_llm(source: LLMSource, *, seed: int, device: str = "cpu", template: Template = "raw") -> LanguageModel:
    """The LLM with its weights, in float32, frozen or not as the trainer decides.

    Args:
        source: from `find_llm`.
        seed: of a built-in's initial weights.
        device: where it runs.
        template: of its prompts.

    Raises:
        WeightsError: weights are missing, the architecture is not decoder-only, or there is no chat template.
    """
    if source.folder is None:
        model: LanguageModel = LLMS.load(source.name)(seed=seed)
        model.tokenizer = load_tokenizer(source, template)
        return model.to(device)
    from palprobe.llm.pretrained import load_pretrained

    return load_pretrained(source.folder, template).to(device)


def load_tokenizer(source: LLMSource, template: Template = "raw") -> Tokenizer:
    """The tokenizer alone, without weights.

    Raises:
        WeightsError: a chat template is asked for, and it has none.
    """
    from palprobe.llm.tokenizer import ByteTokenizer, PretrainedTokenizer

    if source.folder is not None:
        return PretrainedTokenizer(source.folder, template)
    if template == "chat":
        raise WeightsError(
            f"prompt.template = chat: {source.name} reads bytes and has no chat template. "
            "Use --set prompt.template=raw, or an instruction-tuned LLM."
        )
    return ByteTokenizer(template)


def template_fields(source: LLMSource, template: Template) -> dict[str, Any]:
    """What of the template stands in a run's identity: nothing for raw prompts, which older runs do not tell either."""
    if template == "raw":
        return {}
    if template != "chat":
        return {"prompt": {"template": template}}
    from palprobe.llm.chat import VERSION

    file = (source.folder or Path()) / CHAT_TEMPLATE
    own = {CHAT_TEMPLATE: sha256_of(file)} if file.is_file() else {}  # else it stands in a file of the LLM's identity
    return {"prompt": {"template": template, "version": VERSION, **own}}
