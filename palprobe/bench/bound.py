"""What a step must cost: floating point operations and bytes of keys and values, counted from sizes alone.

A ratio of two counts is the speed-up on a machine whose time goes into these operations and nothing else; norms, copies
and short matrices make the measured one smaller. A multiplication and an addition are two operations.
"""

from __future__ import annotations

from dataclasses import dataclass

from palprobe.bench.shapes import Shape
from palprobe.bench.ways import FLAMINGO_WIDENING, Load
from palprobe.recipe.training import Trainable

ATTENTION_STEP = 3.5  # forward 2 products, backward 5: a fused kernel computes the weights again


@dataclass(frozen=True)
class Flops:
    """Operations for one clip, by what they are spent on."""

    linears: float  # the LLM's projections and feed-forward networks, adapters too
    attention: float  # the LLM's attention
    trained: float  # connectors and blocks
    head: float  # the vocabulary

    @property
    def total(self) -> float:
        return self.linears + self.attention + self.trained + self.head


def prefill(shape: Shape, load: Load, *, text_tokens: int) -> Flops:
    """Reading audio and text, and the logits of one token."""
    rows = load.prefix + text_tokens
    linears = 2.0 * shape.num_layers * shape.layer_weights * rows
    linears += len(load.memory_layers) * 2 * shape.key_value_weights * load.memory
    trained = sum(2.0 * part.rows * part.inputs * part.outputs for part in load.maps)
    trained += load.own_attention + load.own_products + _blocks(shape, load, text_tokens)
    return Flops(linears, _attention(shape, load, text_tokens), trained, 2 * shape.hidden_size * shape.vocabulary_size)


def training(
    shape: Shape,
    load: Load,
    *,
    text_tokens: int,
    answer_tokens: int,
    trainable: Trainable = "connector",
    lora_rank: int = 8,
) -> Flops:
    """One step: forward and backward, with logits on the answer alone.

    Args:
        shape: of the LLM.
        load: from `ways.load_of`.
        text_tokens: prompt and answer.
        answer_tokens: rows that get logits.
        trainable: a frozen LLM needs gradients of inputs only, and none below the first layer that shows audio.
        lora_rank: of adapters on every linear layer.
    """
    one = prefill(shape, load, text_tokens=text_tokens)
    trained = sum((3 if part.deep else 2) * 2.0 * part.rows * part.inputs * part.outputs for part in load.maps)
    trained += ATTENTION_STEP * load.own_attention + load.own_products
    trained += ATTENTION_STEP * _block_attention(shape, load, text_tokens) + 3 * _block_linears(
        shape, load, text_tokens
    )
    weights = {"connector": 2, "lora": 2, "full": 3}[trainable]
    rank = lora_rank if trainable == "lora" else 0
    linears = weights * one.linears + 3 * _adapters(shape, load, text_tokens, rank)
    if trainable != "full":
        linears -= _without_gradient(shape, load, text_tokens, rank)
    return Flops(linears, ATTENTION_STEP * one.attention, trained, weights * answer_tokens * one.head)


def decoding(shape: Shape, load: Load, *, text_tokens: int) -> Flops:
    """One more token after audio and text."""
    columns = load.prefix + text_tokens + 1
    seen = shape.num_layers * columns + len(load.memory_layers) * load.memory
    attention = 4 * shape.num_heads * shape.head_size * seen
    linears = shape.num_layers * 2 * shape.layer_weights
    head = 2 * shape.hidden_size * shape.vocabulary_size
    return Flops(linears, attention, _blocks(shape, load, 1), head)


def cached_numbers(shape: Shape, load: Load, *, text_tokens: int) -> int:
    """Keys and values kept for decoding after one clip and its text, those of blocks too."""
    per_row = 2 * shape.num_key_value_heads * shape.head_size
    rows = shape.num_layers * (load.prefix + text_tokens) + len(load.memory_layers) * load.memory
    return per_row * rows + 2 * shape.hidden_size * load.block_audio * len(load.block_layers)


def _attention(shape: Shape, load: Load, text_tokens: int) -> float:
    """Without memory the kernel knows that it is causal and does half; with a mask it does all."""
    rows = load.prefix + text_tokens
    per_pair = 4 * shape.num_heads * shape.head_size
    if load.apart:
        return per_pair * shape.num_layers * text_tokens * rows
    if not load.memory:
        return per_pair * shape.num_layers * rows * rows / 2
    pairs = shape.num_layers * rows * rows + len(load.memory_layers) * rows * load.memory
    return float(per_pair * pairs)


def _without_gradient(shape: Shape, load: Load, text_tokens: int, rank: int) -> float:
    """Backward operations that are not needed: below the first layer that shows audio, nothing trained lies before."""
    if load.prefix:
        return 0.0
    first = 0 if rank else min((*load.memory_layers, *load.block_layers), default=shape.num_layers)
    weights = first * shape.layer_weights
    if first < shape.num_layers and first not in load.block_layers:
        output = shape.hidden_size * shape.num_heads * shape.head_size
        weights += shape.projection_weights - output + 3 * rank * shape.hidden_size  # q, k and v of that layer, not o
    return 2 * weights * text_tokens


def _adapters(shape: Shape, load: Load, text_tokens: int, rank: int) -> float:
    """Forward operations of LoRA's two thin matrices beside every linear layer."""
    hidden, wide = shape.hidden_size, shape.feed_forward_size
    query, key = shape.num_heads * shape.head_size, shape.num_key_value_heads * shape.head_size
    every = 2 * (hidden + query) + 2 * (hidden + key) + 3 * (hidden + wide)
    rows = shape.num_layers * (load.prefix + text_tokens)
    return 2 * rank * (every * rows + 2 * (hidden + key) * len(load.memory_layers) * load.memory)


def _blocks(shape: Shape, load: Load, text_tokens: int) -> float:
    return _block_linears(shape, load, text_tokens) + _block_attention(shape, load, text_tokens)


def _block_linears(shape: Shape, load: Load, text_tokens: int) -> float:
    """Query, output and feed-forward of the blocks on the text; the audio's keys and values are among the maps."""
    weights = (2 + 2 * FLAMINGO_WIDENING) * shape.hidden_size**2
    return 2 * weights * text_tokens * len(load.block_layers)


def _block_attention(shape: Shape, load: Load, text_tokens: int) -> float:
    return 4 * shape.hidden_size * text_tokens * load.block_audio * len(load.block_layers)
