"""Manifests: a person's own task as CSV, JSONL, or JSONL on stdin, one question a line.

Columns: `audio` and one of `label` (classification), `labels` (several at once), `answer` (with `choices`: multiple
choice; without: open), `captions` and `transcript`; `split` or `fold`; at will `id, start, end, choices, prompt,
group`. Lists (`labels`, `captions`, `choices`) are JSON or stand between bars. Other columns are kept as `meta`. All
values are text as written, so that the labels no, on and 1e3 stay what they are. Text from a manifest is shown as repr:
it may hold anything.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from palprobe.errors import DataError
from palprobe.registry import near_miss
from palprobe.tasks.kinds import KINDS
from palprobe.tasks.layout import is_file, one_line, parse_json
from palprobe.types import SPLITS, Example, Split, TaskData, TaskKind

REFERENCES: Mapping[str, TaskKind] = MappingProxyType(  # column of the right answers → kind of task
    {
        "label": "classification",
        "labels": "multi-label",
        "answer": "open",
        "captions": "captioning",
        "transcript": "transcription",
    }
)
COLUMNS = ("id", "audio", "start", "end", "split", "fold", *REFERENCES, "choices", "prompt", "group")
LISTS = ("labels", "captions", "choices")
CLOSED = ("label", "labels")  # to be answered with any label of the manifest
STDIN = "-"


@dataclass(frozen=True)
class Row:
    """One row, its cells as text; those that are empty or blank are left out."""

    source: str
    line: int  # 1-based, where the row begins
    cells: Mapping[str, str]

    def fail(self, message: str) -> NoReturn:
        raise DataError(f"{self.source}, line {self.line}: {message}")


def load_manifest(source: str, *, allow_missing: bool = False) -> TaskData:
    """Reads a manifest; its audio paths start at its folder, those of stdin at the working directory.

    Args:
        source: FILE.csv, FILE.jsonl, or `-` for JSONL on stdin.
        allow_missing: count the audio files that are not there in `missing` instead of refusing them.

    Raises:
        DataError: naming the file and the line.
    """
    rows = _read(source)
    if not rows:
        raise DataError(f"{source}: no rows. Expected the columns audio, {_or(REFERENCES)}, split or fold.")
    base = Path.cwd() if source == STDIN else Path(source).parent
    examples = [_example(row, f"row-{number:06d}", base) for number, row in enumerate(rows, start=1)]
    _check_alike(rows)
    _check_ids(rows, examples)
    there = [is_file(example.audio) for example in examples]
    missing = [row for row, found in zip(rows, there, strict=True) if not found]
    if missing and not allow_missing:
        missing[0].fail(
            f"no audio file {missing[0].cells['audio']!r}; {len(missing)} of {len(rows)} are not there. "
            "Mend the paths (they start at the manifest's folder), or give --allow-missing."
        )
    column = _one_of(rows[0], *REFERENCES)
    if column in CLOSED and "choices" not in rows[0].cells:
        examples = _with_choices(source, column, examples)
    present = tuple(example for example, found in zip(examples, there, strict=True) if found)
    name = "stdin" if source == STDIN else Path(source).name
    absent = tuple(row.cells["audio"] for row in missing)
    return TaskData(name, present, absent, kind=_kind(rows[0], column))


def _read(source: str) -> list[Row]:
    if source == STDIN:
        content = _stdin()
    else:
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise DataError(f"Cannot read the manifest {source!r}: {error.strerror}.") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{source}, line {line}: not UTF-8 ({error.reason}). Save the manifest as UTF-8.") from error
    return list(_csv_rows(source, text) if source.endswith(".csv") else _json_rows(source, text))


@functools.cache
def _stdin() -> bytes:
    """A pipe can be read only once, yet each stage loads its tasks."""
    return sys.stdin.buffer.read()


def _csv_rows(source: str, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        header = [name.strip() for name in next(reader, [])]
        for name in header:
            if name and header.count(name) > 1:
                raise DataError(f"{source}, line 1: two columns are named {name!r}.")
        line = reader.line_num + 1
        for values in reader:
            if values:  # not a blank line
                if len(values) != len(header):
                    Row(source, line, {}).fail(f"{len(values)} cells, the header has {len(header)}.")
                named = zip(header, values, strict=True)
                # A column without a name is the index that pandas writes.
                yield Row(source, line, {name: value for name, value in named if name and value.strip()})
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{source}, line {line}: no valid CSV ({error}).") from error


def _json_rows(source: str, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would also split at U+2028
        if not line.strip():
            continue
        row = Row(source, number, {})
        try:
            values = parse_json(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{source}, line {number}: no JSON ({error}).") from error
        if not isinstance(values, dict):
            row.fail("a JSON object was expected, one a line.")
        cells = {}
        for name, value in values.items():
            nested = isinstance(value, (list, dict))
            if nested and name in COLUMNS and not (name in LISTS and isinstance(value, list)):
                row.fail(f"{name} holds a {type(value).__name__}; one value was expected.")
            cells[name] = json.dumps(value, ensure_ascii=False) if nested or isinstance(value, bool) else value
        if any(0xD800 <= ord(letter) <= 0xDFFF for letter in "".join(map(str, cells.values()))):
            row.fail("an escape stands for half a character (a lone surrogate).")
        yield replace(row, cells={name: value for name, value in cells.items() if value is not None and value.strip()})


def _example(row: Row, default_id: str, base: Path) -> Example:
    column = _one_of(row, *REFERENCES)
    choices, references = _choices(row, column), _references(row, column)
    for answer in references:
        if choices and answer not in choices:
            row.fail(f"{column} {answer!r} is not among the choices {list(choices)}.{near_miss(answer, choices)}")
    audio = _needed(row, "audio")
    start, end = _seconds(row, "start"), _seconds(row, "end")
    if end is not None and end <= (start or 0.0):
        row.fail(f"end {end:g} is not after start {start or 0.0:g} (seconds).")
    split, fold = _place(row)
    return Example(
        id=row.cells.get("id", default_id).strip(),
        group=row.cells.get("group", audio).strip(),
        audio=base / audio,
        prompt=row.cells.get("prompt", KINDS[_kind(row, column)].prompt).strip(),
        references=references,
        choices=choices,
        start_seconds=start or 0.0,
        end_seconds=end,
        split=split,
        fold=fold,
        meta={name: text for name, text in row.cells.items() if name not in COLUMNS},
    )


def _needed(row: Row, column: str) -> str:
    if column not in row.cells:
        row.fail(f"no {column}. Filled columns: {list(row.cells)}.{near_miss(column, row.cells)}")
    return row.cells[column]


def _one_of(row: Row, *columns: str) -> str:
    """Which of several columns is filled."""
    given = [name for name in columns if name in row.cells]
    if len(given) > 1:
        row.fail(f"both {given[0]} and {given[1]} are filled; give one.")
    if not given:
        row.fail(f"no {_or(columns)}. Filled columns: {list(row.cells)}.{near_miss(columns[0], row.cells)}")
    return given[0]


def _or(names: Iterable[str]) -> str:
    """a, b or c"""
    *first, last = names
    return f"{', '.join(first)} or {last}"


def _kind(row: Row, column: str) -> TaskKind:
    return "multiple-choice" if column == "answer" and "choices" in row.cells else REFERENCES[column]


def _choices(row: Row, column: str) -> tuple[str, ...]:
    if "choices" not in row.cells:
        return ()
    if column not in (*CLOSED, "answer"):
        row.fail(f"choices are filled, but {column} is answered in free text; leave choices empty.")
    choices = _texts(row, "choices")
    if len(choices) < 2 or len(set(choices)) < len(choices):
        row.fail(f"choices {list(choices)}: two or more different ones were expected.")
    return choices


def _references(row: Row, column: str) -> tuple[str, ...]:
    """The right answers; what is generated is one line."""
    if column == "transcript":
        return (one_line(row.cells[column]),)
    if column not in LISTS:
        return (row.cells[column].strip(),)
    texts = _texts(row, column)
    if column == "captions":
        return tuple(one_line(text) for text in texts)
    if len(set(texts)) < len(texts):
        row.fail(f"labels {list(texts)}: each once was expected.")
    return texts


def _texts(row: Row, column: str) -> tuple[str, ...]:
    """A list in one cell: JSON, or texts between bars, of which there may be one."""
    text = row.cells[column]
    try:
        parsed = parse_json(text)
    except (json.JSONDecodeError, RecursionError):
        parsed = None
    found = parsed if isinstance(parsed, list) else text.split("|")
    if not found or not all(isinstance(each, str) and each.strip() for each in found):
        row.fail(f"{column} {text!r}: expected a JSON list of texts, or texts separated by |, none of them empty.")
    return tuple(each.strip() for each in found)


def _seconds(row: Row, column: str) -> float | None:
    text = row.cells.get(column)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        row.fail(f"{column} {text!r} is no number of seconds, 0 or more.")
    return value


def _place(row: Row) -> tuple[Split | None, int | None]:
    given = _one_of(row, "split", "fold")
    text = row.cells[given].strip()
    if given == "fold":
        if not (text.isascii() and text.isdecimal()):
            row.fail(f"fold {text!r} is no whole number.")
        return None, int(text)
    split = next((split for split in SPLITS if split == text), None)
    if split is None:
        row.fail(f"split {text!r} is none of {', '.join(SPLITS)}.{near_miss(text, SPLITS)}")
    return split, None


def _check_alike(rows: Sequence[Row]) -> None:
    """One manifest is one kind of task."""
    first = rows[0]
    for row in rows:
        for column in (*REFERENCES, "choices", "split", "fold"):
            if (column in row.cells) != (column in first.cells):
                filled, empty = (row, first) if column in row.cells else (first, row)
                row.fail(f"{column} is filled in line {filled.line} but not in line {empty.line}; all rows or none.")


def _check_ids(rows: Sequence[Row], examples: Sequence[Example]) -> None:
    lines: dict[str, int] = {}
    for row, example in zip(rows, examples, strict=True):
        if lines.setdefault(example.id, row.line) != row.line:
            row.fail(f"id {example.id!r} already stands in line {lines[example.id]}.")


def _with_choices(source: str, column: str, examples: Sequence[Example]) -> list[Example]:
    """A clip may be answered with any of the manifest's labels, those of absent files too."""
    labels = tuple(sorted({label for example in examples for label in example.references}))
    if len(labels) < 2:
        raise DataError(f"{source}: every row has the {column} {labels[0]!r}; two or more different ones are needed.")
    return [replace(example, choices=labels) for example in examples]
