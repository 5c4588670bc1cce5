"""`doctor encoder` on stdout: a line per check for people, all of it as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from palprobe.doctor.findings import NOT_EXAMINED, VERDICTS, EncoderReport, Finding, Value
from palprobe.report.text import visible

EXAMINATION_FORMATS = ("table", "json")
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
UNIT = "Changes of features: 1 is how far those of two different sounds are apart."


def print_examination(report: EncoderReport, form: str, *, width: int) -> None:
    """The report as a table of that width, or as JSON."""
    if form == "json":
        typer.echo(json.dumps(report.as_json(), indent=2, allow_nan=False))
        return
    console = Console(width=width, emoji=False)
    console.print(Text(_head(report.encoder), style="bold"))
    console.print(_drawn(report))
    counts = ", ".join(f"{report.count(verdict)} {verdict}" for verdict in VERDICTS)
    console.print(Text(UNIT, style="dim"))
    console.print(Text(counts, style=STYLES[report.verdict]))


def _head(about: Mapping[str, Value]) -> str:
    bands = "" if about["bands"] == 1 else f"{about['bands']} bands × "
    longest = "" if about["max_seconds"] is None else f", windows of {about['max_seconds']:g} s"
    layers = f", layers 0 to {about['depth']}" if about["depth"] else ""
    return visible(
        f"{about['encoder']} on {about['device']}, {about['kind']}: {about['sample_rate']} Hz{longest} → "
        f"{about['frame_rate']:g} Hz × {bands}{about['dim']}{layers}"
    )


def _drawn(report: EncoderReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("found, and what to do", overflow="fold")
    for finding in report.findings:
        table.add_row(Text(finding.verdict, style=STYLES[finding.verdict]), Text(finding.name), _text(finding))
    return table


def _text(finding: Finding) -> Text:
    """What was found; where that is not well, what was expected and what to do."""
    if finding.verdict == "ok" or finding.found.startswith(NOT_EXAMINED):
        return Text(visible(finding.found))
    return Text.assemble(visible(finding.found), (f"\nExpected: {visible(finding.expected)}", "dim"))
