"""The forms of a report: CSV long and wide, JSON, Markdown, and what the terminal shows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from palprobe.files import write_text
from palprobe.recipe.rigor import NO_CONTROL
from palprobe.report.bits import bits_tables
from palprobe.report.differences import DIFFERENCES, OVERALL, difference_lines, overall_lines
from palprobe.report.latex import latex_report
from palprobe.report.layer_sweep import chosen_rows, layer_sweeps, sweep_tables
from palprobe.report.leaderboard import Leaderboard, Summary, headlines, leaderboard, single_rows
from palprobe.report.markdown import NO_LIMIT, markdown_report
from palprobe.report.page.html import page_html
from palprobe.report.results import EvalResult
from palprobe.report.rows import COLUMNS, HEADLINE_METRIC, Row
from palprobe.report.score_tables import all_tables
from palprobe.report.standings import Standings, standings
from palprobe.report.tables import NARROW, legends, shown_rows

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

Form = Literal["table", "csv", "json", "markdown"]


@dataclass(frozen=True, eq=False)
class Findings:
    """What the forms of a report are made of."""

    board: Leaderboard
    standings: Standings


def findings_of(results: Sequence[EvalResult]) -> Findings:
    """Aggregates and tests, which take a while where there are many results.

    Raises:
        UnfinishedError: no results.
    """
    board = leaderboard(results)
    return Findings(board, standings(board, results))


def render(
    results: Sequence[EvalResult],
    form: Form,
    *,
    header: bool = True,
    width: int | None = None,
    aggregate: bool = True,
    findings: Findings | None = None,
) -> RenderableType:
    """The results in one form; a text but for "table".

    Args:
        results: finished evaluations.
        form: "table" is for `rich.console.Console.print`; the others are texts for stdout as they are, since
            `rich` would read names in them as markup.
        header: of the CSV; False to append to a file.
        width: columns of the terminal; None: 80.
        aggregate: over folds and seeds; False: CSV and JSON have the rows of each result alone.
        findings: of these results, if they were computed before.

    Raises:
        UnfinishedError: no results.
    """
    if not aggregate and form in ("csv", "json"):
        rows = single_rows(results)
        return csv_text(rows, header=header) if form == "csv" else json_text(rows)
    if form in ("csv", "json"):
        board = findings.board if findings else leaderboard(results)
        rows = [*board.rows, *chosen_rows(layer_sweeps(results))]
        return csv_text(rows, header=header) if form == "csv" else json_text(rows)
    found = findings or findings_of(results)
    if form == "markdown":
        return markdown_report(found.board, found.standings, results)
    from palprobe.report.terminal import terminal_report

    return terminal_report(found.board, found.standings, results, width or NARROW)


def write_report(results: Sequence[EvalResult], out: Path) -> Findings:
    """Leaderboards, what was tested, and the pages, each file whole or not at all, in a folder that is made.

    Returns:
        What they were made of, for `render`.

    Raises:
        UnfinishedError: no results.
    """
    found = findings_of(results)
    board, ranked = found.board, found.standings
    bits = bits_tables(board, results, shown_rows(board, ranked).varying)
    sweeps = layer_sweeps(results)
    swept = [table for sweep in sweeps for table in sweep_tables(sweep, NO_LIMIT)]
    tables = [*all_tables(board, ranked, NO_LIMIT), *bits, *swept]
    write_text(out / "leaderboard.csv", csv_text([*board.rows, *chosen_rows(sweeps)]))
    write_text(out / "leaderboard_wide.csv", wide_csv_text(board.summaries))
    write_text(out / "differences.csv", _csv([DIFFERENCES, *difference_lines(ranked)]))
    write_text(out / "overall.csv", _csv([OVERALL, *overall_lines(ranked)]))
    write_text(out / "report.md", markdown_report(board, ranked, results))
    write_text(out / "report.html", page_html(board, ranked, results))
    write_text(out / "report.tex", latex_report(tables, legends(tables)))
    return found


def json_text(rows: Iterable[Row]) -> str:
    """A list of objects with the columns of the CSV as keys."""
    return json.dumps([row.columns() for row in rows], indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """The rows as a table with the columns of the CSV."""
    import pandas as pd

    return pd.DataFrame([row.columns() for row in rows], columns=list(COLUMNS))


def csv_text(rows: Iterable[Row], *, header: bool = True) -> str:
    """leaderboard.csv: UTF-8, one \\n per row, floats that read back exactly, empty for what is not known.

    Names are written as they are, so one that begins with `=` or `+` is a formula to a spreadsheet.
    """
    return _csv(([COLUMNS] if header else []) + [tuple(row.columns().values()) for row in rows])


def wide_csv_text(summaries: Iterable[Summary]) -> str:
    """leaderboard_wide.csv: the headline without a control, a row per encoder and integration, a column per task.

    The headline is accuracy; where a task is not scored by it, the column's name ends in the metric.
    """
    index = ["encoder", "layer", "integration", "llm", "trainable", "split", "scoring"]
    rows = [row for row in (summary.row for summary in headlines(summaries)) if row.control == NO_CONTROL]
    frame = as_frame(rows)
    frame["task"] = [_column(row) for row in rows]
    wide = frame.pivot(index=index, columns="task", values="score").reset_index()
    lines = ([None if value != value else value for value in row] for row in wide.itertuples(index=False))
    return _csv([list(wide.columns), *lines])


def _column(row: Row) -> str:
    name = row.columns()["task"]
    return name if row.metric == HEADLINE_METRIC else f"{name} {row.metric}"


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    lines = []
    for row in rows:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\r\n").writerow(row)  # so that a lone \r or \n in a name is quoted
        lines.append(buffer.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)
