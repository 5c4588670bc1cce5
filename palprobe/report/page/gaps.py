"""The forest plot: every tested difference of a contest as a line, its interval drawn beside zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from palprobe.report.contest import Axis as Kind
from palprobe.report.contest import Contest, Gap
from palprobe.report.page.svg import Axis, axis_over, strip
from palprobe.report.rows import Row
from palprobe.report.text import UNKNOWN, p_text
from palprobe.stats.differences import Difference

FULL = 12  # so many differences are all shown; of more, those of the rows that nothing is better than
TITLES: dict[Kind, tuple[str, str]] = {  # and what both sides share
    "encoder": ("Encoders, through the same integration", "integration"),
    "integration": ("Integrations, of the same encoder", "encoder"),
    "control": ("Against what stands beside", "row"),
}


@dataclass(frozen=True)
class GapLine:
    """One pair: its words and its drawing."""

    shared: str
    better: str
    worse: str
    verdict: str
    reason: str
    chart: Markup | None  # None: not compared
    value: str = UNKNOWN
    p: str = UNKNOWN
    n: str = UNKNOWN
    by_seed: str = ""


@dataclass(frozen=True)
class Forest:
    """All pairs that differ in one thing."""

    title: str
    shared: str  # the head of what both sides share
    low: str  # what the ends of the drawing mean
    high: str
    shown: tuple[GapLine, ...]
    folded: tuple[GapLine, ...]


def forests(contest: Contest) -> list[Forest]:
    """One for each thing that pairs differ in; all on one scale, so that they can be compared."""
    ends = [end for gap in contest.gaps if (found := gap.difference) for end in (found.low, found.value, found.high)]
    axis = axis_over([*(end for end in ends if end == end), 0.0], 0.0, 100.0)
    made = []
    for kind, (title, shared) in TITLES.items():
        if gaps := [gap for gap in contest.gaps if gap.axis == kind]:
            shown, folded = (tuple(_line(gap, axis) for gap in some) for some in _with_the_best(gaps))
            made.append(Forest(title, shared, signed(axis.low), signed(axis.high), shown, folded))
    return made


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _with_the_best(gaps: Sequence[Gap]) -> tuple[list[Gap], list[Gap]]:
    """Those of rows that nothing scores better than, and the others; all, where they are few."""
    if len(gaps) <= FULL:
        return list(gaps), []
    beaten = {id(gap.worse) for gap in gaps}
    return [gap for gap in gaps if id(gap.better) not in beaten], [gap for gap in gaps if id(gap.better) in beaten]


def _line(gap: Gap, axis: Axis) -> GapLine:
    found, words = gap.difference, (*_sides(gap), gap.verdict, gap.reason)
    if found is None:
        return GapLine(*words, None)
    low, high = ((end if end == end else None) for end in (found.low, found.high))
    chart = strip(found.value, low, high, axis, marks=[(0.0, "zero")], tone=gap.verdict.replace(" ", "-"))
    p = found.p if gap.p_adjusted is None else gap.p_adjusted
    by_seed = "by seed: " + ", ".join(map(signed, found.by_seed))
    return GapLine(*words, chart, _interval(found), p_text(p).removeprefix("p "), str(found.n), by_seed)


def _sides(gap: Gap) -> tuple[str, str, str]:
    """What both share, and what each is called beside the other."""
    if gap.axis == "encoder":
        return gap.better.integration, gap.better.encoder, gap.worse.encoder
    if gap.axis == "integration":
        return gap.better.encoder, gap.better.integration, gap.worse.integration
    rows = (gap.better, gap.worse)
    shared = max(rows, key=lambda row: (row.control == "none", row.llm != "none"))
    better, worse = ("it" if row is shared else _control(row) for row in rows)
    return f"{shared.encoder} · {shared.integration}", better, worse


def _control(row: Row) -> str:
    """'shuffled', 'linear'."""
    return row.integration if row.control == "none" else row.control


def _interval(found: Difference) -> str:
    if found.low != found.low or found.high != found.high:
        return f"{signed(found.value)} [no CI]"
    return f"{signed(found.value)} [{signed(found.low)}, {signed(found.high)}]"
