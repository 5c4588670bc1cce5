"""What several encoders show the LLM together: their contexts, joined in the order in which the encoders are given."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from palprobe.types import AudioContext, Block


def join_contexts(contexts: Sequence[AudioContext]) -> AudioContext:
    """One context: all memory before all prefixes before the text, each in the order given; blocks run in that order.

    The LLM counts positions through, so those of the second encoder follow those of the first.

    Args:
        contexts: of the same clips, and of integrations that agree on `memory_positions` and `prefix_sees_memory`.
    """
    if len(contexts) == 1:
        return contexts[0]
    with_memory = [context for context in contexts if context.memory]
    with_prefix = [context for context in contexts if context.prefix is not None]
    layers = sorted({layer for context in with_memory for layer in context.memory})
    blocks = sorted({layer for context in contexts for layer in context.blocks})
    return AudioContext(
        prefix=_joined([context.prefix for context in with_prefix]),
        prefix_mask=_joined([context.prefix_mask for context in with_prefix]),
        prefix_sees_memory=all(context.prefix_sees_memory for context in contexts),
        memory={layer: torch.cat([context.memory[layer] for context in with_memory], dim=1) for layer in layers},
        memory_mask=_joined([context.memory_mask for context in with_memory]),
        memory_positions=with_memory[0].memory_positions if with_memory else "before",
        blocks={layer: _in_turn([c.blocks[layer] for c in contexts if layer in c.blocks]) for layer in blocks},
    )


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    return torch.cat([part for part in parts if part is not None], dim=1) if parts else None


def _in_turn(blocks: Sequence[Block]) -> Block:
    def run(hidden: Tensor, mask: Tensor, owner: Tensor | None = None) -> Tensor:
        for block in blocks:
            hidden = block(hidden, mask, owner)
        return hidden

    return run
