"""Audio tokens → each layer's keys and values, made by the decoder's own projections.

K = rope(k_norm(W_k · norm(a))) and V = W_v · norm(a), with the layer's input norm: the LLM reads audio with the weights
with which it reads text. That LAL uses the LLM's own projections and norm is our choice (not in the paper's abstract).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from palprobe.llm.attention import KeyValue, as_argument

Make = Callable[[nn.Module, Mapping[int, Tensor], Tensor], dict[int, KeyValue]]  # `capture`, or a cheaper way

TOLERANCE = 1e-5  # of the self-check, relative to the largest entry
CHECK_TOKENS = 4


class _Captured(Exception):  # noqa: N818 - a signal out of the layer, not an error
    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.pair = KeyValue(keys, values)


class _RecordingLayer(DynamicLayer):  # type: ignore[misc]
    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        raise _Captured(keys, values)


def find_layers(decoder: nn.Module, count: int) -> nn.ModuleList:
    """The list of decoder layers: the first ModuleList as long as the config says."""
    for module in decoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise AssertionError(f"{type(decoder).__name__} has no list of {count} layers")


def capture(decoder: nn.Module, memory: Mapping[int, Tensor], positions: Tensor) -> dict[int, KeyValue]:
    """Keys and values by running each layer up to its cache update and no further: right for every architecture.

    Args:
        decoder: the model without its head.
        memory: layer → (B, N, H).
        positions: (B, N) rotary positions.

    It computes the queries too, so `project` is cheaper where it is right.
    """
    layers = find_layers(decoder, decoder.config.num_hidden_layers)  # type: ignore[union-attr,arg-type]
    found: dict[int, KeyValue] = {}

    def stop_at_update(index: int, forward: Any) -> Any:
        def run(hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if index in memory:
                try:
                    forward(memory[index], *args, **kwargs)
                except _Captured as captured:
                    found[index] = captured.pair
            return hidden

        return run

    for index, layer in enumerate(layers):
        original = type(layer).forward
        original = getattr(original, "__wrapped__", original)  # under gradient checkpointing: the layer itself
        layer.forward = stop_at_update(index, original.__get__(layer))
    any_memory = next(iter(memory.values()))
    try:
        decoder(
            inputs_embeds=torch.zeros_like(any_memory),
            attention_mask=any_memory.new_zeros(1, 1, 1, 1),
            position_ids=positions,
            use_cache=False,
            **as_argument(decoder, Cache(layers=[_RecordingLayer() for _ in layers])),
        )
    finally:
        for layer in layers:
            del layer.forward  # the class's own again
    return found


def project(decoder: nn.Module, memory: Mapping[int, Tensor], positions: Tensor) -> dict[int, KeyValue]:
    """Keys and values by calling norm, k_proj, v_proj and rotation directly; `fits` says where that is right."""
    layers = find_layers(decoder, decoder.config.num_hidden_layers)  # type: ignore[union-attr,arg-type]
    any_memory = next(iter(memory.values()))
    cos, sin = (part.unsqueeze(1) for part in decoder.rotary_emb(any_memory, positions))  # type: ignore[operator]
    return {index: _project_layer(layers[index], audio, cos, sin) for index, audio in memory.items()}


def _project_layer(layer: Any, audio: Tensor, cos: Tensor, sin: Tensor) -> KeyValue:
    attention = layer.self_attn
    normed = layer.input_layernorm(audio)
    shape = (*audio.shape[:2], -1, attention.head_dim)
    keys = attention.k_proj(normed).view(shape)  # (B, N, K, head size)
    if hasattr(attention, "k_norm"):
        keys = attention.k_norm(keys)
    keys = keys.transpose(1, 2)
    first, second = keys.chunk(2, dim=-1)
    rotated = keys * cos + torch.cat((-second, first), dim=-1) * sin
    return KeyValue(rotated, attention.v_proj(normed).view(shape).transpose(1, 2))


@torch.no_grad()
def fits(decoder: nn.Module) -> bool:
    """Whether `project` equals `capture` on this decoder, tried on random tokens in every layer.

    Not so for fused projections (Phi-3), interleaved or partial rotation (Cohere 2, GPT-NeoX), rotation by layer type
    (Gemma 3) or no input norm (OLMo 2).
    """
    layers = find_layers(decoder, decoder.config.num_hidden_layers)  # type: ignore[union-attr,arg-type]
    rotary = getattr(decoder, "rotary_emb", None)
    if rotary is None or "layer_type" in inspect.signature(rotary.forward).parameters:
        return False
    for layer in layers:
        attention = getattr(layer, "self_attn", None)
        if not all(hasattr(attention, name) for name in ("k_proj", "v_proj", "head_dim")):
            return False
        if not hasattr(layer, "input_layernorm"):
            return False
    return agrees(decoder, project)


@torch.no_grad()
def agrees(decoder: nn.Module, make: Make) -> bool:
    """Whether a cheaper way gives what `capture` gives, tried on random tokens in every layer."""
    weight = next(decoder.parameters())
    layers = find_layers(decoder, decoder.config.num_hidden_layers)  # type: ignore[union-attr,arg-type]
    size = decoder.config.hidden_size  # type: ignore[union-attr]
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(1, CHECK_TOKENS, size, generator=generator).to(weight)  # type: ignore[arg-type]
    positions = torch.arange(CHECK_TOKENS, device=weight.device)[None]
    memory = dict.fromkeys(range(len(layers)), audio)
    expected = capture(decoder, memory, positions)
    try:
        found = make(decoder, memory, positions)
    except RuntimeError:  # shapes that do not go together: not this architecture
        return False
    return all(
        _close(found[index].keys, expected[index].keys) and _close(found[index].values, expected[index].values)
        for index in memory
    )


def _close(found: Tensor, expected: Tensor) -> bool:
    if found.shape != expected.shape:
        return False
    tolerance = max(TOLERANCE, 4 * torch.finfo(found.dtype).eps)  # half precision rounds more
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())
