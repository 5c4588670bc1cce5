"""Intervals about new items and new seeds: both are drawn from more than were tested.

Shape letters: S seeds, G groups, E items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from palprobe.errors import ScoringError
from palprobe.stats import DRAWS, NO_INTERVAL, TAILS, Floats, group_codes
from palprobe.stats.bca import bca_of_sums
from palprobe.stats.measures import Sums, grouped, ratio
from palprobe.types import Interval

# Seeds count as a source of variance of their own where their means vary this much more than items explain. By
# simulation: at 1 the interval covers more than 97 % where seeds do not matter, at 1.5 less than 93 % where they do.
SEEDS_MATTER = 1.25
# Fewer groups, and a bootstrap is too narrow; more, and the mean is normal, and drawing them long.
FEW_GROUPS, MANY_GROUPS = 20, 2000


@dataclass(frozen=True, eq=False)
class Spread:
    """Standard error of a mean over seeds and groups, and the degrees of freedom of its t distribution."""

    error: Floats
    freedom: Floats


@dataclass(frozen=True, eq=False)
class Components:
    """What the variance of a mean over crossed seeds and groups is made of; each is (...)."""

    of_seeds: Floats  # of the seeds' means, with what seeds and groups do together
    of_groups: Floats  # of the groups' means, likewise
    of_both: Floats  # the residual: what they do together


def spread(values: Floats) -> Spread:
    """How far a mean over seeds and groups may be off, were both drawn anew.

    Seeds and groups are crossed: every seed was tested on every group. The variance of the mean is that of the groups'
    means, and what the seeds' means vary by beyond what seeds and groups together (the residual) explain.

    Args:
        values: (..., S, G); with one seed it is about new groups alone.

    Returns:
        Each (...).

    Source: variance components of a two-way layout, Searle, Casella and McCulloch (1992), ch. 4; degrees of freedom:
    Satterthwaite (1946).
    """
    num_seeds, num_groups = values.shape[-2:]
    found = _components(values)
    alone = np.full_like(found.of_groups, num_groups - 1)
    if num_seeds == 1:
        return Spread(np.sqrt(found.of_groups), alone)
    matter = found.of_seeds > SEEDS_MATTER * found.of_both
    with_seeds = np.maximum(found.of_groups + found.of_seeds - found.of_both, found.of_seeds)
    variance = np.where(matter, with_seeds, found.of_groups)
    num_rest = (num_seeds - 1) * (num_groups - 1)
    unsure = found.of_seeds**2 / (num_seeds - 1) + found.of_groups**2 / (num_groups - 1) + found.of_both**2 / num_rest
    freedom = np.divide(variance**2, unsure, out=alone.copy(), where=matter)
    return Spread(np.sqrt(variance), np.maximum(freedom, 1))


def share_of_seeds(values: Floats) -> float:
    """0 to 1: how much of what the seeds' means vary by is the seeds' own, and not what items explain.

    Args:
        values: (S, G).
    """
    if len(values) == 1:
        return 0.0
    found = _components(values)
    of_seeds, of_both = float(found.of_seeds), float(found.of_both)
    return (of_seeds - of_both) / of_seeds if of_seeds > SEEDS_MATTER * of_both else 0.0


def _components(values: Floats) -> Components:
    """(..., S, G) → three times (...); without a second seed only the groups'."""
    num_seeds, num_groups = values.shape[-2:]
    of_groups = values.mean(axis=-2).var(axis=-1, ddof=1) / num_groups
    if num_seeds == 1:
        return Components(np.zeros_like(of_groups), of_groups, np.zeros_like(of_groups))
    means = values.mean(axis=-1)  # (..., S)
    rest = values - means[..., None] - values.mean(axis=-2, keepdims=True) + values.mean(axis=(-2, -1), keepdims=True)
    of_both = (rest**2).sum(axis=(-2, -1)) / ((num_seeds - 1) * (num_groups - 1)) / (num_seeds * num_groups)
    return Components(means.var(axis=-1, ddof=1) / num_seeds, of_groups, of_both)


def t_interval(value: float, values: Floats, *, low: float = -math.inf, high: float = math.inf) -> Interval:
    """95 % interval of what is the mean of (S, G) values, or nearly; its method is "none" where they do not vary.

    Args:
        value: what was estimated.
        values: of each seed and group: jackknife values, or the groups' own where all are of one size.
        low: the least that there can be.
        high: the most; between 0 and 1 the interval is Wilson's with as many items as would vary as much.

    Source: Wilson's with an effective sample size: Franco, Little, Louis and Slud (2019).
    """
    from scipy.stats import t

    found = spread(values)
    error, where = float(found.error), "groups" if len(values) == 1 else "seeds and groups"
    if error <= 1e-12 * max(1.0, abs(value)):  # of rounding
        return Interval(value, math.nan, math.nan, NO_INTERVAL)
    times = float(t.ppf(TAILS[1], found.freedom))
    if (low, high) == (0, 1) and 0 < value < 1:
        return Interval(value, *_wilson(value, error, times), f"wilson over {where}")
    return Interval(value, max(low, value - times * error), min(high, value + times * error), f"t over {where}")


def seeded_interval(sums: Sums, *, low: float = -math.inf, high: float = math.inf, draws: int, seed: int) -> Interval:
    """95 % interval of a metric, about new groups and, with two seeds or more, new seeds.

    With one seed and 20 to 2000 groups it is a bootstrap's (BCa). Its method is "none" where nothing varies.

    Args:
        sums: of all seeds.
        low: the least that the metric can be.
        high: the most.
        draws: resamples, where it is a bootstrap's.
        seed: of this call's own generator.
    """
    value, (num_seeds, num_groups, _) = float(sums.values.mean()), sums.totals.shape
    by_t = t_interval(value, sums.jackknife(), low=low, high=high)
    if num_seeds > 1 or not FEW_GROUPS <= num_groups <= MANY_GROUPS or by_t.method == NO_INTERVAL:
        return by_t
    return bca_of_sums(sums, draws=draws, seed=seed)


def seeded_mean(
    values: Floats, groups: Sequence[str], *, low: float = -math.inf, high: float = math.inf, draws: int = DRAWS
) -> Interval:
    """95 % interval of the mean of (S, E) values of any unit, about new groups and, with two seeds or more, new seeds.

    Raises:
        ScoringError: fewer than two groups, or a value that is not finite.
    """
    if not np.isfinite(values).all():
        raise ScoringError(f"{int((~np.isfinite(values)).sum())} of {values.size} values are not finite.")
    codes, num_groups = group_codes(groups, values.shape[1])
    counted = np.stack([values, np.ones_like(values)], axis=2)  # (S, E, 2)
    totals = np.stack([grouped(items, codes, num_groups) for items in counted])
    return seeded_interval(Sums(totals, ratio, False), low=low, high=high, draws=draws, seed=0)


def _wilson(share: float, error: float, times: float) -> tuple[float, float]:
    """Ends of Wilson's interval of as many independent items as have that standard error."""
    size = share * (1 - share) / error**2
    middle = (share + times**2 / (2 * size)) / (1 + times**2 / size)
    half = times / (1 + times**2 / size) * math.sqrt(share * (1 - share) / size + times**2 / (4 * size**2))
    return max(0.0, middle - half), min(1.0, middle + half)
