"""One number for each encoder over all tasks: above what no audio gives, with its interval and a range of places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from palprobe.stats.differences import Tested
from palprobe.types import Interval

DRAWS = 2000


@dataclass(frozen=True)
class TaskScores:
    """What one task says of several encoders."""

    task: str
    metric: str
    chance: float | None  # of the metric; None counts as 0
    runs: Mapping[str, Tested]  # encoder → seed → item → prediction
    blind: Tested | None = None  # the probe that heard nothing; without it the headline is above chance


@dataclass(frozen=True)
class Headline:
    """Means over the tasks that all encoders have, encoders in the order of their scores."""

    scores: Mapping[str, Interval]  # 0: as without audio; 1: no error; best first
    ranks: Mapping[str, tuple[int, int]]  # 95 % range of places, 1 for the best
    tasks: Mapping[str, Mapping[str, float]]  # task → encoder → its part of the mean
    left_out: tuple[str, ...]  # tasks that some encoder lacks
    without_blind: tuple[str, ...]  # tasks whose zero is chance
    seeds: int  # the fewest that a task has


def overall(tasks: Sequence[TaskScores], *, draws: int = DRAWS, seed: int = 0) -> Headline:
    """The mean over tasks of (score - blind) / (perfect - chance), by a hierarchical bootstrap.

    A draw takes tasks, in each of them seeds, and then whole groups of items, the same for every encoder and for the blind
    probe. A word error rate counts as 1 less it, and never below 0.

    Args:
        tasks: each with the same encoders, as far as they have it.
        draws: resamples.
        seed: of this call's own generator.

    Raises:
        ScoringError: no task that all encoders have, or a metric without a perfect score.
    """
    raise NotImplementedError
