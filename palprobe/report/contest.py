"""Rows that may be set beside one another on one task, what each pair of them differs by, and their controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from palprobe.report.rows import Row

if TYPE_CHECKING:
    from palprobe.stats.differences import Difference

Place = tuple[str, str]  # encoder and integration: what tells the rows of a contest apart
Axis = Literal["encoder", "integration", "control"]  # what a pair differs in, and nothing else
Verdict = Literal["better", "tied", "one seed", "not compared"]


@dataclass(frozen=True, eq=False)
class Gap:
    """Two rows on the same items, the better-scored one first."""

    axis: Axis  # control: one side is what stands beside the other, e.g. its blind or its linear probe
    better: Row
    worse: Row
    difference: Difference | None  # better less worse, in the metric's units and with its sign; None: not compared
    p_adjusted: float | None  # after Holm over all pairs of the axis in the task
    verdict: Verdict
    reason: str  # why it is no "better": a clause for people; "" where it is


@dataclass(frozen=True, eq=False)
class Contest:
    """All rows of a task that may be compared: the same split, scoring, LLM and trained parts.

    Encoders are compared within an integration, integrations within an encoder, and every row with its controls.
    """

    task: str
    metric: str
    split: str
    scoring: str
    llm: str
    trainable: str
    rows: tuple[Row, ...]  # the best first
    letters: Mapping[Place, str]  # "ab", "B": rows that share one are tied; small: encoders, capital: integrations
    gaps: tuple[Gap, ...]
    beside: Mapping[str, Mapping[Place, Row]]  # "blind", "shuffled", "floor", "linear" … → row → what stands beside it
    frontier: Mapping[str, tuple[Place, ...]]  # a cost's column → rows that no other beats in score and in that cost
    chance: float | None  # None: not known, or not the same for all rows
    one_answer: str | None  # of every item, where there is but one class: then no score tells anything
    notes: tuple[str, ...]  # what a reader must know before comparing, e.g. budgets that differ


def place_of_row(row: Row) -> Place:
    return row.encoder, row.integration
