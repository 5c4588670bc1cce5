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
import sys
from collections.abc import Iterator
from pathlib import Path

from palprobe.errors import DataError
from palprobe.tasks.layout import parse_json
from palprobe.tasks.rows import Row, row_of, task_of_rows
from palprobe.types import TaskData

STDIN = "-"


def load_manifest(source: str, *, allow_missing: bool = False) -> TaskData:
    """Reads a manifest; its audio paths start at its folder, those of stdin at the working directory.

    Args:
        source: FILE.csv, FILE.jsonl, or `-` for JSONL on stdin.
        allow_missing: count the audio files that are not there in `missing` instead of refusing them.

    Raises:
        DataError: naming the file and the line.
    """
    rows = _read(source)
    return task_of_rows(
        "stdin" if source == STDIN else Path(source).name,
        source,
        rows,
        base=Path.cwd() if source == STDIN else Path(source).parent,
        advice="Mend the paths (they start at the manifest's folder)",
        allow_missing=allow_missing,
    )


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
                    Row(source, f"line {line}", {}).fail(f"{len(values)} cells, the header has {len(header)}.")
                named = zip(header, values, strict=True)
                # A column without a name is the index that pandas writes.
                yield Row(source, f"line {line}", {name: value for name, value in named if name and value.strip()})
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{source}, line {line}: no valid CSV ({error}).") from error


def _json_rows(source: str, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would also split at U+2028
        if not line.strip():
            continue
        try:
            values = parse_json(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{source}, line {number}: no JSON ({error}).") from error
        if not isinstance(values, dict):
            raise DataError(f"{source}, line {number}: a JSON object was expected, one a line.")
        yield row_of(source, f"line {number}", values)
