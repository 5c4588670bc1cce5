"""Results on stdout, failures on stderr, and what the exit code says of both."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import typer

if TYPE_CHECKING:
    from palprobe.bench.rows import CostRow
    from palprobe.report.forms import Findings, Form
    from palprobe.report.results import EvalResult

SOME_FAILED = 3


def end_with(failures: Sequence[str], *, some: bool) -> None:
    """Ends the command with a line for each failure, if there are any.

    Args:
        failures: what failed and why.
        some: whether the rest was done.
    """
    from palprobe.cli.progress import say

    for message in failures:
        say(f"palprobe: {message}")
    if failures:
        raise typer.Exit(SOME_FAILED if some else 1)


def print_results(
    results: Sequence[EvalResult],
    form: str,
    *,
    header: bool,
    width: int,
    aggregate: bool = True,
    findings: Findings | None = None,
) -> None:
    """A table drawn for the terminal's width, or CSV, JSON or Markdown as it is."""
    from palprobe.report.forms import render

    chosen = cast("Form", form)
    drawn = render(results, chosen, header=header, width=width, aggregate=aggregate, findings=findings)
    if isinstance(drawn, str):
        sys.stdout.write(drawn)
        return
    from rich.console import Console

    Console(width=width, emoji=False).print(drawn)


def print_costs(rows: Sequence[CostRow], form: str, *, width: int) -> None:
    """Costs as tables for the terminal's width, or as a text; ends the command where cells failed.

    What a time limit left is told and is no failure.
    """
    from palprobe.cli.progress import say
    from palprobe.report.costs import missing_lines, render_costs

    drawn = render_costs(rows, form)
    if isinstance(drawn, str):
        sys.stdout.write(drawn)
    else:
        from rich.console import Console

        Console(width=width, emoji=False).print(drawn)
    late = sum(not (row.measured or row.failed) for row in rows)
    if late:
        say(f"palprobe: {late} of {len(rows)} rows were not measured: the time limit came first.")
    end_with(missing_lines(row for row in rows if row.failed), some=any(row.measured for row in rows))


def print_inventory(form: str, *, width: int) -> None:
    """The encoders and their weights, as a table for the terminal's width or in another form."""
    from palprobe.report.inventory import encoder_rows, inventory_table, inventory_text

    rows = encoder_rows()
    if form != "table":
        sys.stdout.write(inventory_text(rows, form))
        return
    from rich.console import Console

    Console(width=width, emoji=False).print(inventory_table(rows, width))
