"""One number for each encoder over all tasks: above what no audio gives, with its interval and a range of places.

Shape letters: T tasks, K encoders, R draws, S seeds, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from palprobe.errors import ScoringError
from palprobe.metrics.cider import SCALE
from palprobe.stats import DRAWS, NO_INTERVAL, TAILS, Floats, draw_batches, draw_weights, group_codes, shared_groups
from palprobe.stats.differences import Tested
from palprobe.stats.hierarchy import share_of_seeds
from palprobe.stats.measures import OF_SHARES, Sums, sums_of
from palprobe.types import Interval, Prediction

FEW_TASKS = 5  # fewer tell nothing of other tasks: the interval is about these alone
UNTOLD_BITS = 8.0  # that a byte costs of which nothing is known

# What counts as no error, and as the worst that is counted.
BEST_AND_WORST: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        **dict.fromkeys(sorted(OF_SHARES - {"invalid_rate"}), (1.0, 0.0)),
        "cider_d": (SCALE, 0.0),
        "wer": (0.0, 1.0),
        "cer": (0.0, 1.0),
        "bits_per_byte": (0.0, UNTOLD_BITS),
    }
)


@dataclass(frozen=True)
class TaskScores:
    """What one task says of several encoders."""

    task: str
    metric: str
    chance: float | None  # of the metric; None counts as the worst
    runs: Mapping[str, Tested]  # encoder → seed → item → prediction
    blind: Tested | None = None  # the probe that heard nothing; without it the headline is above chance


@dataclass(frozen=True)
class Headline:
    """Means over the tasks that all encoders have."""

    scores: Mapping[str, Interval]  # best first; 0: no better than without audio
    places: Mapping[str, tuple[int, int]]  # 95 % range, 1 for the best
    tasks: Mapping[str, Mapping[str, float]]  # task → encoder → what goes into the mean
    left_out: Mapping[str, str]  # task → why
    without_blind: tuple[str, ...]  # tasks whose zero is chance
    seeds: int  # the fewest that a task has


@dataclass(frozen=True, eq=False)
class Drawn:
    """One task's gains, as found and in every draw."""

    task: str
    gains: Floats  # (K,)
    drawn: Floats  # (R, K)
    seeds: int


def overall(tasks: Sequence[TaskScores], *, draws: int = DRAWS, seed: int = 0) -> Headline:
    """The mean over tasks of (score - blind) / (perfect - chance), by a hierarchical bootstrap.

    A draw takes tasks, in each of them seeds, and then whole groups of items, the same for every encoder and for the
    blind probe. With fewer than five tasks these are not drawn. An error rate of 1 or more counts as 1.

    Args:
        tasks: of the encoders to compare; one that some lack, or whose metric has no perfect score, is left out.
        draws: resamples.
        seed: of this call's own generator.

    Raises:
        ScoringError: no task is left.
    """
    names = sorted(set[str]().union(*(task.runs for task in tasks)))
    rng = np.random.default_rng(seed)
    found, left_out = list[Drawn](), dict[str, str]()
    for task in tasks:
        try:
            found.append(_drawn(task, names, draws, rng))
        except ScoringError as error:
            left_out[task.task] = str(error)
    if not found:
        raise ScoringError(f"No task has a score of every encoder. {' '.join(left_out.values())}".strip())
    values, drawn, method = mean_of_tasks(found, rng)
    order, places = np.argsort(-values, kind="stable"), _places(drawn)
    told = {task.task for task in found}
    return Headline(
        scores={names[k]: _interval(values[k], drawn[:, k], method) for k in order},
        places={names[k]: places[k] for k in order},
        tasks={task.task: dict(zip(names, task.gains.tolist(), strict=True)) for task in found},
        left_out=left_out,
        without_blind=tuple(task.task for task in tasks if task.blind is None and task.task in told),
        seeds=min(task.seeds for task in found),
    )


def mean_of_tasks(tasks: Sequence[Drawn], rng: np.random.Generator) -> tuple[Floats, Floats, str]:
    """(K,) means over the tasks, (R, K) the same of every draw, and what was drawn.

    Tasks move a draw by what their gains vary by beyond what seeds and items explain, which are drawn within them, and
    by √(T / (T - 1)) more than plain draws of so few do; the whole has a t distribution's tails.

    Args:
        tasks: with as many draws and encoders each.
        rng: draws the tasks.

    Source: Hesterberg (2015), on how narrow bootstraps of small samples are.
    """
    from scipy.stats import norm, t

    gains = np.stack([task.drawn for task in tasks], axis=1)  # (R, T, K)
    found = np.stack([task.gains for task in tasks])  # (T, K)
    values, (num_draws, num_tasks, _) = found.mean(axis=0), gains.shape
    if num_tasks < FEW_TASKS:
        return values, gains.mean(axis=1), "bootstrap of seeds and groups, these tasks"
    apart, within = found.var(axis=0, ddof=1), gains.var(axis=0).mean(axis=0)  # (K,)
    own = float(np.mean(np.divide(np.maximum(apart - within, 0), apart, out=np.zeros_like(apart), where=apart > 0)))
    weights = 1 + (draw_weights(num_tasks, num_draws, rng) - 1) * math.sqrt(own * num_tasks / (num_tasks - 1))
    drawn = np.einsum("rt,rtk->rk", weights, gains) / num_tasks
    tails = t.ppf(TAILS[1], num_tasks - 1) / norm.ppf(TAILS[1])
    return values, values + tails * (drawn - values), "hierarchical bootstrap"


def scores_of_draws(sums: Sequence[Sums], draws: int, rng: np.random.Generator) -> Floats:
    """(R, probes) a metric averaged over drawn seeds, on drawn groups; probes with as many seeds are drawn alike.

    Args:
        sums: of each probe, on the same groups.
        draws: R.
        rng: draws.
    """
    num_groups, batches = sums[0].totals.shape[1], list[Floats]()
    for size in draw_batches(draws, num_groups):
        groups = draw_weights(num_groups, size, rng)  # (R, G)
        seeds = {number: draw_weights(number, size, rng) for number in sorted({len(one.totals) for one in sums})}
        batches.append(np.stack([_weighted(one, groups, seeds[len(one.totals)]) for one in sums], axis=1))
    return np.concatenate(batches)


def _weighted(sums: Sums, groups: Floats, seeds: Floats) -> Floats:
    """(R,) from how often each group, (R, G), and each seed, (R, S), was drawn.

    Seeds move a draw by as much as new seeds would: by what their means vary by beyond what items explain, and by
    √(S / (S - 1)) more than plain draws of so few do.
    """
    num_seeds, num_groups, columns = sums.totals.shape
    flat = sums.totals.transpose(1, 0, 2).reshape(num_groups, -1)  # (G, S * C)
    of_each = sums.formula((groups @ flat).reshape(len(groups), num_seeds, columns))  # (R, S)
    weights = 1 + (seeds - 1) * math.sqrt(share_of_seeds(sums.jackknife()) * num_seeds / max(1, num_seeds - 1))
    found: Floats = (weights * of_each).mean(axis=1)
    return found


def _drawn(task: TaskScores, names: Sequence[str], draws: int, rng: np.random.Generator) -> Drawn:
    """The gains of one task; raises ScoringError, and says why, where it has none for every encoder."""
    perfect, zero = _ends(task)
    absent = [name for name in names if not task.runs.get(name)]
    if absent:
        raise ScoringError(f"{task.task}: no score of {', '.join(absent)}.")
    seeds = sorted(set.intersection(*(set(task.runs[name]) for name in names)))
    if not seeds:
        raise ScoringError(f"{task.task}: the encoders have no seed in common.")
    tested = [[task.runs[name][seed] for seed in seeds] for name in names]
    if task.blind:  # under the encoders' seeds, where it has them
        tested.append([task.blind[seed] for seed in (seeds if set(seeds) <= set(task.blind) else sorted(task.blind))])
    sums = _sums(task, tested)
    values = np.array([one.values.mean() for one in sums])  # (K,) and the blind probe
    drawn = scores_of_draws(sums, draws, rng)  # (R, K) and the blind probe
    base, drawn_base = (values[-1], drawn[:, -1:]) if task.blind else (np.array(zero), np.array(zero))
    among = slice(len(names))
    return Drawn(
        task.task,
        _gain(task.metric, values[among], base, perfect, zero),
        _gain(task.metric, drawn[:, among], drawn_base, perfect, zero),
        len(seeds),
    )


def _ends(task: TaskScores) -> tuple[float, float]:
    """The perfect score, and that of chance."""
    if task.metric not in BEST_AND_WORST:
        raise ScoringError(f"{task.task}: {task.metric} has no perfect score to be measured by.")
    perfect, worst = BEST_AND_WORST[task.metric]
    zero = worst if task.chance is None else task.chance
    if perfect == zero:
        raise ScoringError(f"{task.task}: every answer is right by chance.")
    return perfect, zero


def _sums(task: TaskScores, tested: Sequence[Sequence[Mapping[str, Prediction]]]) -> list[Sums]:
    """Of every probe on the items that all have."""
    items = sorted(set.intersection(*(set(run) for runs in tested for run in runs)))
    aligned = [[[run[item] for item in items] for run in runs] for runs in tested]
    groups = shared_groups(task.task, [run for runs in aligned for run in runs])
    codes, num_groups = group_codes(groups, len(groups))
    return [sums_of(task.metric, runs, codes, num_groups) for runs in aligned]


def _gain(metric: str, scores: Floats, base: Floats, perfect: float, zero: float) -> Floats:
    """How much of the way from chance to perfect a score lies beyond another one."""
    worst = BEST_AND_WORST[metric][1]
    if worst > perfect:
        scores, base = np.minimum(scores, worst), np.minimum(base, worst)
    found: Floats = (scores - base) / (perfect - zero)
    return found


def _interval(value: float, drawn: Floats, method: str) -> Interval:
    if np.ptp(drawn) == 0:  # no width would claim certainty
        return Interval(float(value), math.nan, math.nan, NO_INTERVAL)
    low, high = np.quantile(drawn, TAILS)
    return Interval(float(value), float(low), float(high), method)


def _places(drawn: Floats) -> list[tuple[int, int]]:
    """First and last place of each encoder in 95 % of the draws; one that ties reaches all the places of the tie."""
    better = (drawn[:, None, :] > drawn[:, :, None]).sum(axis=2)  # (R, K)
    level = (drawn[:, None, :] == drawn[:, :, None]).sum(axis=2)  # itself too
    first = np.quantile(1 + better, TAILS[0], axis=0, method="lower")
    last = np.quantile(better + level, TAILS[1], axis=0, method="higher")
    return [(int(one), int(other)) for one, other in zip(first, last, strict=True)]
