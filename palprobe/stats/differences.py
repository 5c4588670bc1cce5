"""Two probes on the same items, by any metric: the difference, its interval, and whether it could be chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from palprobe.errors import ScoringError
from palprobe.metrics import METRICS
from palprobe.stats import DRAWS, NO_INTERVAL, group_codes, shared_groups, wilson
from palprobe.stats.flips import flip_p
from palprobe.stats.hierarchy import seeded_interval
from palprobe.stats.intervals import WITHOUT_INTERVAL
from palprobe.stats.measures import CLASSES, OF_SHARES, SHARES, Sums, sums_of
from palprobe.stats.paired import sign_flip_p
from palprobe.types import Interval, Prediction

FLIPS = 10_000  # draws of a test that is not exact
ALPHA = 0.05
MOST_APART = {"cider_d": 10.0}  # two scores of one metric; 1 for shares and rates

Tested = Mapping[int, Mapping[str, Prediction]]  # seed → item → prediction, folds pooled
Run = list[Prediction]


@dataclass(frozen=True)
class Difference:
    """The first less the second, in the metric's units, on the items and seeds that both have."""

    value: float
    low: float  # 95 % interval, about new items and, with two seeds or more, new seeds
    high: float
    method: str  # of the interval
    p: float  # two-sided, unadjusted
    test: str  # that p is of
    by_seed: tuple[float, ...]  # the difference under each shared seed, in the order of the seeds
    n: int  # items that both have under every shared seed
    left_out: int  # items that only some have
    groups: int  # recordings or speakers among the n items

    @property
    def seeds_agree(self) -> bool:
        """Two seeds or more, and every one has the sign of the whole."""
        return len(self.by_seed) > 1 and (min(self.by_seed) > 0 or max(self.by_seed) < 0)

    def holds(self, p_adjusted: float) -> bool:
        """Whether it may be called real: by the test after Holm, by the interval, and under every seed.

        The test is about these trained probes. That a new seed would say the same is up to the interval.
        """
        return p_adjusted < ALPHA and self.seeds_agree and (self.low > 0 or self.high < 0)


def difference(metric: str, first: Tested, second: Tested, *, draws: int = FLIPS, seed: int = 0) -> Difference:
    """How much better or worse the first is, on the items that both have under every seed that both have.

    The test swaps the two probes' items, whole groups at a time: exactly for accuracy (McNemar's where each item is its
    own group, and there is one seed) and where there are few ways to swap, else in random draws. A ranking, where the
    scores of two probes are on no common scale, is tested on its jackknife values.

    Args:
        metric: a name in `METRICS`.
        first: predictions by seed and item id, folds pooled.
        second: of the other probe.
        draws: of the test, where it is not exact; and of an interval over one seed, 2000 at most.
        seed: of this call's own generators.

    Raises:
        ScoringError: no seed or item in common, fewer than two groups, other references for the same items, no value of
            the metric, or a metric that only counts different words.
    """
    METRICS.check(metric)
    if metric in WITHOUT_INTERVAL:
        raise ScoringError(f"{metric} counts different words, which a part of the items has fewer of: it has no test.")
    one, other, left_out = _shared(first, second)
    groups = shared_groups("a difference", [*one, *other])
    codes, num_groups = group_codes(groups, len(groups))
    _check_references(metric, one[0], other[0])
    sums = [sums_of(metric, runs, codes, num_groups) for runs in (one, other)]
    apart = sums[0].less(sums[1])
    p, test = _tested(metric, *sums, alone=num_groups == len(groups), draws=draws, seed=seed)
    interval = _interval(metric, sums, apart, num_groups, draws=draws, seed=seed)
    return Difference(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        method=interval.method,
        p=p,
        test=test,
        by_seed=tuple(apart.values.tolist()),
        n=len(groups),
        left_out=left_out,
        groups=num_groups,
    )


def _shared(first: Tested, second: Tested) -> tuple[list[Run], list[Run], int]:
    """The runs of both, by shared seeds, on the items that all of these have; and how many other items there are."""
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        raise ScoringError("They have no seed in common.")
    tested = [set(side[seed]) for side in (first, second) for seed in seeds]
    shared = sorted(set.intersection(*tested))
    if not shared:
        raise ScoringError("They have no item in common.")
    one, other = ([[side[seed][item] for item in shared] for seed in seeds] for side in (first, second))
    return one, other, len(set.union(*tested)) - len(shared)


def _check_references(metric: str, one: Sequence[Prediction], other: Sequence[Prediction]) -> None:
    """Texts against other references are another measurement; labels may be renamed, as a control does."""
    if metric in SHARES or metric in CLASSES:
        return
    for mine, theirs in zip(one, other, strict=True):
        if mine.all_references != theirs.all_references:
            raise ScoringError(f"They were asked for different answers: see item {mine.id!r}.")


def _tested(metric: str, first: Sums, second: Sums, *, alone: bool, draws: int, seed: int) -> tuple[float, str]:
    """p, and the name of the test that it is of."""
    if metric in SHARES:
        gains = (first.totals - second.totals)[:, :, 0].sum(axis=0)  # (G,) over all seeds
        mcnemar = alone and len(first.totals) == 1
        return sign_flip_p(gains.astype(np.int64).tolist()), "McNemar, exact" if mcnemar else "sign flips, exact"
    found = flip_p(first, second, draws=draws, seed=seed)
    name = "sign flips of jackknife values" if first.linear else "sign flips"
    return found.p, f"{name}, exact" if found.draws is None else f"{name}, {found.draws} draws"


def _interval(metric: str, sums: Sequence[Sums], apart: Sums, num_groups: int, *, draws: int, seed: int) -> Interval:
    most = 1.0 if metric in OF_SHARES else np.inf
    found = seeded_interval(apart, low=-most, high=most, draws=min(draws, DRAWS), seed=seed)
    if found.method != NO_INTERVAL:
        return found
    scale = max(MOST_APART.get(metric, 1.0), *(float(abs(side.values).max()) for side in sums), abs(found.value))
    return _unseen(found.value, scale, num_groups)


def _unseen(value: float, scale: float, num_groups: int) -> Interval:
    """Where no group differs from another, their spread would claim certainty: as 0 (or all) of so many groups.

    Args:
        value: in which all groups agree.
        scale: the most that two probes may be apart.
        num_groups: how many agree.
    """
    bound = wilson(abs(value) / scale * num_groups, num_groups)
    low, high = (bound.low if value else -bound.high), bound.high
    if value < 0:
        low, high = -high, -low
    return Interval(value, low * scale, high * scale, "wilson over groups")
