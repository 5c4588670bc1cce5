"""Decoders as sizes: weights decide quality, sizes decide cost, so published shapes are measured with random weights.

The sizes are those of the published `config.json` files, vocabularies included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palprobe.errors import UsageError
from palprobe.files import read_json
from palprobe.registry import near_miss

_LLAMA = {"model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
_LLAMA3 = _LLAMA | {
    "vocab_size": 128_256,
    "max_position_embeddings": 131_072,
    "rope_theta": 500_000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}
_SMOLLM2 = _LLAMA | {"vocab_size": 49_152, "max_position_embeddings": 8192, "rope_theta": 100_000.0}
_QWEN2 = _LLAMA | {
    "model_type": "qwen2",
    "rms_norm_eps": 1e-6,
    "vocab_size": 151_936,
    "max_position_embeddings": 131_072,
    "rope_theta": 1_000_000.0,
}


def _sizes(hidden: int, feed_forward: int, layers: int, heads: int, key_value_heads: int) -> dict[str, int]:
    return {
        "hidden_size": hidden,
        "intermediate_size": feed_forward,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
    }


CONFIGS: dict[str, dict[str, Any]] = {
    "SmolLM2-135M": _SMOLLM2 | _sizes(576, 1536, 30, 9, 3),
    "SmolLM2-360M": _SMOLLM2 | _sizes(960, 2560, 32, 15, 5),
    "Qwen2-0.5B": _QWEN2 | _sizes(896, 4864, 24, 14, 2),
    "Llama-3.2-1B": _LLAMA3 | _sizes(2048, 8192, 16, 32, 8) | {"head_dim": 64},
    "Llama-3.2-3B": _LLAMA3 | _sizes(3072, 8192, 28, 24, 8) | {"head_dim": 128},
}
TINY = "tiny"  # the built-in LLM
# Decoders whose layers are q, k, v, o and a gated feed-forward network of three matrices, which `bound` counts.
FAMILIES = (
    "gemma",
    "gemma2",
    "gemma3_text",
    "granite",
    "llama",
    "mistral",
    "olmo",
    "olmo2",
    "phi3",
    "qwen2",
    "qwen3",
    "smollm3",
)


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder that decide its cost, and the configuration that builds it."""

    name: str
    config: Mapping[str, Any]  # as in config.json
    hidden_size: int
    feed_forward_size: int
    num_layers: int
    num_heads: int
    num_key_value_heads: int
    head_size: int
    vocabulary_size: int
    max_positions: int

    @property
    def key_value_weights(self) -> int:
        """Of k_proj and v_proj in one layer: all that LAL's audio meets."""
        return 2 * self.hidden_size * self.num_key_value_heads * self.head_size

    @property
    def projection_weights(self) -> int:
        """Of q, k, v and o in one layer."""
        return 2 * self.hidden_size * self.num_heads * self.head_size + self.key_value_weights

    @property
    def layer_weights(self) -> int:
        """Of one layer's matrices."""
        return self.projection_weights + 3 * self.hidden_size * self.feed_forward_size


def find_shape(name: str) -> Shape:
    """A shape by name, `tiny`, or the `config.json` of a folder; weights are not looked for.

    Raises:
        UsageError: an unknown name (the nearest is given), a folder without a configuration, or a decoder whose cost
            the bound does not know.
    """
    if name in CONFIGS:
        return _shape(name, CONFIGS[name])
    if name == TINY:
        from palprobe.llm.tiny import tiny_config

        return _shape(name, tiny_config().to_dict())
    if Path(name).is_dir():
        file = Path(name) / "config.json"
        if not file.is_file():
            raise UsageError(f"--llm {name}: the folder has no config.json, which says how large the LLM is.")
        return _shape(name, read_json(file))
    known = (*CONFIGS, TINY)
    raise UsageError(
        f"--llm {name!r}: no folder, and no shape of that name.{near_miss(name, known)} Known: {', '.join(known)}."
    )


def _shape(name: str, config: Any) -> Shape:
    text = config.get("text_config", config) if isinstance(config, dict) else {}
    family = text.get("model_type")
    if family not in FAMILIES:
        raise UsageError(
            f"--llm {name}: model_type {family!r} is none whose cost is known: {', '.join(FAMILIES)}. "
            "Give a shape near it by name."
        )
    heads = _number(name, text, "num_attention_heads")
    hidden = _number(name, text, "hidden_size")
    return Shape(
        name=name,
        config=text,
        hidden_size=hidden,
        feed_forward_size=_number(name, text, "intermediate_size"),
        num_layers=_number(name, text, "num_hidden_layers"),
        num_heads=heads,
        num_key_value_heads=_number(name, text, "num_key_value_heads", heads),
        head_size=_number(name, text, "head_dim", hidden // heads),
        vocabulary_size=_number(name, text, "vocab_size"),
        max_positions=_number(name, text, "max_position_embeddings"),
    )


def _number(name: str, config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    if value is None:
        value = default
    if not isinstance(value, int) or value < 1:
        raise UsageError(f"--llm {name}: {key} in its config.json is {value!r}, not a positive whole number.")
    return value
