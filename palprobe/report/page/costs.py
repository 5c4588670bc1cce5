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
from palprobe.report.text import count_text, duration_text, mebibytes_text, number_text, score_text

WIDTH, HEIGHT = 340.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 326.0, 26.0, 210.0
LINE = 12.0  # pixels between two names
COSTS: Sequence[tuple[str, str, Formatter]] = (
    ("train_seconds", "training time of a run", duration_text),
    ("peak_memory_bytes", "peak memory, MiB", lambda size: mebibytes_text(round(size))),
    ("audio_tokens", "audio tokens per clip", number_text),
    ("trainable_parameters", "trained parameters", lambda count: count_text(round(count))),
)


@dataclass(frozen=True)
class CostPlot:
    """Score against one cost."""

    title: str
    chart: Markup | None  # None: all rows cost the same, as `told`
    told: str


def cost_plots(contest: Contest, palette: Palette) -> list[CostPlot]:
    """One for each cost that is known of two rows or more."""
    plots = []
    for column, title, write in COSTS:
        rows = [row for row in contest.rows if getattr(row, column) is not None]
        values = {write(float(getattr(row, column))) for row in rows}
        if len(rows) < 2:
            continue
        if len(values) == 1:
            plots.append(CostPlot(title, None, f"{title.capitalize()}: {values.pop()} for all."))
        else:
            best = {place_of_row(row) for row in rows} & set(contest.frontier.get(column, ()))
            front = sorted((row for row in rows if place_of_row(row) in best), key=lambda row: float(getattr(row, column)))
            plots.append(_plot(title, column, rows, front, palette, write))
    return plots


def _plot(
    title: str, column: str, rows: Sequence[Row], front: Sequence[Row], palette: Palette, write: Formatter
) -> CostPlot:
    names = names_of(rows)
    costs = [float(getattr(row, column)) for row in rows]
    x = axis_over(costs, LEFT, RIGHT, may_be_log=True)
    ends = [end for row in rows for end in (row.score, row.ci_low, row.ci_high) if end is not None]
    y = axis_over(ends, BOTTOM, TOP)
    metric = rows[0].metric + (" (lower is better)" if rows[0].metric in LOWER_IS_BETTER else "")
    parts = frame(x, y, title, metric, write)
    if len(front) > 1:
        parts.append(line([(x.at(float(getattr(row, column))), y.at(row.score)) for row in front], "frontier"))
    for row, cost in zip(rows, costs, strict=True):
        told = f"{names[place_of_row(row)]}: {score_text(row.score, row.ci_low, row.ci_high)}, {write(cost)}"
        kind = "on" if row in front else "off"
        parts += _point(row, x.at(cost), y, f"{kind} {palette.of(row)}", told)
    parts += _labels([(names[place_of_row(row)], x.at(float(getattr(row, column))), y.at(row.score)) for row in front], x)
    told = ", ".join(f"{names[place_of_row(row)]} ({write(float(getattr(row, column)))})" for row in front)
    label = f"{metric} against {title}. No other row is better at no higher cost: {told or 'not known'}"
    return CostPlot(title, drawing(parts, WIDTH, HEIGHT, label), "")


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
