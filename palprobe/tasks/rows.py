"""Rows of questions, one an example: what a manifest, the JSON of a shard and a table of a data set have in common.

A row's columns are those of a manifest (see `tasks.manifest`); what is wrong with one is said the same way for all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

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


@dataclass(frozen=True)
class Row:
    """One row, its cells as text; those that are empty or blank are left out."""

    source: str
    place: str  # in the source, as messages name it: line 3
    cells: Mapping[str, str]

    def fail(self, message: str) -> NoReturn:
        raise DataError(f"{self.source}, {self.place}: {message}")


def row_of(source: str, place: str, values: Mapping[str, Any]) -> Row:
    """A row of the values of a JSON object; what is empty is left out.

    Raises:
        DataError: a list or an object where one value was expected, or half a character.
    """
    row = Row(source, place, {})
    cells = {}
    for name, value in values.items():
        nested = isinstance(value, (list, dict))
        if nested and name in COLUMNS and not (name in LISTS and isinstance(value, list)):
            row.fail(f"{name} holds a {type(value).__name__}; one value was expected.")
        if value is not None:
            cells[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in "".join(cells.values())):
        row.fail("an escape stands for half a character (a lone surrogate).")
    return replace(row, cells={name: value for name, value in cells.items() if value.strip()})


def task_of_rows(
    name: str, source: str, rows: Sequence[Row], *, base: Path, advice: str, allow_missing: bool = False
) -> TaskData:
    """The task that rows describe.

    Args:
        name: of the task.
        source: what the rows stand in, for messages.
        rows: all of it.
        base: folder where relative paths of audio start.
        advice: what to do about audio that is not there, as a sentence goes on: Mend the paths.
        allow_missing: count the audio files that are not there in `missing` instead of refusing them.

    Raises:
        DataError: naming the source and the place.
    """
    if not rows:
        raise DataError(f"{source}: no rows. Expected the columns audio, {either(REFERENCES)}, split or fold.")
    examples = [_example(row, f"row-{number:06d}", base) for number, row in enumerate(rows, start=1)]
    _check_alike(rows)
    _check_ids(rows, examples)
    there = [is_file(example.audio) for example in examples]
    missing = [row for row, found in zip(rows, there, strict=True) if not found]
    if missing and not allow_missing:
        missing[0].fail(
            f"no audio file {missing[0].cells['audio']!r}; {len(missing)} of {len(rows)} are not there. "
            f"{advice}, or give --allow-missing."
        )
    column = _one_of(rows[0], *REFERENCES)
    if column in CLOSED and "choices" not in rows[0].cells:
        examples = _with_choices(source, column, examples)
    present = tuple(example for example, found in zip(examples, there, strict=True) if found)
    absent = tuple(row.cells["audio"] for row in missing)
    return TaskData(name, present, absent, kind=_kind(rows[0], column))


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
        row.fail(f"no {either(columns)}. Filled columns: {list(row.cells)}.{near_miss(columns[0], row.cells)}")
    return given[0]


def either(names: Iterable[str]) -> str:
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
    """What is read together is one kind of task."""
    first = rows[0]
    for row in rows:
        for column in (*REFERENCES, "choices", "split", "fold"):
            if (column in row.cells) != (column in first.cells):
                filled, empty = (row, first) if column in row.cells else (first, row)
                row.fail(f"{column} is filled in {filled.place} but not in {empty.place}; all rows or none.")


def _check_ids(rows: Sequence[Row], examples: Sequence[Example]) -> None:
    places: dict[str, Row] = {}
    for row, example in zip(rows, examples, strict=True):
        if (first := places.setdefault(example.id, row)) is not row:
            row.fail(f"id {example.id!r} already stands in {first.place}.")


def _with_choices(source: str, column: str, examples: Sequence[Example]) -> list[Example]:
    """A clip may be answered with any of the labels, those of absent files too."""
    labels = tuple(sorted({label for example in examples for label in example.references}))
    if len(labels) < 2:
        raise DataError(f"{source}: every row has the {column} {labels[0]!r}; two or more different ones are needed.")
    return [replace(example, choices=labels) for example in examples]
