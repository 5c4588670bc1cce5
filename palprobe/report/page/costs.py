"""Score against cost: what each row buys, and which rows no other beats at no higher cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from markupsafe import Markup

from palprobe.metrics import LOWER_IS_BETTER
from palprobe.report.contest import Contest, place_of_row
from palprobe.report.page.sources import Palette, names_of
from palprobe.report.page.svg import Axis, axis_over, drawing, element, frame, line, text
from palprobe.report.rows import Row
from palprobe.report.text import (
    BYTES_PER_MIB,
    HOURS_FROM,
    MINUTES_FROM,
    SECONDS_PER_HOUR,
    SECONDS_PER_MINUTE,
    number_text,
    score_text,
)

WIDTH, HEIGHT = 340.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 326.0, 26.0, 210.0
LINE, LETTER, GAP, DOT = 10.0, 5.8, 8.0, 5.0  # pixels: height and width of a name's letters, to its point, of a point
TIMES = ((HOURS_FROM, SECONDS_PER_HOUR, "h"), (MINUTES_FROM, SECONDS_PER_MINUTE, "min"), (0, 1, "s"))
LOG_FROM = 20.0  # times from the smallest cost to the largest

Place = tuple[str, float, float]  # a name, and where its point is
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Cost:
    """A cost that scores are drawn against."""

    column: str
    title: str
    unit: float = 1.0  # of the axis

    def of(self, row: Row) -> float:
        return float(getattr(row, self.column)) / self.unit


@dataclass(frozen=True)
class CostPlot:
    """Score against one cost."""

    chart: Markup | None  # None: all rows cost the same
    told: str  # a sentence, or ""


def _costs(rows: Sequence[Row]) -> tuple[Cost, ...]:
    """Each in a unit that suits its largest value."""
    longest = max((row.train_seconds for row in rows if row.train_seconds is not None), default=0.0)
    size, unit = next((size, unit) for least, size, unit in TIMES if longest >= least)
    return (
        Cost("train_seconds", f"training time of a run, {unit}", size),
        Cost("peak_memory_bytes", "peak memory, MiB", BYTES_PER_MIB),
        Cost("audio_tokens", "audio tokens per clip"),
    )


def cost_plots(contest: Contest, palette: Palette) -> list[CostPlot]:
    """One for each cost that is known of two rows or more."""
    plots = []
    for cost in _costs(contest.rows):
        rows = [row for row in contest.rows if getattr(row, cost.column) is not None]
        values = {number_text(cost.of(row)) for row in rows}
        if len(rows) > 1 and len(values) == 1:
            plots.append(CostPlot(None, f"{cost.title.capitalize()}: {values.pop()} for all."))
        elif len(rows) > 1:
            front = contest.frontier.get(cost.column)
            chart = _chart(cost, rows, [row for row in rows if place_of_row(row) in (front or ())], palette)
            unlike = f"{cost.title.capitalize()}: not measured in one way for all, so nothing is filled."
            plots.append(CostPlot(chart, "" if front else unlike))
    return plots


def _chart(cost: Cost, rows: Sequence[Row], front: Sequence[Row], palette: Palette) -> Markup:
    names, best = names_of(rows), sorted(front, key=cost.of)
    x = axis_over([cost.of(row) for row in rows], LEFT, RIGHT, log_from=LOG_FROM)
    ends = [end for row in rows for end in (row.score, row.ci_low, row.ci_high) if end is not None]
    y = axis_over(ends, BOTTOM, TOP)
    metric = rows[0].metric + (" (lower is better)" if rows[0].metric in LOWER_IS_BETTER else "")
    parts = frame(x, y, cost.title, metric)
    places = [(names[place_of_row(row)], x.at(cost.of(row)), y.at(row.score)) for row in best]
    if len(places) > 1:
        parts.append(line([(across, down) for _, across, down in places], "frontier"))
    parts += _labels(places, [(x.at(cost.of(row)), y.at(row.score)) for row in rows], x)
    for row in rows:
        score = score_text(row.score, row.ci_low, row.ci_high)
        told = f"{names[place_of_row(row)]}: {score}, {number_text(cost.of(row))}"
        parts += _point(row, x.at(cost.of(row)), y, f"{'on' if row in front else 'off'} {palette.of(row)}", told)
    told = ", ".join(f"{names[place_of_row(row)]} ({number_text(cost.of(row))})" for row in best)
    label = f"{metric} against {cost.title}. No other row is better at no higher cost: {told or 'not known'}"
    return drawing(parts, WIDTH, HEIGHT, label)


def _point(row: Row, x: float, y: Axis, class_: str, told: str) -> list[Markup]:
    whisker = []
    if row.ci_low is not None and row.ci_high is not None:
        whisker = [line([(x, y.at(row.ci_low)), (x, y.at(row.ci_high))], f"interval {class_}")]
    dot = element("circle", element("title", told), class_=f"point {class_}", cx=x, cy=y.at(row.score), r=4.5)
    return [*whisker, dot]


def _labels(named: Sequence[Place], points: Sequence[tuple[float, float]], x: Axis) -> list[Markup]:
    """Each name beside its point, where it lies on no point and no other name; left out where there is no room."""
    taken = [(across - DOT, down - DOT, across + DOT, down + DOT) for across, down in points]
    parts = []
    for name, across, down in named:
        width = LETTER * len(name)
        for side, below in product((1, -1), (4.0, -8.0, 16.0, -20.0)):
            left = across + GAP if side > 0 else across - GAP - width
            box = (left, down + below - LINE, left + width, down + below)
            if box[0] > x.start - GAP and box[2] < x.end + GAP and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                parts.append(text(name, across + side * GAP, down + below, "name" if side > 0 else "name end"))
                break
    return parts


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
