"""What people are shown, before it is drawn: tables of text, and the one of question types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.cells import cell_len

from palprobe.recipe.rigor import NO_CONTROL
from palprobe.report.contest import Contest
from palprobe.report.controls import NO_LLM
from palprobe.report.leaderboard import Leaderboard, Summary, headlines
from palprobe.report.rows import Row
from palprobe.report.standings import Standings
from palprobe.report.text import UNKNOWN, visible

MODEL_SETTINGS = ("llm", "trainable")  # a column where they differ, else one line; the layer is in the encoder's name
TEST_SETTINGS = ("split", "scoring", "control")  # a table of its own where they differ
SETTINGS = MODEL_SETTINGS + TEST_SETTINGS
NARROW = 80  # columns of the terminal that everybody has
GAP = 2  # columns between two cells
WIDEST_NAME = 24  # columns that a name may take from the numbers; a longer one is folded if there is no room
ABOVE, WITHIN, BELOW, UNSURE = "*", "", "!", "?"
COST_LEGEND = "params: trained ones; tokens: of audio, per clip; train: time of one run; MiB: peak memory of the cell."
MARK_LEGEND = "*: the 95% interval is above chance; no mark (dim): it includes chance; !: it is below; ?: not known."
CONTINUED = " (continued)"
PORTION = "portion"  # controls of this name are of the section about bits
CLOSE = "0.00*"  # the widest number of a table of parts


@dataclass(frozen=True)
class Table:
    """A table before it is drawn: every cell is text, names as they came."""

    title: str
    names: tuple[str, ...]  # heads of the first columns, which hold names and may be folded
    numbers: tuple[str, ...]  # heads of the others, which are never wrapped
    rows: tuple[tuple[str, ...], ...]
    caption: str
    marked: bool = False  # the numbers end in one of the marks above
    legends: tuple[str, ...] = ()  # what its heads and marks mean: said once below all tables


@dataclass(frozen=True, eq=False)
class Shown:
    """The rows that have a table of their own: probes with their audio, and controls that stand beside none of them."""

    contests: tuple[Contest, ...]  # through an LLM
    pooled: tuple[Contest, ...]  # without one
    alone: tuple[Row, ...]  # controls whose probe is not there, or that leave out encoders
    varying: tuple[str, ...]  # the settings that differ between rows, and so must stand in each

    @property
    def rows(self) -> list[Row]:
        return [row for contest in (*self.contests, *self.pooled) for row in contest.rows] + list(self.alone)


def shown_rows(board: Leaderboard, standings: Standings) -> Shown:
    """What of the board the tables are about."""
    pooled = tuple(contest for contest in standings.contests if contest.llm == NO_LLM)
    through = tuple(contest for contest in standings.contests if contest.llm != NO_LLM)
    beside = {row for contest in standings.contests for by in contest.beside.values() for row in by.values()}
    rest = [row for row in (summary.row for summary in whole_tasks(board)) if row.control != NO_CONTROL]
    alone = tuple(row for row in rest if row not in beside and not row.control.startswith(PORTION))
    settled = [row for contest in (through or pooled) for row in contest.rows] + list(alone)
    varying = tuple(name for name in SETTINGS if len({getattr(row, name) for row in settled}) > 1)
    return Shown(through, pooled, alone, varying)


def part_tables(board: Leaderboard, shown: Shown, width: int = NARROW) -> list[Table]:
    """For each task of several question types: a row per encoder and integration, a column per type.

    Args:
        board: from `leaderboard`.
        shown: from `shown_rows`, of the same board.
        width: columns of the terminal; types that do not fit go into a further table.
    """
    wholes = {_without_part(row) for row in shown.rows}
    parts = [summary for summary in headlines(board.summaries) if summary.row.part is not None]
    parts = [summary for summary in parts if _without_part(summary.row) in wholes]
    heads = name_heads(shown.varying)
    tables = []
    for task, summaries in _by_test(parts, shown.varying):
        by_names: dict[tuple[str, ...], dict[str, Row]] = {}
        for summary in summaries:
            by_names.setdefault(names_of(summary.row, shown.varying), {})[str(summary.row.part)] = summary.row
        types = sorted({str(summary.row.part) for summary in summaries})
        for columns in fitting(types, CLOSE, width - names_width([heads, *by_names])):
            rows = [(*names, *(_marked(found.get(part)) for part in columns)) for names, found in by_names.items()]
            chances = (_shared_chance(found.get(part) for found in by_names.values()) for part in columns)
            rows.append(("chance", *[""] * (len(heads) - 1), *chances))
            title = f"{task}, {summaries[0].row.metric} by question type{'' if columns[0] == types[0] else CONTINUED}"
            caption = seeds_caption(summaries)
            tables.append(Table(title, heads, tuple(columns), tuple(rows), caption, True, (MARK_LEGEND,)))
    return tables


def legends(tables: Sequence[Table]) -> list[str]:
    """What heads and marks mean, for those that occur."""
    return list(dict.fromkeys(legend for table in tables for legend in table.legends))


def settings_line(shown: Shown) -> str:
    """The settings that all rows share, on one line."""
    row = shown.rows[0]
    return ", ".join(f"{name} {getattr(row, name)}" for name in SETTINGS if name not in shown.varying)


def whole_tasks(board: Leaderboard) -> list[Summary]:
    """The whole-task rows to show, in the first metric that a task has, in the order of METRICS."""
    return [summary for summary in headlines(board.summaries) if summary.row.part is None]


def _by_test(summaries: Sequence[Summary], varying: Sequence[str]) -> list[tuple[str, list[Summary]]]:
    """Rows that may be compared, under a title: the same task, split, scoring and control."""

    def title(summary: Summary) -> str:
        settings = [f"{name} {getattr(summary.row, name)}" for name in TEST_SETTINGS if name in varying]
        return ", ".join([summary.row.task, *settings])

    return [(name, list(group)) for name, group in groupby(sorted(summaries, key=title), key=title)]


def names_width(rows: Sequence[Sequence[str]]) -> int:
    widths = (max(cell_len(visible(name)) for name in column) for column in zip(*rows, strict=True))
    return sum(min(WIDEST_NAME, width) + GAP for width in widths)


def names_of(row: Row, varying: Sequence[str]) -> tuple[str, ...]:
    return (row.encoder, row.integration, *(str(getattr(row, name)) for name in MODEL_SETTINGS if name in varying))


def name_heads(varying: Sequence[str]) -> tuple[str, ...]:
    return ("encoder", "integration", *(name for name in MODEL_SETTINGS if name in varying))


def seeds_caption(summaries: Sequence[Summary]) -> str:
    counts = sorted({len(summary.seeds) for summary in summaries})
    folds = sorted({len(summary.folds) for summary in summaries} - {0, 1})
    pooled = f"{' or '.join(map(str, folds))} folds pooled. " if folds else ""
    if counts[0] == 1:
        return f"{pooled}One seed: no claim of a difference."
    return (
        f"{pooled}{' or '.join(map(str, counts))} seeds, averaged by item; intervals are about new items and new seeds."
    )


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


def fitting(heads: Sequence[str], cell: str, width: int) -> list[list[str]]:
    """The heads in order, cut into lists that fit the width; at least one in each, and each as wide as a cell."""
    lists: list[list[str]] = [[]]
    left = width
    for head in heads:
        needed = max(cell_len(visible(head)), len(cell)) + GAP
        if lists[-1] and needed > left:
            lists.append([])
            left = width
        lists[-1].append(head)
        left -= needed
    return lists


def _without_part(row: Row) -> tuple[str, ...]:
    return (row.encoder, row.integration, row.llm, row.trainable, row.task, row.split, row.scoring, row.control)
