"""The critical-difference diagram: average ranks on a line, with a bar under those that are too close to call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from palprobe.report.overall import Overall
from palprobe.report.page.svg import Axis, drawing, line, text

WIDTH, EDGE = 640.0, 150.0
AXIS, FIRST_BAR, BAR, NAME = 40.0, 52.0, 8.0, 17.0  # pixels: of the axis, below it, and between bars and between names


def rank_diagram(overall: Overall) -> Markup | None:
    """None where there are too few tasks or encoders for a critical difference.

    Source: Demšar (2006), figure 1.
    """
    difference, ranks = overall.critical_difference, overall.average_rank
    if difference is None or len(ranks) < 2:
        return None
    order = sorted(ranks, key=lambda name: (ranks[name], name))
    axis = Axis(1.0, float(len(order)), EDGE, WIDTH - EDGE)
    bars = close_groups([ranks[name] for name in order], difference)
    below = FIRST_BAR + BAR * len(bars) + NAME
    parts = [line([(axis.start, AXIS), (axis.end, AXIS)], "axis")]
    for rank in range(1, len(order) + 1):
        parts += [line([(axis.at(rank), AXIS - 5), (axis.at(rank), AXIS)], "axis")]
        parts += [text(str(rank), axis.at(rank), AXIS - 9, "tick middle")]
    if difference <= len(order) - 1:
        parts += _ruler(axis, difference)
    for number, (first, last) in enumerate(bars):
        level = FIRST_BAR + BAR * number
        ends = [(axis.at(ranks[order[first]]) - 4, level), (axis.at(ranks[order[last]]) + 4, level)]
        parts.append(line(ends, "tie", f"not told apart: {', '.join(order[first : last + 1])}"))
    parts += _names(order, ranks, axis, below)
    height = below + NAME * ((len(order) + 1) // 2)
    told = ", ".join(f"{name} {ranks[name]:.2f}" for name in order)
    return drawing(parts, WIDTH, height, f"Average ranks: {told}. Critical difference: {difference:.2f}", "chart wide")


def close_groups(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """First and last of each largest group, among sorted ranks, whose ends differ by no more than that."""
    groups: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(number for number in range(first, len(ranks)) if ranks[number] - ranks[first] <= difference)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


def _ruler(axis: Axis, difference: float) -> list[Markup]:
    ends = [(axis.start, 10.0), (axis.at(1 + difference), 10.0)]
    return [line(ends, "ruler"), text(f"critical difference {difference:.2f}", axis.at(1 + difference) + 6, 14.0)]


def _names(order: Sequence[str], ranks: Mapping[str, float], axis: Axis, below: float) -> list[Markup]:
    """The better half on the left, the others on the right, each joined to its place on the axis."""
    half, parts = (len(order) + 1) // 2, []
    for number, name in enumerate(order):
        left = number < half
        level = below + NAME * (number if left else len(order) - 1 - number)
        edge = axis.start - 6 if left else axis.end + 6
        parts.append(line([(axis.at(ranks[name]), AXIS), (axis.at(ranks[name]), level), (edge, level)], "lead"))
        place, class_ = (edge - 4, "name end") if left else (edge + 4, "name")
        parts.append(text(f"{name} {ranks[name]:.2f}", place, level + 4, class_))
    return parts
