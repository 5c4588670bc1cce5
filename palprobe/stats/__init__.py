"""95 % intervals that respect groups: items of one recording or speaker are not independent.

Shape letters: E items, G groups. A bootstrap draws whole groups, and is vectorised by what a group adds up to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from palprobe.errors import ScoringError
from palprobe.types import Interval, Prediction

LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
DRAWS = 2000
NO_INTERVAL = "none"  # method of a score that no interval was computed for
BATCH_WEIGHTS = 1 << 22  # draws x groups held at once: 32 MiB of float64

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Runs = Sequence[Sequence[Prediction]]


def wilson(successes: float, n: int) -> Interval:
    """Wilson score interval of a share; good at 0 % and 100 % too, where a bootstrap has no width.

    Args:
        successes: 0 to n; a fraction where each item is itself an average over seeds.
        n: independent items.

    Raises:
        ScoringError: no items, or successes outside 0 to n.

    Source: Wilson (1927); Brown, Cai and DasGupta (2001), eq. 4.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ScoringError(f"A share needs 1 or more items and 0 to n successes; got {successes} of {n}.")
    z = NormalDist().inv_cdf(TAILS[1])
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # The ends are exact at 0 and n; rounding must not put them past the value.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return Interval(share, low, high, "wilson")


def clustered_bootstrap(
    values: Sequence[float] | Floats, groups: Sequence[str], *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Percentile interval of the mean when whole groups are drawn with replacement.

    With few groups (below about 20) it is too narrow, as every percentile bootstrap is.

    Args:
        values: (E,) finite score of each item.
        groups: (E,) recording or speaker of each item.
        draws: resamples.
        seed: of this call's own generator.

    Raises:
        ScoringError: fewer than two groups, unequal lengths, or a value that is not finite.

    Source: Efron and Tibshirani (1993), ch. 13; groups: Cameron, Gelbach and Miller (2008).
    """
    scores = np.asarray(values, dtype=np.float64)  # (E,)
    if not np.isfinite(scores).all():
        raise ScoringError(f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are not finite.")
    codes, num_groups = group_codes(groups, scores.size)
    sums = np.stack([np.bincount(codes, scores), np.bincount(codes).astype(np.float64)], axis=1)  # (G, 2)
    resampled = resampled_sums(sums, draws, seed)  # (draws, 2)
    method = "bootstrap" if num_groups == scores.size else "clustered bootstrap"
    return percentile(float(scores.mean()), resampled[:, 0] / resampled[:, 1], method)


def bootstrap_statistic(
    statistic: Callable[[Indices], float], groups: Sequence[str], *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Percentile interval of any statistic of the items, drawing whole groups; one call of it per draw.

    Args:
        statistic: gets the indices of the drawn items, repeated as often as their group was drawn.
        groups: (E,) recording or speaker of each item.
        draws: resamples.
        seed: of this call's own generator.

    Raises:
        ScoringError: fewer than two groups.
    """
    codes, num_groups = group_codes(groups, len(groups))
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(num_groups, size=num_groups) for _ in range(draws))
    statistics = np.array([statistic(np.concatenate([members[group] for group in chosen])) for chosen in drawn])
    method = "bootstrap" if num_groups == len(groups) else "clustered bootstrap"
    return percentile(statistic(np.arange(len(groups))), statistics, method)


def mean_interval(
    values: Sequence[float] | Floats, groups: Sequence[str], *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Interval of a mean of scores in 0 to 1: Wilson where items are independent and right or wrong, else bootstrap.

    Where all items score the same a bootstrap would claim certainty; then Wilson with the groups as the items.

    Raises:
        ScoringError: no items; or several items that are all of one group.
    """
    scores = np.asarray(values, dtype=np.float64)  # (E,)
    num_groups = len(set(groups))
    if num_groups == scores.size and np.isin(scores, (0.0, 1.0)).all():
        return wilson(float(scores.sum()), scores.size)
    if num_groups > 1 and np.ptp(scores) == 0:
        return wilson_over_groups(float(scores[0]), num_groups)
    return clustered_bootstrap(scores, groups, draws=draws, seed=seed)


def shared_groups(metric: str, runs: Runs) -> list[str]:
    """The group of each item of runs on the same items in the same order; raises ScoringError where they are not."""
    if not runs or not runs[0]:
        raise ScoringError(f"There are no predictions to compute {metric} of.")
    items = [(prediction.id, prediction.group) for prediction in runs[0]]
    if len({item for item, _ in items}) < len(items):
        raise ScoringError(f"{metric}: an item is there twice; each may be tested once.")
    for run in runs[1:]:
        if [(prediction.id, prediction.group) for prediction in run] != items:
            raise ScoringError(f"{metric}: the runs to average were tested on different items.")
    return [group for _, group in items]


def wilson_over_groups(value: float, num_groups: int) -> Interval:
    """For items that all score the same: as wide as if each group were one item."""
    interval = wilson(value * num_groups, num_groups)
    return Interval(value, interval.low, interval.high, "wilson over groups")


def group_codes(groups: Sequence[str], num_items: int) -> tuple[Indices, int]:
    """(E,) number of each item's group, and how many groups there are; raises ScoringError for fewer than two."""
    if len(groups) != num_items:
        raise ScoringError(f"Each item needs its group; got {num_items} items and {len(groups)} groups.")
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    if names.size < 2:
        raise ScoringError(
            f"An interval needs 2 or more groups (recordings, speakers); got {names.size} with {num_items} items."
        )
    return codes, names.size


def resampled_sums(sums: Floats, draws: int, seed: int) -> Floats:
    """(G, C) totals of each group → (draws, C) totals of as many groups drawn with replacement."""
    num_groups = len(sums)
    rng = np.random.default_rng(seed)
    return np.concatenate([draw_weights(num_groups, size, rng) @ sums for size in draw_batches(draws, num_groups)])


def draw_weights(num_groups: int, draws: int, rng: np.random.Generator) -> Floats:
    """(draws, G): how often each group is in each draw."""
    chosen = rng.integers(num_groups, size=(draws, num_groups)) + num_groups * np.arange(draws)[:, None]
    return np.bincount(chosen.ravel(), minlength=draws * num_groups).reshape(draws, num_groups).astype(np.float64)


def draw_batches(draws: int, num_groups: int) -> Iterator[int]:
    size = max(1, BATCH_WEIGHTS // num_groups)
    for start in range(0, draws, size):
        yield min(size, draws - start)


def percentile(value: float, resampled: Floats, method: str) -> Interval:
    low, high = np.quantile(resampled, TAILS)
    return Interval(value, float(low), float(high), method)
