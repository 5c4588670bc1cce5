"""What people are shown, before it is drawn: a table per task, and one of question types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.cells import cell_len

from palprobe.metrics import LOWER_IS_BETTER, NOTES
from palprobe.report.leaderboard import Leaderboard, Summary, headlines
from palprobe.report.rows import Row
from palprobe.report.text import (
    UNKNOWN,
    count_text,
    duration_text,
    mebibytes_text,
    number_text,
    score_text,
    visible,
)

MODEL_SETTINGS = ("llm", "trainable")  # a column where they differ, else one line; the layer is in the encoder's name
TEST_SETTINGS = ("split", "scoring", "control")  # a table of its own where they differ
SETTINGS = MODEL_SETTINGS + TEST_SETTINGS
NARROW = 80  # columns of the terminal that everybody has
GAP = 2  # columns between two cells
WIDEST_NAME = 24  # columns that a name may take from the numbers; a longer one is folded if there is no room
ABOVE, WITHIN, BELOW, UNSURE = "*", "", "!", "?"
COST_LEGEND = "params: trained ones; tokens: of audio, per clip; train: time of one run; MiB: peak memory of the cell."
MARK_LEGEND = "*: the 95% interval is above chance; no mark (dim): it includes chance; !: it is below; ?: not known."


@dataclass(frozen=True)
class Table:
    """A table before it is drawn: every cell is text, names as they came."""

    title: str
    names: tuple[str, ...]  # heads of the first columns, which hold names and may be folded
    numbers: tuple[str, ...]  # heads of the others, which are never wrapped
    rows: tuple[tuple[str, ...], ...]
    caption: str
    marked: bool = False  # the numbers end in one of the marks above


def score_tables(board: Leaderboard) -> list[Table]:
    """For each task a row per encoder and integration: score with interval, items, chance and cost."""
    varying = varying_settings(board)
    tables = []
    for task, summaries in _by_test(headline(board), varying):
        rows = [summary.row for summary in summaries]
        items = [{"n": str(row.n), "chance": number_text(row.chance)} for row in rows]
        same = {head: items[0][head] for head in items[0] if len({item[head] for item in items}) == 1}
        differ = tuple(head for head in items[0] if head not in same)
        title = f"{task} ({', '.join(f'{head} {value}' for head, value in same.items())})" if same else task
        heads = (f"{rows[0].metric} [95% CI]", *differ, "params", "tokens", "train", "MiB")
        cells = tuple(
            (*_names(row, varying), _score(row), *(item[head] for head in differ), *_costs(row))
            for row, item in zip(rows, items, strict=True)
        )
        lower = " Lower is better." if rows[0].metric in LOWER_IS_BETTER else ""
        note = f" {NOTES[rows[0].metric]}" if rows[0].metric in NOTES else ""
        caption = f"{_seeds_caption(summaries)} {_rates_caption(rows)}{lower}{note}"
        tables.append(Table(title, _name_heads(varying), heads, cells, caption))
    return tables


def part_tables(board: Leaderboard, width: int = NARROW) -> list[Table]:
    """For each task of several question types: a row per encoder and integration, a column per type.

    Args:
        board: from `leaderboard`.
        width: columns of the terminal; types that do not fit go into a further table.
    """
    parts = [summary for summary in headlines(board.summaries) if summary.row.part is not None]
    varying = varying_settings(board)
    heads = _name_heads(varying)
    tables = []
    for task, summaries in _by_test(parts, varying):
        by_names: dict[tuple[str, ...], dict[str, Row]] = {}
        for summary in summaries:
            by_names.setdefault(_names(summary.row, varying), {})[str(summary.row.part)] = summary.row
        types = sorted({str(summary.row.part) for summary in summaries})
        for columns in _fitting(types, width - _names_width([heads, *by_names])):
            rows = [(*names, *(_marked(found.get(part)) for part in columns)) for names, found in by_names.items()]
            chances = (_shared_chance(found.get(part) for found in by_names.values()) for part in columns)
            rows.append(("chance", *[""] * (len(heads) - 1), *chances))
            continued = " (continued)" if columns[0] != types[0] else ""
            title = f"{task}, {summaries[0].row.metric} by question type{continued}"
            tables.append(Table(title, heads, tuple(columns), tuple(rows), _seeds_caption(summaries), marked=True))
    return tables


def legends(tables: Sequence[Table]) -> list[str]:
    """What heads and marks mean, for those that occur."""
    marked = {table.marked for table in tables}
    return [legend for legend, kind in ((COST_LEGEND, False), (MARK_LEGEND, True)) if kind in marked]


def settings_line(board: Leaderboard) -> str:
    """The settings that all rows share, on one line."""
    row, varying = board.summaries[0].row, varying_settings(board)
    return ", ".join(f"{name} {getattr(row, name)}" for name in SETTINGS if name not in varying)


def headline(board: Leaderboard) -> list[Summary]:
    """The whole-task rows to show, in the first metric that a task has, in the order of METRICS."""
    return [summary for summary in headlines(board.summaries) if summary.row.part is None]


def varying_settings(board: Leaderboard) -> tuple[str, ...]:
    """The settings that differ between rows, and so must stand in each."""
    return tuple(name for name in SETTINGS if len({getattr(s.row, name) for s in board.summaries}) > 1)


def _by_test(summaries: Sequence[Summary], varying: Sequence[str]) -> list[tuple[str, list[Summary]]]:
    """Rows that may be compared, under a title: the same task, split, scoring and control."""

    def title(summary: Summary) -> str:
        settings = [f"{name} {getattr(summary.row, name)}" for name in TEST_SETTINGS if name in varying]
        return ", ".join([summary.row.task, *settings])

    return [(name, list(group)) for name, group in groupby(sorted(summaries, key=title), key=title)]


def _names_width(rows: Sequence[Sequence[str]]) -> int:
    widths = (max(cell_len(visible(name)) for name in column) for column in zip(*rows, strict=True))
    return sum(min(WIDEST_NAME, width) + GAP for width in widths)


def _names(row: Row, varying: Sequence[str]) -> tuple[str, ...]:
    return (row.encoder, row.integration, *(str(getattr(row, name)) for name in MODEL_SETTINGS if name in varying))


def _name_heads(varying: Sequence[str]) -> tuple[str, ...]:
    return ("encoder", "integration", *(name for name in MODEL_SETTINGS if name in varying))


def _score(row: Row) -> str:
    return score_text(row.score, row.ci_low, row.ci_high)


def _costs(row: Row) -> tuple[str, ...]:
    return (
        count_text(row.trainable_parameters),
        number_text(row.audio_tokens),
        duration_text(row.train_seconds),
        mebibytes_text(row.peak_memory_bytes),
    )


def _seeds_caption(summaries: Sequence[Summary]) -> str:
    counts = sorted({len(summary.seeds) for summary in summaries})
    folds = sorted({len(summary.folds) for summary in summaries} - {0, 1})
    pooled = f"{' or '.join(map(str, folds))} folds pooled. " if folds else ""
    if counts[0] == 1:
        return f"{pooled}One seed: no claim of a difference."
    return f"{pooled}{' or '.join(map(str, counts))} seeds, averaged by item; intervals are over items, not over seeds."


def _rates_caption(rows: Sequence[Row]) -> str:
    """Audio tokens per second: one number, or one for each encoder."""
    rates = {row.encoder: number_text(row.tokens_per_second) for row in rows}
    if len(set(rates.values())) == 1:
        return f"Audio tokens per second: {next(iter(rates.values()))}."
    return f"Audio tokens per second: {', '.join(f'{encoder} {rate}' for encoder, rate in rates.items())}."


def _shared_chance(rows: Iterable[Row | None]) -> str:
    chances = {row.chance for row in rows if row is not None}
    chance = chances.pop() if len(chances) == 1 else None
    return UNKNOWN if chance is None else f"{chance:.2f}"


def _marked(row: Row | None) -> str:
    if row is None:
        return ""
    if row.chance is None or row.ci_low is None or row.ci_high is None:
        return f"{row.score:.2f}{UNSURE}"
    mark = ABOVE if row.ci_low > row.chance else BELOW if row.ci_high < row.chance else WITHIN
    return f"{row.score:.2f}{mark}"


def _fitting(heads: Sequence[str], width: int) -> list[list[str]]:
    """The heads in order, cut into lists that fit the width; at least one in each."""
    lists: list[list[str]] = [[]]
    left = width
    for head in heads:
        needed = max(cell_len(visible(head)), len("0.00*")) + GAP
        if lists[-1] and needed > left:
            lists.append([])
            left = width
        lists[-1].append(head)
        left -= needed
    return lists
