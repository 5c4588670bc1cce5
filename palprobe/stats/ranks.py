"""Orders over many tasks: average ranks with their critical difference, tests of them, and strengths from wins.

Shape letters: N tasks, K things ranked (encoders). A table is (N, K), higher is better, nan where a task was skipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from palprobe.errors import ScoringError
from palprobe.stats.paired import holm

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Test:
    """A statistic and its p."""

    statistic: float
    p: float


def average_ranks(table: Floats) -> Floats:
    """(K,) mean rank over the tasks, 1 for the best; ties share the mean of their places.

    Raises:
        ScoringError: no tasks, or a task that somebody skipped.
    """
    raise NotImplementedError


def friedman(table: Floats) -> Test:
    """Whether the K could be ranked by chance alone; p = 1 where every task ties them all.

    Raises:
        ScoringError: fewer than three things or two tasks, or a task that somebody skipped.

    Source: Friedman (1937), corrected for ties.
    """
    raise NotImplementedError


def critical_difference(num_ranked: int, num_tasks: int, *, level: float = 0.05) -> float:
    """By how much two average ranks must be apart (Nemenyi): q √(K (K + 1) / 6 N).

    Raises:
        ScoringError: fewer than two things, or no task.

    Source: Demšar (2006), eq. 2 and table 5.
    """
    raise NotImplementedError


def nemenyi(table: Floats) -> Floats:
    """(K, K) p of each pair of average ranks, with all pairs taken into account.

    It depends on who else is in the table; `wilcoxon_pairs` does not.

    Raises:
        ScoringError: as `average_ranks`.
    """
    raise NotImplementedError


def wilcoxon_pairs(table: Floats) -> Floats:
    """(K, K) p of each pair by the signed ranks of its differences over the tasks that both have, Holm over all pairs.

    1 where a pair shares no task, or ties on all.

    Source: Wilcoxon (1945); why not mean ranks: Benavoli, Corani and Mangili (2016).
    """
    raise NotImplementedError


def wins(table: Floats) -> Floats:
    """(K, K) in how many tasks the row's thing beat the column's; a tie is half a win for each."""
    raise NotImplementedError


def bradley_terry(won: Floats, *, prior: float = 0.5) -> Floats:
    """(K,) strengths, log odds of winning, zero on average; two that never met are compared through others.

    Args:
        won: (K, K) as `wins` gives it.
        prior: wins and losses added to each pair that met, so that one who won all is not infinitely strong.

    Raises:
        ScoringError: some are connected by no task to the others.

    Source: Bradley and Terry (1952); as a logistic regression.
    """
    raise NotImplementedError
