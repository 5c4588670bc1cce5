"""The forest plot: every tested difference of a contest as a line, its interval drawn beside zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from palprobe.report.contest import Contest, Gap, Place, place_of_row
from palprobe.report.page.sources import names_of
from palprobe.report.page.svg import Axis, axis_over, strip
from palprobe.report.text import UNKNOWN, number_text
from palprobe.stats.differences import Difference

FULL = 12  # so many differences are all shown; of more, those with the best row first
TITLES = {
    "encoder": "Encoders, through the same integration",
    "integration": "Integrations, of the same encoder",
    "control": "Against what stands beside",
}
TONES = {"better": "sure", "tied": "tied", "one seed": "unsure", "not compared": "unsure"}


@dataclass(frozen=True)
class GapLine:
    """One pair: its words and its drawing."""

    better: str
    worse: str
    verdict: str
    reason: str
    chart: Markup | None
    value: str
    p: str
    seeds: str
    n: str


@dataclass(frozen=True)
class Forest:
    """All pairs that differ in one thing."""

    title: str
    low: str  # what the ends of the drawing mean
    high: str
    shown: tuple[GapLine, ...]
    folded: tuple[GapLine, ...]


def forests(contest: Contest) -> list[Forest]:
    """One for each thing that pairs differ in; drawn on one scale, so that they can be compared."""
    ends = [end for gap in contest.gaps if (found := gap.difference) for end in (found.low, found.value, found.high)]
    axis = axis_over([*(end for end in ends if end == end), 0.0], 0.0, 100.0)
    rows = [row for gap in contest.gaps for row in (gap.better, gap.worse)]
    names = names_of(rows) if rows else {}
    made = []
    for kind, title in TITLES.items():
        gaps = [gap for gap in contest.gaps if gap.axis == kind]
        if gaps:
            first, rest = _with_the_best(gaps)
            shown, folded = ([_line(gap, axis, names) for gap in some] for some in (first, rest))
            made.append(Forest(title, signed(axis.low), signed(axis.high), tuple(shown), tuple(folded)))
    return made


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def _with_the_best(gaps: Sequence[Gap]) -> tuple[list[Gap], list[Gap]]:
    """Those with a row that nothing is better than, and the others; all, where they are few."""
    if len(gaps) <= FULL:
        return list(gaps), []
    beaten = {id(gap.worse) for gap in gaps}
    first = [gap for gap in gaps if id(gap.better) not in beaten]
    return first, [gap for gap in gaps if id(gap.better) in beaten]


def _line(gap: Gap, axis: Axis, names: Mapping[Place, str]) -> GapLine:
    found = gap.difference
    words = (names[place_of_row(gap.better)], _worse_name(gap, names), gap.verdict, gap.reason)
    if found is None:
        return GapLine(*words, None, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
    low, high = ((end if end == end else None) for end in (found.low, found.high))
    chart = strip(found.value, low, high, axis, marks=[(0.0, "zero")], tone=TONES[gap.verdict])
    p = found.p if gap.p_adjusted is None else gap.p_adjusted
    return GapLine(*words, chart, _interval(found), p_text(p), _seeds(found), number_text(found.n))


def _worse_name(gap: Gap, names: Mapping[Place, str]) -> str:
    """A control of the same encoder and integration is called by its name."""
    name = names[place_of_row(gap.worse)]
    return f"{name}, {gap.worse.control}" if gap.worse.control != gap.better.control else name


def _interval(found: Difference) -> str:
    if found.low != found.low or found.high != found.high:
        return f"{signed(found.value)} [no CI]"
    return f"{signed(found.value)} [{signed(found.low)}, {signed(found.high)}]"


def _seeds(found: Difference) -> str:
    """'+0.010, +0.030, −0.004': the difference under each seed."""
    return ", ".join(map(signed, found.by_seed))
