"""An LLM of any configuration with random weights: it says nothing, and costs what the trained one costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.initialization import no_init_weights

from palprobe.llm.attention import ATTENTION
from palprobe.llm.model import LanguageModel
from palprobe.llm.tokenizer import ByteTokenizer

SPREAD = 0.03  # of uniform weights: activations neither vanish nor overflow


class Endless(ByteTokenizer):
    """Its end is never written, so that decoding takes as many tokens as asked for."""

    eos = -1


def build_untrained(
    config: Mapping[str, Any], *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> LanguageModel:
    """The decoder of that configuration.

    Args:
        config: as in config.json, with `model_type`.
        device: where it runs.
        dtype: of its weights.
    """
    sizes = {key: value for key, value in config.items() if key not in ("model_type", "dtype", "torch_dtype")}
    with no_init_weights():
        made = CONFIG_MAPPING[config["model_type"]](**sizes)
        model = AutoModelForCausalLM.from_config(made, attn_implementation=ATTENTION, dtype=dtype)
    model.tie_weights()  # which initialisation does otherwise
    model = model.to(device).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.uniform_(-SPREAD, SPREAD)
            else:
                parameter.fill_(float(name.endswith("weight")))  # norms scale by one, biases add nothing
    return LanguageModel(model, Endless())
