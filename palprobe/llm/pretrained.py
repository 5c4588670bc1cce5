"""Any decoder-only model that AutoModelForCausalLM loads, from a folder, with nothing silently random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from palprobe.errors import WeightsError
from palprobe.llm.attention import ATTENTION
from palprobe.llm.model import LanguageModel
from palprobe.llm.tokenizer import PretrainedTokenizer


def load_pretrained(folder: Path) -> LanguageModel:
    """The model and tokenizer of a folder; safetensors only, no remote code.

    Raises:
        WeightsError: the folder holds another kind of model, lacks weights or a tokenizer, or has no end-of-sequence
            token.
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
    except (ValueError, OSError) as error:
        raise WeightsError(f"{folder} cannot be loaded as a decoder-only LLM: {_first_line(error)}") from error
    _check(model, info, folder)
    try:
        tokenizer = PretrainedTokenizer(folder)
    except (ValueError, OSError) as error:
        raise WeightsError(f"{folder} has no tokenizer that loads: {_first_line(error)}") from error
    if tokenizer.eos is None:
        raise WeightsError(f"{folder}: the tokenizer has no end-of-sequence token, so answers would have no end.")
    return LanguageModel(model, tokenizer)


def _check(model: Any, info: dict[str, Any], folder: Path) -> None:
    missing = sorted(info["missing_keys"])
    if missing:
        raise WeightsError(f"{folder} lacks {len(missing)} weights, which would be random: {', '.join(missing[:5])} …")
    if model.config.is_encoder_decoder or model.base_model is model:
        raise WeightsError(
            f"{folder} holds {type(model).__name__}, which is no decoder-only LLM with a head of its own."
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
