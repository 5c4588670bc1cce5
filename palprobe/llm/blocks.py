"""Blocks that run before decoder layers, and layers that are computed again: both hold for one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from palprobe.llm.recomputation import recomputed, recomputed_block
from palprobe.types import AudioContext, Block


@contextmanager
def running(
    layers: Sequence[nn.Module], context: AudioContext, columns: Tensor, *, again: bool = False
) -> Iterator[None]:
    """Runs each block before its layer; the rows are the last columns, as many as the layer is given.

    Beams of an item stand beside each other as rows of it, for a block that decodes treats every row alike.

    Args:
        layers: of the decoder.
        context: with the blocks.
        columns: (B, M + N + L) bool, what is not padding.
        again: layers and blocks keep their input alone and are computed again going backward.
    """
    with ExitStack() as until_then:
        for index, block in context.blocks.items():
            chosen = recomputed_block(block) if again else block

            def before(_: nn.Module, arguments: tuple[Any, ...], block: Block = chosen) -> tuple[Any, ...]:
                rows = arguments[0]  # of beams: (B · W, 1, H)
                beams = len(rows) // len(columns)
                real = columns[:, -rows.shape[1] :].repeat_interleave(beams, dim=1)
                # Its audio is that of B items.
                folded = block(rows.reshape(len(columns), -1, rows.shape[2]), real, context.owner)
                return (folded.reshape(rows.shape), *arguments[1:])

            until_then.callback(layers[index].register_forward_pre_hook(before).remove)
        if again:
            until_then.enter_context(recomputed(layers))
        yield
