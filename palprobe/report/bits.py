"""Tables of bits: what answers cost with what was heard, and how scores grow with the examples that were trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from palprobe.metrics import LOWER_IS_BETTER
from palprobe.recipe.rigor import NO_CONTROL
from palprobe.report.information import CODE_LENGTH, COMPRESSION, V_INFORMATION
from palprobe.report.leaderboard import Leaderboard
from palprobe.report.results import EvalResult
from palprobe.report.rows import Row
from palprobe.report.tables import Table, name_heads, names_of, whole_tasks
from palprobe.report.text import UNKNOWN, number_text, score_text
from palprobe.stats.information import Point, area_under, examples_needed

ERROR_RATES = frozenset({"wer", "cer"})  # of which a curve shows how far they are below 1
BITS_LEGEND = (
    "Code: bits for the answers of the training set, sent in blocks, each told by a probe trained on those before it. "
    "Compression: what guessing costs, over that. V bits: what audio tells of an answer of the test set, against the "
    "blind probe. Intervals are 95%, over items for these runs."
)
CURVE_LEGEND = (
    "Columns: training examples, and the score after so many, with the same steps. Area: mean score over log2 of the "
    "examples. 90% at: examples that bring 90% of what all bring above chance."
)
Names = tuple[str, ...]


@dataclass(frozen=True)
class Curve:
    """The sample-efficiency curve of one cell."""

    row: Row  # of the whole training set
    points: tuple[Point, ...]  # the fewest examples first
    area: float | None  # None where the metric has no top to fall short of
    needed: float | None  # examples for 90 % of what the whole set brings


def bits_tables(board: Leaderboard, results: Sequence[EvalResult], varying: Sequence[str]) -> list[Table]:
    """For each task code lengths, compressions and V-informations, then the curves; none where nothing was computed.

    Args:
        board: from `leaderboard`.
        results: that it is of.
        varying: settings that differ between rows, and so must stand in each.
    """
    return [*_code_tables(board, varying), *_curve_tables(board, results, varying)]


def curves(board: Leaderboard, results: Sequence[EvalResult]) -> list[Curve]:
    """The curve of every cell that was trained on portions too, in its task's headline metric."""
    sizes = _sizes(results)
    rows: dict[Names, dict[str, Row]] = defaultdict(dict)
    for row in (summary.row for summary in whole_tasks(board)):
        if row.control == NO_CONTROL or (_place(row), row.control) in sizes:
            rows[_place(row)][row.control] = row
    return [
        _curve(found[NO_CONTROL], {sizes[place, name]: row for name, row in found.items()})
        for place, found in rows.items()
        if NO_CONTROL in found and len(found) > 1
    ]


def _place(row: Row) -> Names:
    return (row.task, row.encoder, row.layer, row.integration, row.llm, row.trainable, row.split, row.scoring)


def _sizes(results: Sequence[EvalResult]) -> Mapping[tuple[Names, str], float]:
    """Training examples of each cell under each control that is a portion, and of the whole set; the mean over runs."""
    counts: dict[tuple[Names, str], list[int]] = defaultdict(list)
    for result in results:
        if result.portion is not None:
            cell = result.cell
            names = (cell.task, cell.encoder, cell.layer, cell.integration, cell.llm, cell.trainable)
            place = (*names, result.split, result.scoring)
            counts[place, result.control].append(result.portion.examples)
            counts[place, NO_CONTROL].append(result.portion.whole)
    return {key: fmean(found) for key, found in counts.items()}


def _curve(whole: Row, rows: Mapping[float, Row]) -> Curve:
    points = tuple(Point(size, rows[size].score) for size in sorted(rows))
    if whole.metric in LOWER_IS_BETTER - ERROR_RATES:
        return Curve(whole, points, None, None)
    heights = [_height(whole.metric, point) for point in points]
    return Curve(whole, points, area_under(heights), examples_needed(heights, floor=whole.chance or 0.0))


def _height(metric: str, point: Point) -> Point:
    return Point(point.examples, max(0.0, 1 - point.score)) if metric in ERROR_RATES else point


def _code_tables(board: Leaderboard, varying: Sequence[str]) -> list[Table]:
    shown: dict[Names, dict[str, Row]] = defaultdict(dict)
    for row in board.rows:  # aggregates come after what they are made of
        if row.part is None and row.metric in (CODE_LENGTH, COMPRESSION, V_INFORMATION):
            shown[(row.task, row.scoring, *names_of(row, varying))][row.metric] = row
    tables = []
    for (task, _), listed in groupby(sorted(shown), key=lambda key: key[:2]):
        keys = list(listed)
        cells = tuple((*key[2:], *_bits(shown[key])) for key in keys)
        heads = ("code", "compression [CI]", "V bits [CI]")
        caption = _guessing([shown[key] for key in keys])
        tables.append(Table(f"{task}: bits", name_heads(varying), heads, cells, caption, legends=(BITS_LEGEND,)))
    return tables


def _bits(rows: Mapping[str, Row]) -> Names:
    code = number_text(rows[CODE_LENGTH].score) if CODE_LENGTH in rows else UNKNOWN
    return code, *(_with_interval(rows.get(metric)) for metric in (COMPRESSION, V_INFORMATION))


def _with_interval(row: Row | None) -> str:
    return UNKNOWN if row is None else score_text(row.score, row.ci_low, row.ci_high)


def _guessing(found: Sequence[Mapping[str, Row]]) -> str:
    """What guessing costs, where it costs all cells the same."""
    coded = [rows for rows in found if COMPRESSION in rows]
    costs = {number_text(rows[CODE_LENGTH].score * rows[COMPRESSION].score) for rows in coded}
    items = {rows[CODE_LENGTH].n for rows in coded}
    if len(costs) != 1 or len(items) != 1:
        return ""
    return f"Guessing the {items.pop()} answers costs {costs.pop()} bits."


def _curve_tables(board: Leaderboard, results: Sequence[EvalResult], varying: Sequence[str]) -> list[Table]:
    def title(curve: Curve) -> str:
        return f"{curve.row.task}: {curve.row.metric} by training examples"

    tables = []
    for name, listed in groupby(sorted(curves(board, results), key=title), key=title):
        found = list(listed)
        sizes = sorted({round(point.examples) for curve in found for point in curve.points})
        heads = (*map(str, sizes), "area", "90% at")
        cells = tuple((*names_of(curve.row, varying), *_curve_cells(curve, sizes)) for curve in found)
        tables.append(Table(name, name_heads(varying), heads, cells, "", legends=(CURVE_LEGEND,)))
    return tables


def _curve_cells(curve: Curve, sizes: Sequence[int]) -> tuple[str, ...]:
    scores = {round(point.examples): f"{point.score:.2f}" for point in curve.points}
    area = UNKNOWN if curve.area is None else f"{curve.area:.2f}"
    needed = UNKNOWN if curve.needed is None else f"{curve.needed:.0f}"
    return (*(scores.get(size, "") for size in sizes), area, needed)
