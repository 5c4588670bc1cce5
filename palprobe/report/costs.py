"""Costs as people see them: tables of training, inference and encoders, and where LAL's saving comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from palprobe.bench.rows import CostRow, csv_text, json_text
from palprobe.bench.ways import APART, LAL
from palprobe.files import write_text
from palprobe.report.markdown import markdown_table
from palprobe.report.tables import Table
from palprobe.report.text import UNKNOWN, markdown_text, mebibytes_text, number_text

if TYPE_CHECKING:
    from rich.console import RenderableType

MILLISECONDS = 1e3
SIZE = ("audio", "text", "clips")
LEGENDS = (
    "audio, text: tokens of a clip and of its question with the answer; clips: in a batch.",
    "×: PLITS' time over this one's; bound: the same ratio of floating point operations; reached: × over bound.",
    "saved: bytes kept for the backward pass, step: peak memory of the step alone, both as a share of PLITS'.",
    "peak: of the process, with libraries and weights; cache: keys and values for decoding; both in MiB.",
    f"{APART}: PLITS without attention among audio rows; it is no integration, and splits LAL's saving in two.",
)


def cost_tables(rows: Sequence[CostRow]) -> list[Table]:
    """For each LLM a table of training and one of inference; where encoders were named, one of the whole system."""
    tables = []
    for _, group in groupby(rows, key=lambda row: (row.llm, row.device, row.dtype, row.trainable)):
        among = list(group)
        tables += [_training(among), _inference(among)]
        tables += [_system(among)] if any(row.encoder for row in among) else []
    return tables


def split_lines(rows: Sequence[CostRow]) -> list[str]:
    """'Of what LAL saves at 1500 audio and 64 text tokens (...), 81% is bypassed ... (measured 85%).'"""
    lines = []
    for row in rows:
        if row.integration == LAL and not row.encoder and row.bypassed_counted is not None:
            seconds = "" if row.bypassed_measured is None else f"; of the seconds {row.bypassed_measured:.0%}"
            lines.append(
                f"{row.llm}, {row.audio_tokens} audio and {row.text_tokens} text tokens: of the operations that LAL "
                f"saves in a step, {row.bypassed_counted:.0%} are bypassed feed-forward and projections, the rest is "
                f"audio-audio attention{seconds}."
            )
    return lines


def missing_lines(rows: Iterable[CostRow]) -> list[str]:
    """A line for each cell that was not measured, with the reason."""
    lines = []
    for row in rows:
        if not row.measured:
            name = f"{row.integration} with {row.encoder}" if row.encoder else row.integration
            size = f"{row.batch} × {row.audio_tokens} audio and {row.text_tokens} text tokens"
            lines.append(f"{row.llm}, {name}, {size}: {row.status}")
    return lines


def render_costs(rows: Sequence[CostRow], form: str) -> RenderableType:
    """The rows in one form: a text but for "table", which is for `rich.console.Console.print`."""
    if form == "csv":
        return csv_text(rows)
    if form == "json":
        return json_text(rows)
    return markdown_costs(rows) if form == "markdown" else terminal_costs(rows)


def terminal_costs(rows: Sequence[CostRow]) -> RenderableType:
    """Tables and lines, drawn."""
    from rich.console import Group
    from rich.text import Text

    from palprobe.report.terminal import drawn

    parts: list[RenderableType] = []
    for table in cost_tables(rows):
        parts += [Text(table.title, style="bold"), drawn(table), Text(table.caption, style="dim"), Text()]
    parts += [Text(line, style="dim") for line in LEGENDS]
    parts += [Text(f"- {line}") for line in [*split_lines(rows), *missing_lines(rows)]]
    return Group(*parts)


def markdown_costs(rows: Sequence[CostRow]) -> str:
    """cost.md: the same page."""
    lines = [f"- {markdown_text(line)}" for line in [*LEGENDS, *split_lines(rows), *missing_lines(rows)]]
    sections = ["# What the integrations cost", *map(markdown_table, cost_tables(rows)), "\n".join(lines)]
    return "\n\n".join(sections) + "\n"


def write_costs(rows: Sequence[CostRow], out: Path) -> None:
    """cost.csv, cost.md and speedup.svg, each whole or not at all, in a folder that is made."""
    from palprobe.report.cost_plot import speedup_svg

    write_text(out / "cost.csv", csv_text(rows))
    write_text(out / "cost.md", markdown_costs(rows))
    write_text(out / "speedup.svg", speedup_svg(rows))


def _training(rows: Sequence[CostRow]) -> Table:
    cells = tuple(
        (
            *_size(row),
            row.integration,
            _milliseconds(row.train_seconds),
            number_text(row.train_speedup),
            number_text(row.train_bound),
            number_text(row.train_reached),
            number_text(row.saved_share),
            number_text(row.step_memory_share),
            mebibytes_text(row.peak_memory_bytes),
        )
        for row in rows
        if not row.encoder
    )
    numbers = ("ms", "×", "bound", "reached", "saved", "step", "peak")
    return Table(f"{_title(rows[0])}: a training step", (*SIZE, ""), numbers, cells, _caption(rows))


def _inference(rows: Sequence[CostRow]) -> Table:
    cells = tuple(
        (
            *_size(row),
            row.integration,
            _milliseconds(row.prefill_seconds),
            number_text(row.prefill_speedup),
            number_text(row.prefill_bound),
            _milliseconds(row.decode_seconds),
            mebibytes_text(row.inference_memory_bytes),
            mebibytes_text(row.cache_bytes),
        )
        for row in rows
        if not row.encoder and row.integration != APART
    )
    numbers = ("first token, ms", "×", "bound", "further, ms", "peak", "cache")
    return Table(f"{_title(rows[0])}: inference", (*SIZE, ""), numbers, cells, _caption(rows))


def _system(rows: Sequence[CostRow]) -> Table:
    cells = tuple(
        (
            row.encoder,
            *_size(row),
            row.integration,
            number_text(row.audio_seconds),
            _milliseconds(row.encode_seconds),
            number_text(row.train_speedup),
            number_text(row.system_train_speedup),
            number_text(row.prefill_speedup),
            number_text(row.system_prefill_speedup),
        )
        for row in rows
        if row.encoder and row.integration != APART
    )
    numbers = ("clip, s", "encode, ms", "train ×", "with it", "infer ×", "with it")
    caption = "With it: every step encodes its clips anew; from cached features a step costs what it costs without."
    return Table(f"{_title(rows[0])}: with the encoder", ("encoder", *SIZE, ""), numbers, cells, caption)


def _title(row: CostRow) -> str:
    trained = {"connector": "LLM frozen", "lora": "LoRA", "full": "all trained"}[row.trainable]
    return f"{row.llm}, random weights, {trained}, {row.dtype} on {row.device}"


def _caption(rows: Sequence[CostRow]) -> str:
    rounds = [row.rounds for row in rows if row.rounds]
    threads = sorted({row.threads for row in rows if row.threads is not None})
    told = f"{min(rounds)} to {max(rounds)} rounds after a first one" if rounds else "nothing measured"
    return f"Medians of {told}; {', '.join(map(str, threads))} threads." if threads else f"{told.capitalize()}."


def _size(row: CostRow) -> tuple[str, str, str]:
    return str(row.audio_tokens), str(row.text_tokens), str(row.batch)


def _milliseconds(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else number_text(seconds * MILLISECONDS)
