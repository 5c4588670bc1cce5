"""Decoder families: those that the contract tests run on, and those that are refused by name, with the reason.

Any other decoder-only model is tried when it is loaded: audio is put into every layer, and padding must change nothing.
"""

from __future__ import annotations

from typing import Any

from palprobe.errors import WeightsError

# transformers' name of a family -> the models that people know it by
SERVED = {
    "llama": "Llama, SmolLM2, Vicuna",
    "qwen2": "Qwen2, Qwen2.5",
    "qwen3": "Qwen3",
    "mistral": "Mistral",
    "gemma2": "Gemma 2",
    "gemma3": "Gemma 3 that sees (its text part)",
    "gemma3_text": "Gemma 3",
    "smollm3": "SmolLM3",
    "olmo": "OLMo",
    "olmo2": "OLMo 2",
    "olmo3": "OLMo 3",
    "granite": "Granite 3",
    "phi3": "Phi-3, Phi-3.5, Phi-4",
    "gpt_neox": "GPT-NeoX, Pythia",
    "cohere2": "Cohere2 (Command R7B)",
}

NO_ATTENTION = "it has no attention, which is where LAL shows audio"
SOME_ATTENTION = "it is recurrent in part, and padding would change what it reads"
OWN_ATTENTION = "it computes attention itself, where palprobe cannot show it audio"
SINKS = "its attention has sinks, which palprobe's attention would leave out"
CHUNKS = "it attends in chunks, for which palprobe has no mask"
PREFIX = "it encodes its input in a network of its own: no decoder-only LLM"
REFUSED = {
    "mamba": NO_ATTENTION,
    "mamba2": NO_ATTENTION,
    "falcon_mamba": NO_ATTENTION,
    "rwkv": NO_ATTENTION,
    "xlstm": NO_ATTENTION,
    "recurrent_gemma": SOME_ATTENTION,
    "jamba": SOME_ATTENTION,
    "bamba": SOME_ATTENTION,
    "zamba": SOME_ATTENTION,
    "zamba2": SOME_ATTENTION,
    "falcon_h1": SOME_ATTENTION,
    "nemotron_h": SOME_ATTENTION,
    "qwen3_next": SOME_ATTENTION,
    "gpt_neo": OWN_ATTENTION,
    "bloom": OWN_ATTENTION,
    "falcon": OWN_ATTENTION,
    "mpt": OWN_ATTENTION,
    "gpt_oss": SINKS,
    "llama4": CHUNKS,
    "llama4_text": CHUNKS,
    "t5": PREFIX,
    "bart": PREFIX,
    "mbart": PREFIX,
    "pegasus": PREFIX,
}


def check_family(config: Any, where: str) -> None:
    """Refuses what is known not to work before any weights are read.

    Args:
        config: what config.json holds.
        where: the folder, for the message.

    Raises:
        WeightsError: a family that is refused, by name and with the reason.
    """
    family = config.get("model_type") if isinstance(config, dict) else None
    if family in REFUSED:
        raise WeightsError(unfit(where, str(family), REFUSED[str(family)]))


def unfit(where: str, family: str, reason: str) -> str:
    """The line that refuses a family."""
    return (
        f"{where} holds {family}, an architecture that palprobe cannot show audio to ({reason}). "
        "Take another, such as Llama, Qwen, Mistral or Gemma (`palprobe list llms`)."
    )
