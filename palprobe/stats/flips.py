"""Could it be chance which of two probes is which? Their items are swapped, whole groups at a time, in many ways.

Shape letters: S seeds, G groups, C columns, R draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from palprobe.stats import Floats
from palprobe.stats.measures import Sums

NUMBERS_AT_ONCE = 1 << 22  # 32 MiB of float64


@dataclass(frozen=True)
class Flipped:
    """A two-sided p, and of how many draws it is; None where every way of swapping was looked at."""

    p: float
    draws: int | None


def flip_p(first: Sums, second: Sums, *, draws: int, seed: int = 0) -> Flipped:
    """p of so large a difference, had it been chance in each group which of the two probes is which.

    A group is swapped under all seeds at once. All 2^G ways are looked at where there are no more than `draws`.

    Args:
        first: of all seeds.
        second: the same seeds and groups.
        draws: random ways otherwise.
        seed: of this call's own generator.

    Source: Fisher (1935), ch. 3; whole groups: Winkler et al. (2015); p of draws: Phipson and Smyth (2010).
    """
    apart = first.totals - second.totals  # (S, G, C)
    swappable = np.any(apart != 0, axis=(0, 2))
    (num_seeds, _, columns), number = apart.shape, int(swappable.sum())
    if number == 0:  # they say the same of every item
        return Flipped(1.0, None)
    moved = apart[:, swappable].transpose(1, 0, 2).reshape(number, -1)  # (G, S * C)
    together = (first.totals + second.totals).sum(axis=1)  # (S, C)
    observed = abs(float((first.values - second.values).mean()))
    exact = 2**number <= draws if number < draws.bit_length() else False
    as_large = total = 0
    for signs in _every_way(number) if exact else _some_ways(number, draws, moved.shape[1], seed):
        shift = (signs @ moved).reshape(-1, num_seeds, columns)
        found = np.abs((first.formula((together + shift) / 2) - second.formula((together - shift) / 2)).mean(axis=1))
        as_large += int((found >= observed - 1e-10 * max(1.0, observed)).sum())  # rounding is no difference
        total += len(found)
    return Flipped(as_large / total, None) if exact else Flipped((1 + as_large) / (1 + total), draws)


def _every_way(number: int) -> Iterator[Floats]:
    """(2^G, G) all signs."""
    ways = np.arange(2**number)[:, None] >> np.arange(number) & 1
    yield (1 - 2 * ways).astype(np.float64)


def _some_ways(number: int, draws: int, columns: int, seed: int) -> Iterator[Floats]:
    """(R, G) random signs, as many rows at once as fit."""
    rng = np.random.default_rng(seed)
    size = max(1, NUMBERS_AT_ONCE // max(number, columns))
    for start in range(0, draws, size):
        yield (1 - 2 * rng.integers(2, size=(min(size, draws - start), number), dtype=np.int8)).astype(np.float64)
