"""Any registered metric with its interval: of one run about new items, of several (seeds) about new seeds as well.

Shape letters: E items, G groups, C columns, R draws. A draw is how often each group is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from palprobe.metrics import METRICS
from palprobe.metrics.ranking import table_of
from palprobe.stats import (
    DRAWS,
    NO_INTERVAL,
    Floats,
    Runs,
    bootstrap_statistic,
    draw_batches,
    draw_weights,
    group_codes,
    mean_interval,
    percentile,
    resampled_sums,
    shared_groups,
    wilson_over_groups,
)
from palprobe.stats.hierarchy import t_interval
from palprobe.stats.measures import CLASSES, OF_SHARES, RANKINGS, RATIOS, SHARES, TEXTS, sums_of
from palprobe.types import Interval, Prediction

# A resample says some clips twice, so it always has fewer different words: its interval would lie below the value.
WITHOUT_INTERVAL = frozenset({"distinct_2", "vocabulary"})
# A ranking of more clips times classes is drawn less often, and its method says so.
MANY_SCORES, FEW_DRAWS = 250_000, 200
RANGES = MappingProxyType({"map": (0.0, 1.0), "d_prime": (-np.inf, np.inf)})


def metric_interval(metric: str, runs: Runs, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Any registered metric with its interval, averaged over runs on the same items.

    Of one run it is about new items, by a bootstrap; of several, the seeds of a cell, about new items and new seeds.
    Its method is "none", and its ends are nan, where none can be computed.

    Args:
        metric: a name in `METRICS`.
        runs: the predictions of each run, the same items in the same order.
        draws: resamples.
        seed: of this call's own generator.

    Raises:
        ScoringError: no items, runs over different items, too few groups, or no value.
    """
    METRICS.check(metric)
    groups = shared_groups(metric, runs)
    if metric in WITHOUT_INTERVAL:
        return _without(metric_value(metric, runs))
    if len(runs) > 1:
        return _over_runs(metric, runs, groups)
    (run,) = runs
    if metric in SHARES:
        return mean_interval([float(SHARES[metric](item)) for item in run], groups, draws=draws, seed=seed)
    if metric in RATIOS:
        return _ratio_interval(RATIOS[metric](run), groups, draws=draws, seed=seed)
    if metric in CLASSES or metric in TEXTS:
        return _sums_interval(metric, runs, groups, draws=draws, seed=seed)
    if metric in RANKINGS:
        return _ranking_interval(metric, run, groups, draws=draws, seed=seed)
    function = METRICS.load(metric)
    return bootstrap_statistic(
        lambda indices: float(function([run[index] for index in indices])), groups, draws=draws, seed=seed
    )


def metric_value(metric: str, runs: Runs) -> float:
    """The metric averaged over runs on the same items.

    Raises:
        ScoringError: it has no value.
    """
    if metric in SHARES:
        counted = np.mean([[SHARES[metric](item) for item in run] for run in runs], axis=0)  # (E,)
        return float(counted.mean())
    if metric in RATIOS:
        totals = [RATIOS[metric](run) for run in runs]
        return float(np.mean([found[:, 0] for found in totals], axis=0).sum() / totals[0][:, 1].sum())
    function = METRICS.load(metric)
    return float(np.mean([function(run) for run in runs]))


def _over_runs(metric: str, runs: Runs, groups: Sequence[str]) -> Interval:
    """About new seeds too; where all seeds and groups are alike no certainty is claimed."""
    codes, num_groups = group_codes(groups, len(groups))
    value, bounds = metric_value(metric, runs), (0.0, 1.0) if metric in OF_SHARES else (-np.inf, np.inf)
    found = t_interval(value, sums_of(metric, runs, codes, num_groups).jackknife(), low=bounds[0], high=bounds[1])
    if found.method == NO_INTERVAL and (metric in SHARES or metric in CLASSES):
        return wilson_over_groups(value, num_groups)
    return found


def _ratio_interval(totals: Floats, groups: Sequence[str], *, draws: int, seed: int) -> Interval:
    """A ratio of sums in every draw: long items count for more, in the interval as in the rate itself."""
    codes, _ = group_codes(groups, len(totals))
    above, below = totals.T  # (E,)
    sums: Floats = np.stack([np.bincount(codes, above), np.bincount(codes, below)], axis=1)  # (G, 2)
    resampled = resampled_sums(sums, draws, seed)  # (R, 2)
    value, ratios = float(above.sum() / below.sum()), resampled[:, 0] / np.maximum(resampled[:, 1], 1)
    if np.ptp(ratios) == 0:  # no width would claim certainty
        return _without(value)
    return percentile(value, ratios, _method(groups))


def _sums_interval(metric: str, runs: Runs, groups: Sequence[str], *, draws: int, seed: int) -> Interval:
    """A formula over what a draw's groups add up to."""
    codes, num_groups = group_codes(groups, len(groups))
    sums = sums_of(metric, runs, codes, num_groups)
    value, resampled = float(sums.values[0]), sums.formula(resampled_sums(sums.totals[0], draws, seed))
    if metric in CLASSES and np.ptp(resampled) == 0:  # of shares alone
        return wilson_over_groups(value, num_groups)
    return percentile(value, resampled, _method(groups))


def _ranking_interval(
    metric: str, run: Sequence[Prediction], groups: Sequence[str], *, draws: int, seed: int
) -> Interval:
    """Clips are ranked anew in every draw, which is slow: fewer draws where there are many scores.

    A clip that is drawn twice ranks beside itself, so that almost every draw is better than the value, and percentiles
    would not hold it. The draws are moved until their mean is the value; their spread is right as it is.
    """
    measure, table = RANKINGS[metric], table_of(run)
    codes, num_groups = group_codes(groups, len(groups))
    value = float(measure(table, np.ones((len(groups), 1)))[0])
    if not np.isfinite(value):
        return _without(float(METRICS.load(metric)(run)))  # raises, and says why
    many = len(groups) * len(table.columns) > MANY_SCORES
    fewer = min(draws, FEW_DRAWS) if many else draws
    rng = np.random.default_rng(seed)
    sizes = draw_batches(fewer, len(groups))
    resampled = np.concatenate([measure(table, draw_weights(num_groups, size, rng).T[codes]) for size in sizes])
    if not np.isfinite(resampled).all() or np.ptp(resampled) == 0:  # no width would claim certainty
        return _without(value)
    method = _method(groups) + ", centred" + ("" if fewer == draws else f", {fewer} draws")
    low, high = RANGES[metric]
    return percentile(value, np.clip(resampled - resampled.mean() + value, low, high), method)


def _without(value: float) -> Interval:
    return Interval(value, np.nan, np.nan, NO_INTERVAL)


def _method(groups: Sequence[str]) -> str:
    return "bootstrap" if len(set(groups)) == len(groups) else "clustered bootstrap"
