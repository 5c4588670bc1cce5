"""Two probes on the same items: by how much one is better, and whether that could be chance.

Shape letters: E items, G groups (recordings or speakers).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from palprobe.errors import ScoringError
from palprobe.stats import DRAWS, Runs, clustered_bootstrap, group_codes, shared_groups, wilson
from palprobe.types import Interval


@dataclass(frozen=True, eq=False)
class Pair:
    """Where two probes differ."""

    gains: npt.NDArray[np.int64]  # (seeds, E): 1 where only the first is right, -1 where only the second is
    groups: Sequence[str]  # (E,)

    @property
    def value(self) -> float:
        """Accuracy of the first less that of the second; an item counts by its mean over the seeds."""
        return float(self.gains.mean())

    @property
    def by_seed(self) -> list[float]:
        """The same under each seed alone."""
        return [float(mean) for mean in self.gains.mean(axis=1)]

    def p(self) -> float:
        """Two-sided and exact, with the groups as what is exchangeable: see `sign_flip_p`."""
        codes, num_groups = group_codes(self.groups, self.gains.shape[1])
        sums = np.zeros(num_groups, dtype=np.int64)
        np.add.at(sums, codes, self.gains.sum(axis=0))
        return sign_flip_p(sums.tolist())

    def interval(self, *, draws: int = DRAWS, seed: int = 0) -> Interval:
        """95 % interval of the value, about new items for these seeds.

        An item is drawn for both probes at once, so how hard it is cancels out. Where all items differ alike, or none
        does, a bootstrap would claim certainty; then Wilson's with the groups as the items bounds what was not seen.

        Args:
            draws: resamples of the groups.
            seed: of this call's own generator.
        """
        means = self.gains.mean(axis=0)  # (E,)
        if np.ptp(means):
            return clustered_bootstrap(means, self.groups, draws=draws, seed=seed)
        num_groups = len(set(self.groups))
        bound = wilson(abs(self.value) * num_groups, num_groups)
        low = bound.low if self.value else -bound.high
        low, high = (-bound.high, -low) if self.value < 0 else (low, bound.high)
        return Interval(self.value, low, high, "wilson over groups")


def pair(first: Runs, second: Runs) -> Pair:
    """Two probes, item by item.

    Args:
        first: predictions of each seed, the same items in the same order.
        second: of the other probe, as many seeds, the same items.

    Raises:
        ScoringError: no items, other items or another number of seeds, or fewer than two groups.
    """
    if len(first) != len(second):
        raise ScoringError(f"A pair needs the same seeds on both sides; got {len(first)} and {len(second)} of them.")
    groups = shared_groups("a difference", [*first, *second])
    group_codes(groups, len(groups))  # two groups or more
    hits = [np.array([[item.correct for item in run] for run in runs], dtype=np.int64) for runs in (first, second)]
    return Pair(hits[0] - hits[1], groups)


def sign_flip_p(sums: Sequence[int]) -> float:
    """Two-sided p of a sum of paired differences, had it been chance in each group which of the two probes is which.

    Exact over all 2^G signs: groups of one size give a binomial, and the sizes are convolved. With one seed and every
    item its own group it is McNemar's exact test.

    Args:
        sums: (G,) difference of each group: right answers of one probe less those of the other, over all seeds.

    Source: Fisher (1935), ch. 3; whole groups: Winkler et al. (2015).
    """
    from scipy.stats import binom

    chances = np.ones(1)  # of what the groups that fall to the first add up to: (sum + total) / 2
    for size, count in Counter(abs(value) for value in sums if value).items():
        falls = np.zeros(size * count + 1)
        falls[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, falls)
    total = len(chances) - 1
    as_far = abs(2 * np.arange(total + 1) - total) >= abs(sum(sums))
    return min(1.0, float(chances[as_far].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """p adjusted for so many comparisons, in the order given: in 5 % of cases at most is any of them wrong below 0.05.

    Source: Holm (1979).
    """
    order = sorted(range(len(p_values)), key=lambda number: p_values[number])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[number]))
        adjusted[number] = largest
    return adjusted
