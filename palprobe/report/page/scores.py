"""Tables of scores: one of everything, to sort and filter, and one of each contest with its intervals drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from palprobe.metrics import LOWER_IS_BETTER, METRICS
from palprobe.report.contest import Contest, Place, place_of_row
from palprobe.report.leaderboard import Leaderboard
from palprobe.report.page.sources import Palette
from palprobe.report.page.svg import axis_over, strip
from palprobe.report.rows import Row
from palprobe.report.standings import Standings
from palprobe.report.tables import headline, varying_settings
from palprobe.report.text import (
    UNKNOWN,
    count_text,
    duration_text,
    mebibytes_text,
    number_text,
    score_text,
)

SHARES = frozenset({"accuracy", "balanced_accuracy", "macro_f1", "map"})  # drawn from 0 to 1, whatever the scores are
HEADS = {
    "trainable_parameters": "params",
    "audio_tokens": "tokens",
    "train_seconds": "train",
    "peak_memory_bytes": "MiB",
}


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
    chart: Markup
    score: str
    beside: tuple[str, ...]
    n: int


def score_table(board: Leaderboard, standings: Standings) -> ScoreTable:
    """Every row's headline score, with its controls, layers and splits."""
    rows = sorted((summary.row for summary in headline(board)), key=_best_first)
    letters = _letters(standings)
    named = ("task", "encoder", "integration", *varying_settings(board))
    one_metric = len({row.metric for row in rows}) == 1
    names = named if one_metric else (*named, "metric")
    numbers = ("score", "tied", "chance", "n", *HEADS.values())
    filters = {name: tuple(sorted({str(getattr(row, name)) for row in rows})) for name in names}
    return ScoreTable(
        tuple((name, False) for name in names) + tuple((name, name != "tied") for name in numbers),
        {name: values for name, values in filters.items() if len(values) > 1},
        tuple(
            (*(Cell(str(getattr(row, name))) for name in names), *_numbers(row, letters.get(_key(row), "")))
            for row in rows
        ),
    )


def contest_lines(contest: Contest, palette: Palette) -> list[ContestLine]:
    """The rows of a contest, each with its interval, chance and the blind score drawn on one scale."""
    ends = [end for row in contest.rows for end in (row.score, row.ci_low, row.ci_high, row.chance) if end is not None]
    blind = contest.beside.get("blind", {})
    ends += [row.score for row in blind.values()] + ([0.0, 1.0] if contest.metric in SHARES else [])
    axis = axis_over(ends, 0.0, 100.0, room=0.02)
    lines = []
    for row in contest.rows:
        place: Place = place_of_row(row)
        marks = [(row.chance, "chance")] if row.chance is not None else []
        marks += [(blind[place].score, "blind")] if place in blind else []
        chart = strip(row.score, row.ci_low, row.ci_high, axis, marks=marks, tone=palette.of(row))
        beside = tuple(_beside(found.get(place)) for found in contest.beside.values())
        score = score_text(row.score, row.ci_low, row.ci_high)
        lines.append(ContestLine(*place, contest.letters.get(place, ""), palette.of(row), chart, score, beside, row.n))
    return lines


def metric_notes(metric: str) -> str:
    """What the metric is; of one that is not ours, nothing."""
    return METRICS.parts[metric].summary if metric in METRICS.parts else ""


def _beside(row: Row | None) -> str:
    return UNKNOWN if row is None else f"{row.score:.3f}"


def _letters(standings: Standings) -> dict[tuple[str, ...], str]:
    return {
        _key(row): contest.letters.get(place_of_row(row), "") for contest in standings.contests for row in contest.rows
    }


def _key(row: Row) -> tuple[str, ...]:
    names = ("encoder", "integration", "llm", "trainable", "task", "split", "scoring", "control")
    return tuple(getattr(row, name) for name in names)


def _best_first(row: Row) -> tuple[str, float]:
    return row.task, row.score if row.metric in LOWER_IS_BETTER else -row.score


def _numbers(row: Row, letters: str) -> tuple[Cell, ...]:
    return (
        Cell(score_text(row.score, row.ci_low, row.ci_high), row.score),
        Cell(letters),
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
    wanted = {(_key(row)): row for row in sources}
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
