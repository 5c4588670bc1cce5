"""Tables of scores: one of everything, to sort and filter, and one of each contest with its intervals drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from palprobe.metrics import LOWER_IS_BETTER, METRICS
from palprobe.recipe.rigor import BLIND
from palprobe.report.contest import Contest, Place, place_of_row
from palprobe.report.leaderboard import Leaderboard
from palprobe.report.page.sources import Palette
from palprobe.report.page.svg import Axis, axis_over, strip
from palprobe.report.rows import Row
from palprobe.report.standings import Standings
from palprobe.report.tables import SETTINGS, whole_tasks
from palprobe.report.text import (
    UNKNOWN,
    count_text,
    duration_text,
    mebibytes_text,
    number_text,
    score_text,
)

SHARES = frozenset({"accuracy", "balanced_accuracy", "macro_f1", "map"})  # drawn from 0 to 1
WHAT = ("task", "encoder", "integration")  # before the score, and behind it how it was got
HOW = (*SETTINGS, "metric")
COSTS = ("chance", "n", "params", "tokens", "train", "MiB")


@dataclass(frozen=True)
class Cell:
    """What is read, and what it is sorted by where that is a number."""

    text: str
    value: float | None = None
    missing: bool = False  # of a number


@dataclass(frozen=True)
class ScoreTable:
    """The one table of everything: heads, and behind each name whether its cells are numbers."""

    heads: tuple[tuple[str, bool], ...]
    filters: Mapping[str, tuple[str, ...]]  # column → its values, where there are several
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class ContestLine:
    """One row of a contest."""

    encoder: str
    integration: str
    letters: str
    colour: str
    score: str
    chart: Markup
    beside: tuple[str, ...]
    n: int


@dataclass(frozen=True)
class ContestTable:
    """All rows of a contest."""

    integrations: bool  # whether there are several
    low: str  # what the ends of the drawing mean
    high: str
    beside: tuple[str, ...]  # heads of what stands beside
    lines: tuple[ContestLine, ...]


def score_table(board: Leaderboard, standings: Standings) -> ScoreTable:
    """Every row's headline score, those of controls and single layers too: task by task, the best first."""
    rows = sorted((summary.row for summary in whole_tasks(board)), key=_best_first)
    values = {name: tuple(sorted({str(getattr(row, name)) for row in rows})) for name in (*WHAT, *HOW)}
    several = {name: found for name, found in values.items() if len(found) > 1}
    what = [name for name in WHAT if name in several or name != "integration"]
    how = [name for name in HOW if name in several]
    words, numbers = [(name, False) for name in (*what, "group", *how)], [(name, True) for name in COSTS]
    heads = [*words[: len(what)], ("score", True), *words[len(what) :], *numbers]
    lines = [
        (*_words(row, what), _score(row), Cell(_letters(row, standings)), *_words(row, how), *_numbers(row))
        for row in rows
    ]
    return ScoreTable(tuple(heads), several, tuple(lines))


def contest_table(contest: Contest, palette: Palette) -> ContestTable:
    """The rows of a contest, each with its interval, chance and the blind score drawn on one scale."""
    axis, blind = _axis(contest), contest.beside.get(BLIND, {})
    lines = []
    for row in contest.rows:
        place: Place = place_of_row(row)
        marks = [(row.chance, "chance")] if row.chance is not None else []
        marks += [(blind[place].score, "blind")] if place in blind else []
        chart = strip(row.score, row.ci_low, row.ci_high, axis, marks=marks, tone=palette.of(row))
        beside = tuple(_beside(found.get(place)) for found in contest.beside.values())
        score = score_text(row.score, row.ci_low, row.ci_high)
        lines.append(ContestLine(*place, contest.letters.get(place, ""), palette.of(row), score, chart, beside, row.n))
    several = len({row.integration for row in contest.rows}) > 1
    return ContestTable(several, number_text(axis.low), number_text(axis.high), tuple(contest.beside), tuple(lines))


def _axis(contest: Contest) -> Axis:
    """From 0 to 1 for a share, whatever the scores are."""
    if contest.metric in SHARES:
        return Axis(0.0, 1.0, 0.0, 100.0)
    rows = [*contest.rows, *contest.beside.get(BLIND, {}).values()]
    ends = [end for row in rows for end in (row.score, row.ci_low, row.ci_high, row.chance) if end is not None]
    return axis_over(ends, 0.0, 100.0)


def metric_notes(metric: str) -> str:
    """What the metric is; of one that is not ours, nothing."""
    return METRICS.parts[metric].summary if metric in METRICS.parts else ""


def _beside(row: Row | None) -> str:
    return UNKNOWN if row is None else f"{row.score:.3f}"


def _letters(row: Row, standings: Standings) -> str:
    found = [contest.letters.get(place_of_row(row), "") for contest in standings.contests if row in contest.rows]
    return found[0] if found else ""


def _key(row: Row) -> tuple[str, ...]:
    names = ("encoder", "integration", "llm", "trainable", "task", "split", "scoring", "control")
    return tuple(getattr(row, name) for name in names)


def _best_first(row: Row) -> tuple[str, float]:
    return row.task, row.score if row.metric in LOWER_IS_BETTER else -row.score


def _words(row: Row, names: Sequence[str]) -> list[Cell]:
    return [Cell(str(getattr(row, name))) for name in names]


def _score(row: Row) -> Cell:
    return Cell(score_text(row.score, row.ci_low, row.ci_high), row.score)


def _numbers(row: Row) -> tuple[Cell, ...]:
    return (
        _number(number_text(row.chance), row.chance),
        Cell(str(row.n), row.n),
        _number(count_text(row.trainable_parameters), row.trainable_parameters),
        _number(number_text(row.audio_tokens), row.audio_tokens),
        _number(duration_text(row.train_seconds), row.train_seconds),
        _number(mebibytes_text(row.peak_memory_bytes), row.peak_memory_bytes),
    )


def _number(text: str, value: float | None) -> Cell:
    return Cell(text, value, missing=value is None)


def other_metrics(board: Leaderboard, sources: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """All that a contest's rows were scored by beside the headline: the metrics, and a line a row."""
    wanted = {_key(row): row for row in sources}
    found: dict[tuple[str, ...], dict[str, str]] = {key: {} for key in wanted}
    for row in (summary.row for summary in board.summaries):
        if row.part is None and _key(row) in found and row.metric != wanted[_key(row)].metric:
            found[_key(row)][row.metric] = score_text(row.score, row.ci_low, row.ci_high)
    metrics = list(dict.fromkeys(metric for scores in found.values() for metric in scores))
    order = [metric for metric in METRICS.parts if metric in metrics] + [m for m in metrics if m not in METRICS.parts]
    lines = [
        [row.encoder, row.integration, *(found[key].get(name, UNKNOWN) for name in order)]
        for key, row in wanted.items()
    ]
    return order, lines
