"""Bootstrap intervals that mend bias and skew (BCa), drawing whole groups.

Shape letters: R draws, G groups, C columns.
"""

from __future__ import annotations

import math

import numpy as np

from palprobe.stats import DRAWS, TAILS, Floats, resampled_sums
from palprobe.stats.measures import Sums
from palprobe.types import Interval


def bca(value: float, resampled: Floats, without: Floats) -> tuple[float, float]:
    """Ends of the bias-corrected and accelerated interval.

    Args:
        value: what was estimated.
        resampled: (R,) the same of each draw.
        without: (G,) the same without each group.

    Source: Efron (1987); Efron and Tibshirani (1993), eq. 14.9 to 14.15.
    """
    from scipy.special import ndtr, ndtri

    below = (np.mean(resampled < value) + np.mean(resampled <= value)) / 2  # ties, of shares, count by half
    least = 0.5 / len(resampled)
    bias = ndtri(np.clip(below, least, 1 - least))
    apart = without.mean() - without
    skew = np.sum(apart**3) / (6 * np.sum(apart**2) ** 1.5) if np.any(apart) else 0.0
    normal = bias + ndtri(np.array(TAILS))
    low, high = np.quantile(resampled, ndtr(bias + normal / (1 - skew * normal)))
    return float(low), float(high)


def bca_of_sums(sums: Sums, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """BCa interval of a metric averaged over its runs, about new groups for these runs.

    Args:
        sums: of the runs.
        draws: resamples.
        seed: of this call's own generator.
    """
    num_runs, num_groups, columns = sums.totals.shape
    flat = sums.totals.transpose(1, 0, 2).reshape(num_groups, -1)  # (G, S * C)
    drawn = resampled_sums(flat, draws, seed).reshape(draws, num_runs, columns)
    without = sums.totals.sum(axis=1, keepdims=True) - sums.totals  # (S, G, C)
    value = float(sums.values.mean())
    low, high = bca(value, sums.formula(drawn).mean(axis=1), sums.formula(without).mean(axis=0))
    return Interval(value, low, high, "BCa") if math.isfinite(low) else Interval(value, math.nan, math.nan, "none")
