"""Audio keys and values of all layers in one product, where a frozen LLM shows the same audio to each.

W_k · (g ∘ x) = (W_k · diag(g)) · x with x = a / rms(a): the norm is taken once instead of once a layer, its scale g
moves into the weights, and the layers' matrices stand on top of each other. Equal to `memory.project` up to rounding.
Letters as in `palprobe.types`; K key/value heads, P layers that show audio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palprobe.llm.attention import KeyValue
from palprobe.llm.memory import agrees, find_layers


class FusedProjection:
    """Keys and values like `memory.project`; `applies` says when.

    Args:
        decoder: on which `memory.fits` holds.
    """

    def __init__(self, decoder: nn.Module) -> None:
        self._decoder = decoder
        self._right: bool | None = None  # not tried yet
        self._weights: tuple[Tensor, Tensor | None] | None = None
        self._made_of: tuple[Any, ...] = ()

    def applies(self, memory: Mapping[int, Tensor]) -> bool:
        """Whether every layer shows the same audio through plain frozen matrices behind an RMS norm."""
        if len({id(audio) for audio in memory.values()}) != 1:
            return False
        if not all(_is_plain(layer) for layer in self._layers(memory)):
            return False
        if self._right is None:
            self._right = agrees(self._decoder, self)
        return self._right

    def __call__(self, _: nn.Module, memory: Mapping[int, Tensor], positions: Tensor) -> dict[int, KeyValue]:
        """Args as those of `memory.project`."""
        layers = self._layers(memory)
        audio = next(iter(memory.values()))  # (B, N, H)
        weight, bias = self._stacked(layers)
        rows = F.linear(_normed(audio, layers[0].input_layernorm.variance_epsilon), weight, bias)
        shape = (*audio.shape[:2], 2 * len(layers), -1, layers[0].self_attn.head_dim)
        parts = rows.view(shape).unbind(2)  # (B, N, K, head size): keys, values, keys, …
        cos, sin = (part.unsqueeze(1) for part in self._decoder.rotary_emb(audio, positions))  # type: ignore[operator]
        pairs = {}
        for index, layer, keys, values in zip(memory, layers, parts[::2], parts[1::2], strict=True):
            if hasattr(layer.self_attn, "k_norm"):
                keys = layer.self_attn.k_norm(keys)
            pairs[index] = KeyValue(_rotate(keys.transpose(1, 2), cos, sin), values.transpose(1, 2))
        return pairs

    @property
    def stacked(self) -> list[Tensor]:
        """The tensors that are kept between calls."""
        return [tensor for tensor in self._weights or () if tensor is not None]

    def _layers(self, memory: Mapping[int, Tensor]) -> list[Any]:
        every = find_layers(self._decoder, self._decoder.config.num_hidden_layers)  # type: ignore[union-attr,arg-type]
        return [every[index] for index in memory]

    def _stacked(self, layers: Sequence[Any]) -> tuple[Tensor, Tensor | None]:
        """(P · 2 · K · head size, H) weights with the norm's scale in them, and biases; made again when they change."""
        parts = [part for layer in layers for part in (layer.self_attn.k_proj, layer.self_attn.v_proj)]
        tensors = [layer.input_layernorm.weight for layer in layers]
        tensors += [tensor for part in parts for tensor in (part.weight, part.bias) if tensor is not None]
        made_of = tuple((tensor.data_ptr(), tensor._version, tensor.dtype) for tensor in tensors)
        if self._weights is None or self._made_of != made_of:
            with torch.inference_mode(False), torch.no_grad():  # kept, and one day saved for a backward pass
                scales = [layer.input_layernorm.weight for layer in layers for _ in range(2)]
                weight = torch.cat([part.weight * scale for part, scale in zip(parts, scales, strict=True)])
                biases = [part.bias for part in parts]
                self._weights = weight, None if biases[0] is None else torch.cat(biases)
            self._made_of = made_of
        return self._weights


class _Rotation(torch.autograd.Function):
    """Rotary positions in two passes over the keys, forward and backward; written out they are seven."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(rows, cos, sin)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotated(gradient, cos, -sin.roll(sin.shape[-1] // 2, -1)), None, None


def _rotate(rows: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    turned: Tensor = _Rotation.apply(rows, cos, sin)  # type: ignore[no-untyped-call]
    return turned


def _rotated(rows: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(…, head size) rows whose halves (x, y) become (x · cos - y · sin, y · cos + x · sin)."""
    turned = torch.empty_like(rows, memory_format=torch.contiguous_format)
    (x, y), (left, right) = rows.chunk(2, dim=-1), turned.chunk(2, dim=-1)
    (cos_x, cos_y), (sin_x, sin_y) = cos.chunk(2, dim=-1), sin.chunk(2, dim=-1)
    torch.mul(x, cos_x, out=left).addcmul_(y, sin_x, value=-1)
    torch.mul(y, cos_y, out=right).addcmul_(x, sin_y)
    return turned


def _is_plain(layer: Any) -> bool:
    """No adapter in it, nothing of it trained, and a norm that is a scale times x / rms(x)."""
    norm, attention = layer.input_layernorm, layer.self_attn
    parts = (attention.k_proj, attention.v_proj)
    if any(type(part) is not nn.Linear for part in parts) or not hasattr(norm, "variance_epsilon"):
        return False
    return not any(parameter.requires_grad for part in (*parts, norm) for parameter in part.parameters())


def _normed(audio: Tensor, epsilon: float) -> Tensor:
    """x / rms(x), in float32 as transformers computes it."""
    rows = audio.to(torch.float32)
    normed: Tensor = rows * torch.rsqrt(rows.square().mean(-1, keepdim=True) + epsilon)
    return normed.to(audio.dtype)
