"""Where attention goes: read beside a forward pass, whose own result is left alone.

The attention function is applied a second time, to marks in place of values. What it makes of them is what its weights
add up to over the marked columns, under the same mask, window, scaling and softcap; nothing is implemented twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface

from palprobe.llm.attention import ATTENTION


@contextmanager
def reading(marks: Tensor) -> Iterator[dict[int, Tensor]]:
    """Within it, forward passes of every `LanguageModel` are read; outside of it, attention costs what it always does.

    Args:
        marks: (B, columns, C) over memory, prefix and text in that order: how much of what a column gets goes into each
            of C sums.

    Yields:
        layer → (B, rows, C): each row's attention to the marked columns, averaged over heads; filled as layers run.
    """
    found: dict[int, Tensor] = {}
    if not marks.shape[2]:  # nothing to add up
        yield found
        return
    usual: Any = AttentionInterface()[ATTENTION]

    def attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any) -> Any:
        seen = marks[:, -key.shape[2] :].to(value.dtype)  # a layer without audio has the text's columns only
        shared = seen[:, None].expand(-1, key.shape[1], -1, -1)  # (B, K, columns, C)
        sums, _ = usual(module, query, key, shared, *args, **options)  # (B, rows, Q, C)
        found[int(getattr(module, "layer_idx", len(found)))] = sums.mean(2)
        return usual(module, query, key, value, *args, **options)

    AttentionInterface.register(ATTENTION, attend)
    try:
        yield found
    finally:
        AttentionInterface.register(ATTENTION, usual)
