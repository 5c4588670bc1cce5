"""What encoders there are: registered names and published weights, and which of them are on this machine."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from palprobe.encoders import ENCODERS
from palprobe.encoders.catalog import CATALOG, Published
from palprobe.hub import is_cached
from palprobe.report.text import count_text, number_text

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 160  # columns of a terminal that has room for a sentence beside the numbers
HERE, ABSENT = "here", "absent"


@dataclass(frozen=True)
class EncoderRow:
    """A line of `palprobe list encoders`; empty where it has no meaning."""

    encoder: str  # as it is named on the command line
    parameters: int | None
    dim: int | None
    tokens_per_second: float | None
    kind: str  # general or speech
    weights: str  # whether they are on this machine: in the hub's cache
    hub_id: str
    licence: str  # "(unverified)": id and licence are from memory, see the model's card
    summary: str


def encoder_rows() -> list[EncoderRow]:
    """The registered encoders, each with the variants whose weights are published, its default first."""
    rows = []
    for name, part in ENCODERS.parts.items():
        known = [entry for entry in CATALOG if entry.encoder == name]
        rows += [_row(entry, part.summary) for entry in known]
        if not known:
            rows.append(EncoderRow(name, None, None, None, "", "", "", "", part.summary))
    return rows


def _row(entry: Published, summary: str) -> EncoderRow:
    return EncoderRow(
        encoder=entry.spec,
        parameters=entry.parameters,
        dim=entry.dim,
        tokens_per_second=entry.tokens_per_second,
        kind=entry.kind,
        weights=HERE if is_cached(entry.hub_id, entry.file) else ABSENT,
        hub_id=entry.hub_id,
        licence=entry.licence if entry.verified else f"{entry.licence} (unverified)",
        summary=summary,
    )


def inventory_text(rows: Sequence[EncoderRow], form: str) -> str:
    """The rows as CSV, JSON or Markdown."""
    heads = [field.name for field in fields(EncoderRow)]
    if form == "json":
        return json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False) + "\n"
    if form == "markdown":
        lines = [heads, ["---"] * len(heads), *(_cells(row) for row in rows)]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([heads, *(asdict(row).values() for row in rows)])
    return buffer.getvalue()


def inventory_table(rows: Sequence[EncoderRow], width: int) -> Table:
    """The rows for a terminal; the summary only where there is room for it."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    right = {"params", "dim", "tok/s"}
    heads = ("encoder", "params", "dim", "tok/s", "kind", "weights", "hub id", "licence", "")
    kept = heads if width >= WIDE else heads[:-1]
    for head in kept:
        table.add_column(head, justify="right" if head in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*_cells(row)[: len(kept)])
    return table


def _cells(row: EncoderRow) -> list[str]:
    numbers = [count_text(row.parameters), number_text(row.dim), number_text(row.tokens_per_second)]
    return [row.encoder, *numbers, row.kind, row.weights, row.hub_id, row.licence, row.summary]
