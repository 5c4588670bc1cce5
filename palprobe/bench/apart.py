"""PLITS without attention among audio rows, all else the same: what PLITS takes longer is that attention's time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from palprobe.llm.attention import additive_mask


class AudioApart(TorchFunctionMode):
    """While it is entered, audio rows of causal attention give back their own values; text rows attend as ever.

    Args:
        text_rows: the last rows, which are no audio.
    """

    def __init__(self, text_rows: int) -> None:
        super().__init__()
        self.text_rows = text_rows
        self._mask: Tensor | None = None

    def __torch_function__(
        self, function: Any, _: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if function is not F.scaled_dot_product_attention or not options.get("is_causal"):
            return function(*args, **options)
        query, key, value = args
        groups = query.shape[1] // key.shape[1]
        alone = value[:, :, : -self.text_rows].repeat_interleave(groups, 1)
        asking = query[:, :, -self.text_rows :]
        folded = asking.reshape(len(query), key.shape[1], groups * self.text_rows, -1)
        mask = self._visible(key, groups)
        seeing = F.scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=options.get("scale"))
        return torch.cat((alone, seeing.reshape(asking.shape)), 2)

    def _visible(self, key: Tensor, groups: int) -> Tensor:
        """The text rows' part of the causal mask, made once."""
        columns = key.shape[2]
        if self._mask is None or self._mask.shape[-1] != columns:
            with torch.inference_mode(False):  # it is kept, and a training step may be the next to use it
                causal = torch.ones(columns, columns, dtype=torch.bool, device=key.device).tril()
                self._mask = additive_mask(causal[None, -self.text_rows :], groups, key.dtype)
        return self._mask
