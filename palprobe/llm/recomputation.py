"""Gradient checkpointing: layers keep their input alone and are computed again when the backward pass needs the rest.

transformers' own switch takes the cache away from a layer that is computed again, and audio with it, unless a private
flag is set; and it runs again what hooks did, when they are gone. So layers are wrapped here, for one forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from palprobe.types import Block


@contextmanager
def recomputed(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Forward passes inside save of each layer only what goes in; backward passes may come later, outside.

    The layers' cache must store nothing, since each is asked twice; see `AudioLayer`.
    """
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own again


def recomputed_block(block: Block) -> Block:
    """The same block, which keeps its input alone."""

    def run(hidden: Tensor, mask: Tensor, owner: Tensor | None) -> Tensor:
        output: Tensor = checkpoint(block, hidden, mask, owner, use_reentrant=False)
        return output

    return run
