"""Pooling on reading: neighbouring bands and time steps of an encoder's tokens become one audio token.

T tokens of an encoder are time-major: step 0 with all its bands, then step 1. The store keeps them all, so that one
extraction serves every pooling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from palprobe.recipe import IntegrationSection


@dataclass(frozen=True)
class Pooling:
    """How the tokens of one encoder are averaged."""

    grid: int  # tokens per time step that the encoder gives: its bands
    bands: int = 1  # so many neighbouring bands become one; a divisor of `grid`
    time: int = 1  # so many neighbouring time steps become one

    def count(self, num_tokens: int) -> int:
        """Tokens that are left of so many."""
        return math.ceil(num_tokens // self.grid / self.time) * (self.grid // self.bands)

    def tokens_per_second(self, frame_rate: float) -> float:
        """Tokens that are left of each second, at so many time steps per second."""
        return frame_rate / self.time * (self.grid // self.bands)

    def apply(self, features: Tensor) -> Tensor:
        """(T, D) → (count(T), D); the last time steps, if they are fewer than `time`, are averaged alone."""
        if self.bands == 1 and self.time == 1:
            return features
        dim = features.shape[1]
        steps = features.view(-1, self.grid // self.bands, self.bands, dim).mean(2)  # (steps, groups of bands, D)
        whole = len(steps) // self.time * self.time
        pooled = steps[:whole].view(-1, self.time, *steps.shape[1:]).mean(1)
        if whole < len(steps):
            pooled = torch.cat((pooled, steps[whole:].mean(0, keepdim=True)))
        return pooled.reshape(-1, dim)

    def spread(self, pooled: Tensor, num_tokens: int) -> Tensor:
        """(count(T), D) → (T, D) that `apply` turns into the same: each in the place of all that it stands for."""
        groups, dim = self.grid // self.bands, pooled.shape[1]
        steps = pooled.view(-1, groups, dim).repeat_interleave(self.time, 0).repeat_interleave(self.bands, 1)
        return steps.reshape(-1, dim)[:num_tokens]


def choose_pooling(section: IntegrationSection, *, frame_rate: float, bands: int) -> Pooling:
    """The pooling that a recipe asks for, on an encoder of that token grid.

    `pool` is `none`, `bands` (all bands of a time step become one token) or `time:k`. `tokens_per_second` asks for a
    budget instead, so that encoders can be compared at like cost: bands are pooled first, since most questions are
    about time, then time steps, until no more tokens than that are left, or nearly so, as both are whole numbers.

    Args:
        section: reads `pool` and `tokens_per_second`.
        frame_rate: time steps per second, Hz.
        bands: tokens per time step.
    """
    budget = section.tokens_per_second
    if budget is None:
        if section.pool == "bands":
            return Pooling(grid=bands, bands=bands)
        return Pooling(grid=bands, time=1 if section.pool == "none" else int(section.pool.removeprefix("time:")))
    divisors = [size for size in range(1, bands + 1) if bands % size == 0]
    merged = next((size for size in divisors if frame_rate * bands / size <= budget), bands)
    return Pooling(grid=bands, bands=merged, time=max(1, round(frame_rate * bands / merged / budget)))
