"""A row of the leaderboard with the results that it is made of: what can be compared item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from palprobe.report.contest import Place, place_of_row
from palprobe.report.leaderboard import Leaderboard, headlines, place_of
from palprobe.report.results import EvalResult
from palprobe.report.rows import Row
from palprobe.types import Prediction

PLACE = ("encoder", "layer", "integration", "llm", "trainable", "task", "split", "scoring", "control")


@dataclass(frozen=True, eq=False)
class Side:
    """One row for its whole task, in the task's headline, and all its folds and seeds."""

    row: Row
    results: Sequence[EvalResult]

    @property
    def place(self) -> Place:
        return place_of_row(self.row)

    @property
    def run_ids(self) -> frozenset[str]:
        return frozenset(result.run_id for result in self.results)

    @cached_property
    def runs(self) -> Mapping[int, Mapping[str, Prediction]]:
        """Seed → item → prediction, folds pooled."""
        pooled: dict[int, dict[str, Prediction]] = {}
        for result in self.results:
            pooled.setdefault(result.cell.seed, {}).update({item.id: item for item in result.predictions})
        return pooled

    @property
    def items(self) -> set[str]:
        """The ids of all items that it was tested on under any seed."""
        return set[str]().union(*self.runs.values())


def sides_of(board: Leaderboard, results: Sequence[EvalResult]) -> list[Side]:
    """Every headline row of a whole task, controls too, in the order of the board."""
    members: dict[tuple[str, ...], list[EvalResult]] = {}
    for result in results:
        members.setdefault(place_of(result), []).append(result)
    rows = [summary.row for summary in headlines(board.summaries) if summary.row.part is None]
    return [Side(row, sorted_results(members[tuple(getattr(row, name) for name in PLACE)])) for row in rows]


def sorted_results(results: Sequence[EvalResult]) -> list[EvalResult]:
    """By seed and fold, so that nothing depends on the order in which folders were read."""
    return sorted(results, key=lambda result: (result.cell.seed, result.cell.fold or 0, result.run_id))
