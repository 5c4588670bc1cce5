"""What is better than what: contests of each task, and the order over all tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from palprobe.report.contest import Contest
from palprobe.report.contests import contests_of
from palprobe.report.leaderboard import Leaderboard
from palprobe.report.overall import Overall, overalls_of
from palprobe.report.results import EvalResult
from palprobe.report.sides import sides_of
from palprobe.stats.differences import FLIPS


@dataclass(frozen=True, eq=False)
class Standings:
    """All that reports say in words about which is better."""

    contests: tuple[Contest, ...]
    overall: tuple[Overall, ...]


def standings(board: Leaderboard, results: Sequence[EvalResult], *, draws: int = FLIPS) -> Standings:
    """Every pair of rows that may be compared, tested, and the orders over several tasks.

    Args:
        board: from `leaderboard`, of these results.
        results: finished evaluations.
        draws: of a test that is not exact.
    """
    sides = sides_of(board, results)
    return Standings(contests_of(sides, draws=draws), overalls_of(sides))
