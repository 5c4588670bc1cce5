"""Which results a row was made of, what a row is called on the page, and its colour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from palprobe.report.contest import Contest, Place, place_of_row
from palprobe.report.leaderboard import place_of
from palprobe.report.results import EvalResult
from palprobe.report.rows import Row
from palprobe.types import Prediction

PLACE = ("encoder", "layer", "integration", "llm", "trainable", "task", "split", "scoring", "control")
COLOURS = 8  # that the page's style has; what comes later in the alphabet is grey


@dataclass(frozen=True, eq=False)
class Source:
    """A row of a contest with the results behind it."""

    name: str  # short: what all rows of the contest share is left out
    row: Row
    results: Sequence[EvalResult]  # in the order of seeds and folds

    @cached_property
    def runs(self) -> dict[int, dict[str, Prediction]]:
        """Seed → item → prediction, folds pooled."""
        pooled: dict[int, dict[str, Prediction]] = {}
        for result in self.results:
            pooled.setdefault(result.cell.seed, {}).update({item.id: item for item in result.predictions})
        return pooled


def sources_of(contest: Contest, results: Sequence[EvalResult]) -> list[Source]:
    """The rows of a contest, the best first, and behind them the blind one, where there is one."""
    blind = {row.run_id or place_of_row(row): row for row in contest.beside.get("blind", {}).values()}
    return named_sources([*contest.rows, *blind.values()], results)


def named_sources(rows: Sequence[Row], results: Sequence[EvalResult]) -> list[Source]:
    """A source for each row that has results."""
    members: dict[tuple[str, ...], list[EvalResult]] = {}
    for result in sorted(results, key=_order):
        members.setdefault(place_of(result), []).append(result)
    names = names_of(rows)
    keys = [tuple(str(getattr(row, name)) for name in PLACE) for row in rows]
    return [
        Source(names[place_of_row(row)], row, members[key])
        for row, key in zip(rows, keys, strict=True)
        if key in members
    ]


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


def _order(result: EvalResult) -> tuple[object, ...]:
    cell = result.cell
    return cell.seed, -1 if cell.fold is None else cell.fold, result.run_id
