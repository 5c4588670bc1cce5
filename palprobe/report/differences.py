"""differences.csv and overall.csv: every pair that was tested, and the orders over several tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from palprobe.report.contest import Contest, Gap
from palprobe.report.overall import Overall
from palprobe.report.standings import Standings

DIFFERENCES = (
    "task", "split", "scoring", "llm", "trainable", "metric", "axis", "encoder", "integration", "control",
    "other_encoder", "other_integration", "other_control", "difference", "ci_low", "ci_high", "ci_method", "p",
    "p_holm", "test", "seeds", "n", "n_left_out", "groups", "verdict", "reason",
)  # fmt: skip
OVERALL = (
    "integration", "llm", "trainable", "split", "encoder", "headline", "ci_low", "ci_high", "ci_method", "rank_low",
    "rank_high", "average_rank", "strength", "num_tasks", "critical_difference", "friedman_p",
)  # fmt: skip


def difference_lines(standings: Standings) -> Iterator[tuple[Any, ...]]:
    """The lines of differences.csv without its head, in the order of the contests."""
    return (_difference(contest, gap) for contest in standings.contests for gap in contest.gaps)


def _difference(contest: Contest, gap: Gap) -> tuple[Any, ...]:
    found = gap.difference
    where = (contest.task, contest.split, contest.scoring, contest.llm, contest.trainable, contest.metric, gap.axis)
    sides = [value for row in (gap.better, gap.worse) for value in (row.encoder, row.integration, row.control)]
    if found is None:
        return (*where, *sides, *[None] * 11, gap.verdict, gap.reason)
    interval = (found.value, found.low, found.high, found.method)
    counts = (len(found.by_seed), found.n, found.left_out, found.groups)
    return (*where, *sides, *interval, found.p, gap.p_adjusted, found.test, *counts, gap.verdict, gap.reason)


def overall_lines(standings: Standings) -> Iterator[tuple[Any, ...]]:
    """The lines of overall.csv without its head."""
    return (_overall(overall, name) for overall in standings.overall for name in overall.names)


def _overall(overall: Overall, name: str) -> tuple[Any, ...]:
    interval = overall.headline.get(name)
    score = (interval.value, interval.low, interval.high, interval.method) if interval else [None] * 4
    return (
        *(overall.integration, overall.llm, overall.trainable, overall.split, name),
        *score,
        *overall.rank.get(name, (None, None)),
        overall.average_rank.get(name),
        overall.strength.get(name),
        len(overall.tasks),
        overall.critical_difference,
        overall.friedman_p,
    )
