"""The tables and lines as `rich` draws them; it fits terminals of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from palprobe.report.bits import bits_tables
from palprobe.report.layer_sweep import layer_sweeps, sweep_lines, sweep_tables
from palprobe.report.layers import layer_lines
from palprobe.report.leaderboard import Leaderboard
from palprobe.report.results import EvalResult
from palprobe.report.score_tables import all_tables
from palprobe.report.standings import Standings
from palprobe.report.tables import ABOVE, BELOW, NARROW, UNSURE, Table, legends, settings_line, shown_rows
from palprobe.report.text import visible
from palprobe.report.words import WORDS_LEGEND, WORDS_TITLE, paragraphs

STYLES = {ABOVE: "bold", BELOW: "bold red", UNSURE: ""}  # and dim without a mark


def terminal_report(
    board: Leaderboard, standings: Standings, results: Sequence[EvalResult], width: int = NARROW
) -> Group:
    """All of it for `rich.console.Console.print`; names are shown as they are, never read as markup."""
    shown = shown_rows(board, standings)
    tables = [*all_tables(board, standings, width), *bits_tables(board, results, shown.varying)]
    sweeps = layer_sweeps(results)
    tables += [table for sweep in sweeps for table in sweep_tables(sweep, width)]
    parts: list[RichTable | Text] = [_line(settings_line(shown)), Text()]
    for table in tables:
        caption = [_line(table.caption, "dim")] if table.caption else []
        parts += [_line(table.title, "bold"), drawn(table), *caption, Text()]
    parts += [_line(legend, "dim") for legend in legends(tables)]
    if words := paragraphs(standings):
        told = [f"{paragraph.title}: {paragraph.text}" for paragraph in words]
        parts += [Text(), _line(WORDS_TITLE, "bold"), _items(told), _line(WORDS_LEGEND, "dim")]
    return Group(*parts, _items([*chain.from_iterable(map(sweep_lines, sweeps)), *layer_lines(results), *board.notes]))


def _line(text: str, style: str = "") -> Text:
    return Text(visible(text), style=style)


def _items(lines: Sequence[str]) -> RichTable:
    """A list, each entry behind a dash and wrapped beside it."""
    grid = RichTable.grid(padding=(0, 1, 0, 0))
    grid.add_column()
    grid.add_column(overflow="fold")
    for line in lines:
        grid.add_row("-", _line(line))
    return grid


def drawn(table: Table) -> RichTable:
    """One table; every cell is shown as it is."""
    # SIMPLE_HEAD puts one space between columns; with one of padding that is the gap that `tables` counts with.
    made = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for head in table.names:
        made.add_column(Text(visible(head)), overflow="fold")
    for head in table.numbers:
        made.add_column(Text(visible(head)), justify="right", no_wrap=True)
    for row in table.rows:
        names, numbers = row[: len(table.names)], row[len(table.names) :]
        styles = [STYLES.get(cell[-1:], "dim") if table.marked else "" for cell in numbers]
        made.add_row(*(Text(visible(name)) for name in names), *map(Text, numbers, styles))
    return made
