"""What a blind probe reads: of every clip the same tokens, all alike, as many as an encoder would have shown.

They hold a single one, standardised as it is, of which the connector makes a vector that is learned. Zero, which a
constant encoder comes to, would not do: Flamingo's closed gates learn nothing of it. No clip tells anything, not even
its length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from palprobe.errors import UsageError
from palprobe.features.identity import StoreIdentity
from palprobe.recipe.rigor import BLIND


def is_blind(encoder: str) -> bool:
    """Whether a cell's encoder is none: `blind`, or with the number of its tokens, `blind:57`."""
    return encoder.partition(":")[0] == BLIND


def shown_encoder(encoder: str) -> str:
    """An encoder as tables call it: `blind`, however much it is shown."""
    return BLIND if is_blind(encoder) else encoder


@dataclass(frozen=True)
class ConstantSource:
    """A `Source` of one number, a one, in every token of every clip."""

    tokens: int
    num_layers: int = 1
    dim: int = 1
    frame_rate: float = 0.0  # it is of no time
    bands: int = 1
    ready: bool = True
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> StoreIdentity:
        """What of it stands in a run's identity."""
        return StoreIdentity({"control": BLIND, "tokens": self.tokens}, layers=(0,))

    def __contains__(self, key: object) -> bool:
        return True

    def num_tokens(self, _: str) -> int:
        return self.tokens

    def padded(self, _: str) -> bool:
        return False

    def failures(self) -> dict[str, tuple[str, str, str]]:
        return {}

    def get_many(self, keys: Sequence[str]) -> list[Tensor]:
        return [torch.ones(self.tokens, self.dim) for _ in keys]


def constant_of(encoder: str) -> ConstantSource | None:
    """What `blind:57` is; None for another encoder, and for `blind` as long as its number of tokens is not known.

    Raises:
        UsageError: something else stands after the colon.
    """
    _, colon, count = encoder.partition(":")
    if not is_blind(encoder) or not colon:
        return None
    if not count.isdecimal() or int(count) < 1:
        raise UsageError(f"Encoder {encoder!r}: write {BLIND}:N with the number of constant tokens that are shown.")
    return ConstantSource(int(count))
