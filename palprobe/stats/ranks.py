"""Orders over many tasks: average ranks with their critical difference, tests of them, and strengths from wins.

Shape letters: N tasks, K things ranked (encoders). A table is (N, K), higher is better, nan where a task was skipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from palprobe.errors import ScoringError
from palprobe.stats import Floats
from palprobe.stats.paired import holm


@dataclass(frozen=True)
class RankTest:
    """A statistic and its p."""

    statistic: float
    p: float


def ranks(table: Floats) -> Floats:
    """(N, K) rank within each task, 1 for the best; ties share the mean of their places.

    Raises:
        ScoringError: no tasks, or a task that somebody skipped.
    """
    from scipy.stats import rankdata

    if not len(table) or not np.isfinite(table).all():
        raise ScoringError(
            "Ranks need one task or more, and a score of everyone on each. Leave out what is incomplete."
        )
    found: Floats = rankdata(-table, axis=1)
    return found


def average_ranks(table: Floats) -> Floats:
    """(K,) mean rank over the tasks, 1 for the best; ties share the mean of their places.

    Raises:
        ScoringError: no tasks, or a task that somebody skipped.
    """
    found: Floats = ranks(table).mean(axis=0)
    return found


def friedman(table: Floats) -> RankTest:
    """Whether the K could be ranked by chance alone; p = 1 where every task ties them all.

    Raises:
        ScoringError: fewer than three things or two tasks, or a task that somebody skipped.

    Source: Friedman (1937), corrected for ties.
    """
    from scipy.stats import friedmanchisquare

    num_tasks, num_ranked = table.shape
    if num_ranked < 3 or num_tasks < 2:
        raise ScoringError(f"Friedman's test needs 3 encoders and 2 tasks or more; got {num_ranked} and {num_tasks}.")
    places = ranks(table)
    if np.ptp(places) == 0:
        return RankTest(0.0, 1.0)
    found = friedmanchisquare(*places.T)
    return RankTest(float(found.statistic), float(found.pvalue))


def critical_difference(num_ranked: int, num_tasks: int, *, level: float = 0.05) -> float:
    """By how much two average ranks must be apart (Nemenyi): q √(K (K + 1) / 6 N).

    Raises:
        ScoringError: fewer than two things, or no task.

    Source: Demšar (2006), section 3.2.2 and table 5.
    """
    from scipy.stats import studentized_range

    if num_ranked < 2 or num_tasks < 1:
        raise ScoringError(f"A critical difference needs 2 encoders and 1 task or more; got {num_ranked}, {num_tasks}.")
    q = float(studentized_range.ppf(1 - level, num_ranked, math.inf)) / math.sqrt(2)
    return q * math.sqrt(num_ranked * (num_ranked + 1) / (6 * num_tasks))


def nemenyi(table: Floats) -> Floats:
    """(K, K) p of each pair of average ranks, with all pairs taken into account.

    It depends on who else is in the table; `wilcoxon_pairs` does not.

    Raises:
        ScoringError: as `average_ranks`.
    """
    from scipy.stats import studentized_range

    means, (num_tasks, num_ranked) = average_ranks(table), table.shape
    apart = np.abs(means[:, None] - means)  # (K, K)
    scaled = apart / math.sqrt(num_ranked * (num_ranked + 1) / (6 * num_tasks)) * math.sqrt(2)
    found: Floats = np.clip(studentized_range.sf(scaled, num_ranked, math.inf), 0.0, 1.0)
    np.fill_diagonal(found, 1.0)
    return found


def wilcoxon_pairs(table: Floats) -> Floats:
    """(K, K) p of each pair by the signed ranks of its differences over the tasks that both have, Holm over all pairs.

    1 where a pair shares no task, or ties on all.

    Source: Wilcoxon (1945); why not mean ranks: Benavoli, Corani and Mangili (2016).
    """
    pairs = list(combinations(range(table.shape[1]), 2))
    adjusted = holm([_wilcoxon(table[:, one] - table[:, other]) for one, other in pairs])
    found = np.ones((table.shape[1], table.shape[1]))
    for (one, other), p in zip(pairs, adjusted, strict=True):
        found[one, other] = found[other, one] = p
    return found


def _wilcoxon(differences: Floats) -> float:
    from scipy.stats import wilcoxon

    known = differences[np.isfinite(differences)]
    if not np.any(known):
        return 1.0
    return float(wilcoxon(known).pvalue)


def wins(table: Floats) -> Floats:
    """(K, K) in how many tasks the row's thing beat the column's; a tie is half a win for each."""
    one, other = table[:, :, None], table[:, None, :]  # (N, K, 1) against (N, 1, K)
    found: Floats = (one > other).sum(axis=0) + (one == other).sum(axis=0) / 2
    np.fill_diagonal(found, 0.0)
    return found


def bradley_terry(won: Floats, *, prior: float = 0.5) -> Floats:
    """(K,) strengths, log odds of winning, zero on average; two that never met are compared through others.

    Args:
        won: (K, K) as `wins` gives it.
        prior: wins and losses added to each pair that met, so that one who won all is not infinitely strong.

    Raises:
        ScoringError: some are connected by no task to the others.

    Source: Bradley and Terry (1952); as a logistic regression.
    """
    from scipy.sparse.csgraph import connected_components
    from sklearn.linear_model import LogisticRegression

    number, met = len(won), won + won.T > 0
    if connected_components(met)[0] > 1:
        raise ScoringError("Strengths need encoders that share tasks, directly or through others; some share none.")
    if number < 2:
        return np.zeros(number)
    counts = won + prior * met
    first, second = np.nonzero(counts)
    rows = (
        np.eye(number)[first] - np.eye(number)[second]
    )  # a row that the first won, and the same one, lost by the other
    weights = counts[first, second]
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=10_000)
    model.fit(np.concatenate([rows, -rows]), np.repeat([1, 0], len(rows)), sample_weight=np.tile(weights, 2))
    strengths: Floats = model.coef_[0] - model.coef_[0].mean()
    return strengths
