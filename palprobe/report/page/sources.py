"""Which results a row was made of, what a row is called on the page, and its colour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from palprobe.recipe.rigor import BLIND
from palprobe.report.contest import Contest, Place, place_of_row
from palprobe.report.results import EvalResult
from palprobe.report.rows import Row
from palprobe.report.sides import Side
from palprobe.types import Prediction

COLOURS = 8  # that the page's style has; what comes later in the alphabet is grey


@dataclass(frozen=True, eq=False)
class Source:
    """A row of a contest with the results behind it."""

    name: str  # short: what all rows of the contest share is left out
    side: Side

    @property
    def row(self) -> Row:
        return self.side.row

    @property
    def results(self) -> Sequence[EvalResult]:
        return self.side.results

    @property
    def runs(self) -> Mapping[int, Mapping[str, Prediction]]:
        return self.side.runs


def sources_of(contest: Contest, sides: Mapping[Row, Side]) -> list[Source]:
    """The rows of a contest, the best first, and behind them the blind ones, where there are some."""
    rows = [*contest.rows, *dict.fromkeys(contest.beside.get(BLIND, {}).values())]
    names = names_of(rows)
    return [Source(names[place_of_row(row)], sides[row]) for row in rows]


def names_of(rows: Iterable[Row]) -> dict[Place, str]:
    """'logmel · lal'; the encoder alone where one integration is compared."""
    places = list(dict.fromkeys(place_of_row(row) for row in rows))
    one_integration = len({integration for _, integration in places}) == 1
    return {place: place[0] if one_integration else " · ".join(place) for place in places}


@dataclass(frozen=True)
class Palette:
    """A colour for each integration; for each encoder, where the page has one integration."""

    by: str  # the column
    classes: Mapping[str, str]  # value of that column → class

    def of(self, row: Row) -> str:
        return self.classes.get(getattr(row, self.by), "c-other")


def palette_of(rows: Sequence[Row]) -> Palette:
    """The same for the whole page, so that a colour means one thing."""
    by = "integration" if len({row.integration for row in rows}) > 1 else "encoder"
    values = sorted({getattr(row, by) for row in rows})
    return Palette(by, {value: f"c{number}" for number, value in enumerate(values[:COLOURS])})
