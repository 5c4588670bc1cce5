"""The order of encoders over several tasks as a table, with headlines and ranks drawn."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from palprobe.report.overall import Overall
from palprobe.report.page.svg import Axis, axis_over, strip
from palprobe.report.text import UNKNOWN, score_text


@dataclass(frozen=True)
class OrderLine:
    """One encoder over all tasks."""

    name: str
    headline: str
    headline_chart: Markup
    rank: str
    rank_chart: Markup
    average_rank: str
    strength: str


def order_table(overall: Overall) -> list[OrderLine]:
    """The best headline first."""
    if not overall.headline:
        return [_without(name, overall) for name in overall.names]
    ends = [end for found in overall.headline.values() for end in (found.value, found.low, found.high) if end == end]
    axis = axis_over([*ends, 0.0], 0.0, 100.0)
    places = Axis(0.5, len(overall.names) + 0.5, 0.0, 100.0)
    return [_line(place, name, overall, axis, places) for place, name in enumerate(overall.names, start=1)]


def _line(place: int, name: str, overall: Overall, axis: Axis, places: Axis) -> OrderLine:
    found, (first, last) = overall.headline[name], overall.rank.get(name, (place, place))
    low, high = ((end if end == end else None) for end in (found.low, found.high))
    return OrderLine(
        name,
        score_text(found.value, low, high),
        strip(found.value, low, high, axis, marks=[(0.0, "zero")]),
        f"{first}" if first == last else f"{first} to {last}",
        strip(float(place), float(first), float(last), places),
        _number(overall.average_rank.get(name)),
        _number(overall.strength.get(name)),
    )


def _without(name: str, overall: Overall) -> OrderLine:
    ranks = (_number(overall.average_rank.get(name)), _number(overall.strength.get(name)))
    return OrderLine(name, UNKNOWN, Markup(""), UNKNOWN, Markup(""), *ranks)


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}"
