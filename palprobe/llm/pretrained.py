"""Any decoder-only model that AutoModelForCausalLM loads, from a folder, with nothing silently random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from palprobe.errors import PalprobeError, WeightsError
from palprobe.files import read_json
from palprobe.llm.attention import ATTENTION
from palprobe.llm.families import unfit
from palprobe.llm.model import LanguageModel, TextBatch
from palprobe.llm.tokenizer import PretrainedTokenizer
from palprobe.recipe import Template
from palprobe.types import AudioContext

CLOSE = 1e-3  # of the self-check, relative to the largest logit, in float32
# How transformers says that an architecture has attention of its own, or layers without any.
FOREIGN = (PalprobeError, RuntimeError, ValueError, KeyError, AttributeError, TypeError)


def load_pretrained(folder: Path, template: Template = "raw") -> LanguageModel:
    """The model and tokenizer of a folder; safetensors only, no remote code.

    Args:
        folder: as a hub repository has it.
        template: of the prompts.

    Raises:
        WeightsError: the folder holds another kind of model, lacks weights or a tokenizer, has no end-of-sequence
            token or no chat template where one is asked for, or an architecture that would misread audio.
    """
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            attn_implementation=ATTENTION,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        model = _text_part(model)
    except KeyError as error:  # the name of our attention function, where a model looks it up in a list of its own
        raise WeightsError(unfit(str(folder), _family(folder), "its attention is not exchangeable")) from error
    except (ValueError, OSError) as error:
        raise WeightsError(f"{folder} cannot be loaded as a decoder-only LLM: {_first_line(error)}") from error
    _check(model, info, folder)
    try:
        tokenizer = PretrainedTokenizer(folder, template)
    except (ValueError, OSError) as error:
        raise WeightsError(f"{folder} has no tokenizer that loads: {_first_line(error)}") from error
    if tokenizer.eos is None:
        raise WeightsError(f"{folder}: the tokenizer has no end-of-sequence token, so answers would have no end.")
    return _checked(model, tokenizer, folder)


@torch.no_grad()
def _checked(model: Any, tokenizer: PretrainedTokenizer, folder: Path) -> LanguageModel:
    """The LLM, once audio was put into every layer and a padded row read as it is read alone."""
    mask = torch.tensor([[True, True, True], [False, True, True]])
    try:
        llm = LanguageModel(model, tokenizer)
        audio = torch.randn(2, 3, llm.shape.hidden_size, generator=torch.Generator().manual_seed(0))
        together, alone = _read(llm, audio, mask), _read(llm, audio[1:, 1:], mask[1:, 1:])
    except FOREIGN as error:
        raise WeightsError(unfit(str(folder), model.config.model_type, _reason(error))) from error
    if not bool((together - alone).abs().max() <= CLOSE * alone.abs().max()):
        raise WeightsError(unfit(str(folder), model.config.model_type, "padding changes what it reads"))
    return llm


def _read(llm: LanguageModel, audio: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(V,) logits at the end of the last row, of a few tokens with audio in every layer, both padded alike."""
    memory = dict.fromkeys(range(llm.shape.num_layers), audio * llm.shape.embedding_rms)
    ids = torch.arange(3)[-mask.shape[1] :].expand(mask.shape)
    logits: torch.Tensor = llm(TextBatch(ids, mask), AudioContext(memory=memory, memory_mask=mask), logits_to_keep=1)
    return logits[-1, 0]


def _text_part(model: Any) -> Any:
    """The decoder-only LLM inside a model that also sees: its text network and its head, and nothing else of it."""
    text = model.config.get_text_config()
    if text is model.config or model.config.is_encoder_decoder or not hasattr(model, "lm_head"):
        return model
    with torch.device("meta"):
        part = AutoModelForCausalLM.from_config(text, attn_implementation=ATTENTION)
    setattr(part, part.base_model_prefix, model.get_decoder())
    part.lm_head = model.lm_head
    return part


def _check(model: Any, info: dict[str, Any], folder: Path) -> None:
    missing = sorted(info["missing_keys"])
    if missing:
        raise WeightsError(f"{folder} lacks {len(missing)} weights, which would be random: {', '.join(missing[:5])} …")
    if model.config.is_encoder_decoder or model.base_model is model:
        raise WeightsError(
            f"{folder} holds {type(model).__name__}, which is no decoder-only LLM with a head of its own."
        )


def _family(folder: Path) -> str:
    return str(read_json(folder / "config.json").get("model_type"))


def _reason(error: Exception) -> str:
    own = isinstance(error, PalprobeError)  # says it in words
    return _first_line(error) if own else f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
