"""report.md: the tables of the terminal, what to bear in mind, and whose data and software it was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from palprobe.report.bits import bits_tables
from palprobe.report.layer_sweep import layer_sweeps, sweep_lines, sweep_tables
from palprobe.report.layers import layer_lines
from palprobe.report.leaderboard import Leaderboard
from palprobe.report.results import EvalResult
from palprobe.report.score_tables import all_tables
from palprobe.report.standings import Standings
from palprobe.report.tables import Table, legends, settings_line, shown_rows
from palprobe.report.text import markdown_text
from palprobe.report.words import WORDS_LEGEND, WORDS_TITLE, paragraphs

NO_LIMIT = 1 << 20  # columns: a page scrolls
CAVEATS = (
    "Intervals are 95%, over test items; items of one recording or speaker are drawn together. With fewer than about "
    "20 such groups they are too narrow.",
    "Overlapping intervals are no test, and neither are separate ones; rows are tested in pairs, item by item.",
    "A score says what this probe read out of an encoder with this LLM, budget and seed, not all that is in it.",
    "Parameters are the trained ones; the encoder and the frozen part of the LLM are not counted.",
)


def markdown_report(board: Leaderboard, standings: Standings, results: Sequence[EvalResult]) -> str:
    """The whole page; the same results give the same bytes."""
    shown = shown_rows(board, standings)
    tables = [*all_tables(board, standings, NO_LIMIT), *bits_tables(board, results, shown.varying)]
    sweeps = layer_sweeps(results)
    tables += [table for sweep in sweeps for table in sweep_tables(sweep, NO_LIMIT)]
    words = [f"{paragraph.title}: {paragraph.text}" for paragraph in paragraphs(standings)]
    sections = [
        "# palprobe results",
        markdown_text(settings_line(shown)),
        *map(markdown_table, tables),
        *map(markdown_text, legends(tables)),
        _list(WORDS_TITLE, words),
        markdown_text(WORDS_LEGEND) if words else "",
        _list("Which layer", [line for sweep in sweeps for line in sweep_lines(sweep)]),
        _list("Layers, where they are mixed", layer_lines(results)),
        _list("Not complete", board.notes),
        _list("How to read this", [*CAVEATS, *memory_lines(results)]),
        _list("Data", data_lines(results)),
        _list("Made with", software_lines(results)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def markdown_table(table: Table) -> str:
    """Title, table and caption as a section."""
    heads = (*table.names, *table.numbers)
    rule = ["---"] * len(table.names) + ["---:"] * len(table.numbers)
    lines = [_line(map(markdown_text, heads)), _line(rule)]
    lines += [_line(map(markdown_text, row)) for row in table.rows]
    caption = f"\n\n{markdown_text(table.caption)}" if table.caption else ""
    return f"## {markdown_text(table.title)}\n\n" + "\n".join(lines) + caption


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _list(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"## {title}\n", *(f"- {markdown_text(line)}" for line in lines)]) if lines else ""


def memory_lines(results: Sequence[EvalResult]) -> list[str]:
    methods = sorted({result.cost.peak_memory_method for result in results} - {""})
    return [f"Peak memory: {'; '.join(methods)}."] if methods else []


def data_lines(results: Sequence[EvalResult]) -> list[str]:
    """A line per task: what was lost, its licence and its source."""
    lines = []
    for task in sorted({result.cell.task for result in results}):
        of_task = [result for result in results if result.cell.task == task]
        missing = max(result.counts.missing for result in of_task)
        dropped = max(result.counts.dropped for result in of_task)
        padded = max(result.counts.padded for result in of_task)
        losses = f"{missing} missing, {dropped} undecodable and {padded} padded items at most in a test set"
        licence = "; ".join(sorted({_one_line(result.licence) for result in of_task} - {""})) or "not stated"
        citation = " ".join(sorted({_one_line(result.citation) for result in of_task} - {""}))
        lines.append(f"{task}: {losses}. Licence: {licence}. {citation}".rstrip())
    return lines


def software_lines(results: Sequence[EvalResult]) -> list[str]:
    versions = sorted({f"{name} {version}" for result in results for name, version in result.versions.items()})
    devices = sorted({result.device for result in results})
    commits = sorted({result.commit for result in results if result.commit})
    lines = [f"Versions: {', '.join(versions)}"] if versions else []
    lines.append(f"Device: {', '.join(devices)}")
    return [*lines, f"Commit: {', '.join(commits)}"] if commits else lines


def _one_line(text: str) -> str:
    return " ".join(text.split())
