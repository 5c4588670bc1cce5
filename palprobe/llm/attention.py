"""How audio enters the attention of an unmodified decoder: a read-only cache, one attention function, one mask.

LAL's keys and values ride in a `Cache` whose layers hand them back in front of the text's own; queries never see that
they came from elsewhere. No model is forked and no projection is hooked, so any decoder whose attention goes through
transformers' attention interface works. Letters as in `palprobe.types`; Q query heads, K key/value heads, G = Q / K.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, Cache, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import sdpa_mask

from palprobe.errors import PalprobeError

ATTENTION = "palprobe"  # the name under which models find the function below


@dataclass(frozen=True, eq=False)
class KeyValue:
    """One layer's audio keys and values, rotated already; each (C, K, N, head size)."""

    keys: Tensor
    values: Tensor

    def rows(self, owner: Tensor | None) -> KeyValue:
        """Those of each text row; see `AudioContext.owner`."""
        return self if owner is None else KeyValue(self.keys[owner], self.values[owner])


Supply = Callable[[], KeyValue]  # asked whenever a layer runs, so again when it is recomputed


class AudioLayer(DynamicLayer):  # type: ignore[misc]
    """Puts audio keys and values before the text's and stores nothing, so that a recomputed layer reads the same."""

    def __init__(self, supply: Supply | None, length: int) -> None:
        super().__init__()
        self.supply, self.length, self.is_initialized = supply, length, True

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if self.supply is None:
            return keys, values
        audio = self.supply()
        return torch.cat((audio.keys, keys), 2), torch.cat((audio.values, values), 2)

    def get_seq_length(self) -> int:
        # Not 0: at 0 transformers may drop the mask, and then silently cuts the keys to the text's length.
        return self.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0


def as_argument(model: nn.Module, cache: Cache | None) -> dict[str, Cache | None]:
    """The cache under the name that the model takes it by: `cache`, before transformers 5.24 `past_key_values`."""
    name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    return {name: cache}


def reading_cache(audio: Sequence[Supply | None], length: int) -> Cache:
    """A cache for one forward pass: layer l sees what `audio[l]` gives, or nothing where that is None."""
    return Cache(layers=[AudioLayer(supply, length) for supply in audio])


def growing_cache(audio: Sequence[Supply | None]) -> Cache:
    """A cache for decoding token by token, filled with the audio.

    Made without the model's config: with it, sliding-window layers would cut the audio off.
    """
    cache = DynamicCache()
    for index, supply in enumerate(audio):
        cache.layers.append(DynamicLayer())
        if supply is not None:
            layer = supply()
            cache.update(layer.keys, layer.values, index)
    return cache


def additive_mask(visible: Tensor, groups: int, dtype: torch.dtype) -> Tensor:
    """(B, L, columns) bool → (B, 1, G·L, columns) float, made once per step and read by every layer.

    A bool mask would be turned into a float copy by every layer, and each copy kept for the backward pass.
    The query rows are repeated G times because `folded_attention` stacks the query heads of a group.
    """
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, torch.finfo(dtype).min)
    return mask.repeat(1, groups, 1).unsqueeze(1)


def folded_attention(
    _: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention in which each key/value head serves its whole group of query heads without being copied.

    Args:
        query: (B, Q, L, head size).
        key: (B, K, columns, head size); the text's columns are last.
        value: as `key`.
        attention_mask: (B, 1, G·L, at least columns), additive, from `additive_mask`; layers that see no audio use its
            last columns. None: plain causal attention of equally long queries and keys.
        scaling: of the logits; None: head size ** -0.5.
        dropout: of the attention weights.
        softcap: logits become softcap · tanh(logits / softcap) (Gemma 2), which no fused kernel offers.
        others: of the interface; attention sinks are refused, the rest has no effect here.

    Returns:
        (B, L, Q, head size), and None in place of the weights.
    """
    if others.get("s_aux") is not None:
        raise PalprobeError("LLMs with attention sinks are not supported; use another, such as Llama or Qwen.")
    batch, heads, length, size = query.shape
    groups = heads // key.shape[1]
    if attention_mask is None:
        if length != key.shape[2]:
            raise AssertionError("without a mask, queries and keys must be the same rows")
        if not softcap:
            output = F.scaled_dot_product_attention(
                query, key, value, dropout_p=dropout, is_causal=length > 1, scale=scaling, enable_gqa=groups > 1
            )
            return output.transpose(1, 2).contiguous(), None
        visible = torch.ones(length, length, dtype=torch.bool, device=query.device).tril()
        attention_mask = additive_mask(visible[None], groups, query.dtype)
    mask = attention_mask[..., -key.shape[2] :]  # (B, 1, G·L, columns)
    folded = query.reshape(batch, key.shape[1], groups * length, size)
    if softcap:
        logits = folded @ key.transpose(2, 3) * (size**-0.5 if scaling is None else scaling)
        weights = (softcap * torch.tanh(logits / softcap) + mask).softmax(-1)
        output = F.dropout(weights, dropout) @ value
    else:
        output = F.scaled_dot_product_attention(folded, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling)
    return output.reshape(batch, heads, length, -1).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, folded_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)  # without a mask function of that name, every mask is dropped
