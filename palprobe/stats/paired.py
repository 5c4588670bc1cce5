"""The exact test of paired answers, right or wrong, and Holm's correction for several tests.

Shape letter: G groups (recordings or speakers).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np


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
