"""Score against cost: what each row buys, and which rows no other beats at no higher cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from palprobe.metrics import LOWER_IS_BETTER
from palprobe.report.contest import Contest, place_of_row
from palprobe.report.page.sources import Palette, names_of
from palprobe.report.page.svg import Axis, Formatter, axis_over, drawing, element, frame, line, text
from palprobe.report.rows import Row
from palprobe.report.text import BYTES_PER_MIB, duration_text, number_text, score_text

WIDTH, HEIGHT = 340.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 326.0, 26.0, 210.0
LINE = 12.0  # pixels between two names
LOG_FROM = 20.0  # times from the smallest cost to the largest


@dataclass(frozen=True)
class Cost:
    """A cost that scores are drawn against."""

    column: str
    title: str
    write: Formatter
    unit: float = 1.0  # of the axis

    def of(self, row: Row) -> float:
        return float(getattr(row, self.column)) / self.unit


COSTS = (
    Cost("train_seconds", "training time of a run", duration_text),
    Cost("peak_memory_bytes", "peak memory, MiB", number_text, BYTES_PER_MIB),
    Cost("audio_tokens", "audio tokens per clip", number_text),
)


@dataclass(frozen=True)
class CostPlot:
    """Score against one cost."""

    chart: Markup | None  # None: all rows cost the same
    told: str  # a sentence, or ""


def cost_plots(contest: Contest, palette: Palette) -> list[CostPlot]:
    """One for each cost that is known of two rows or more."""
    plots = []
    for cost in COSTS:
        rows = [row for row in contest.rows if getattr(row, cost.column) is not None]
        values = {cost.write(cost.of(row)) for row in rows}
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
    parts = frame(x, y, cost.title, metric, cost.write)
    places = [(names[place_of_row(row)], x.at(cost.of(row)), y.at(row.score)) for row in best]
    if len(places) > 1:
        parts.append(line([(across, down) for _, across, down in places], "frontier"))
    parts += _labels(places, x)
    for row in rows:
        told = (
            f"{names[place_of_row(row)]}: {score_text(row.score, row.ci_low, row.ci_high)}, {cost.write(cost.of(row))}"
        )
        parts += _point(row, x.at(cost.of(row)), y, f"{'on' if row in front else 'off'} {palette.of(row)}", told)
    told = ", ".join(f"{names[place_of_row(row)]} ({cost.write(cost.of(row))})" for row in best)
    label = f"{metric} against {cost.title}. No other row is better at no higher cost: {told or 'not known'}"
    return drawing(parts, WIDTH, HEIGHT, label)


def _point(row: Row, x: float, y: Axis, class_: str, told: str) -> list[Markup]:
    whisker = []
    if row.ci_low is not None and row.ci_high is not None:
        whisker = [line([(x, y.at(row.ci_low)), (x, y.at(row.ci_high))], f"interval {class_}")]
    dot = element("circle", element("title", told), class_=f"point {class_}", cx=x, cy=y.at(row.score), r=4.5)
    return [*whisker, dot]


def _labels(points: Sequence[tuple[str, float, float]], x: Axis) -> list[Markup]:
    """Names beside their points, moved down where two would lie on each other."""
    parts, free = [], -LINE
    for name, across, down in sorted(points, key=lambda point: (point[2], point[1])):
        free = max(down - 7, free + LINE)
        left = across > (x.start + x.end) / 2
        parts.append(text(name, across - 8 if left else across + 8, free, "name end" if left else "name"))
    return parts
