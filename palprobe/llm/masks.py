"""Who sees whom: the columns that each row attends to, cut at the window in the layers that have one.

Rows are prefix, then text; columns are memory, then the rows. Rows see each other as the plain model lets them: in a
sliding layer, no further back than its window. Memory is seen by every row in every layer, sliding ones too, because
that is what LAL promises: audio further away than the window would be silent in most layers of such a model. The window
is counted in positions, not columns, so that an answer in a tree of answers sees exactly what it would see alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from palprobe.errors import PalprobeError
from palprobe.llm.attention import additive_mask

FULL, SLIDING = "full_attention", "sliding_attention"  # what transformers calls the kinds of layers
EVERYWHERE = 1 << 40  # position of memory: never too far back for any window

Mask = Tensor | dict[str, Tensor]  # one for all layers, or one for each kind of layer


@dataclass(frozen=True)
class Windows:
    """How far back the rows of a decoder see each other."""

    size: int | None  # positions, a row's own included; None: no layer has a window
    mixed: bool = False  # layers are of two kinds, and the model takes a mask for each


def find_windows(config: Any) -> Windows:
    """The windows that transformers would use for this config.

    Args:
        config: of the text model.

    Raises:
        PalprobeError: layers of a kind that palprobe has no mask for, as recurrent or chunked ones.
    """
    kinds = set(getattr(config, "layer_types", None) or ())
    if odd := sorted(kinds - {FULL, SLIDING}):
        raise PalprobeError(f"layers of the kind {', '.join(odd)}")
    if not kinds and getattr(config, "attention_chunk_size", None) is not None:
        raise PalprobeError("attention in chunks")
    size = getattr(config, "sliding_window", None)
    if size is None or (kinds and SLIDING not in kinds):
        return Windows(None)
    return Windows(size, mixed=bool(kinds))


def visibility(memory_real: Tensor, real: Tensor, text_visible: Tensor | None) -> Tensor:
    """(B, rows, memory + rows) bool: every row sees all real memory and the real rows before it.

    Args:
        memory_real: (B, M) bool.
        real: (B, N + L) bool, prefix then text.
        text_visible: (B, L, L) bool in place of causal order among the text rows.
    """
    length = real.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=real.device).tril()
    among = (causal & real[:, None, :]).clone()  # (B, rows, rows)
    if text_visible is not None:
        text_rows = text_visible.shape[1]
        among[:, -text_rows:, -text_rows:] = text_visible
    among |= torch.eye(length, dtype=torch.bool, device=real.device)  # a padded row sees itself: softmax needs one
    return torch.cat((memory_real[:, None, :].expand(-1, length, -1), among), dim=2)


def layer_masks(
    visible: Tensor, positions: Tensor, column_positions: Tensor, windows: Windows, *, groups: int, dtype: torch.dtype
) -> Mask:
    """The additive masks of one forward pass, as the model takes them.

    Args:
        visible: (B, rows, columns) bool, without any window.
        positions: (B, rows) of the rows.
        column_positions: (B, columns); `EVERYWHERE` for memory.
        windows: of the decoder.
        groups: query heads to a key/value head.
        dtype: of the model.
    """
    full = additive_mask(visible, groups, dtype)
    if windows.size is None:
        return full
    sliding = full
    if visible.shape[2] > windows.size:  # else no row is so far from another
        near = positions[:, :, None] - column_positions[:, None, :] < windows.size
        sliding = additive_mask(visible & near, groups, dtype)
    return {FULL: full, SLIDING: sliding} if windows.mixed else sliding
