"""Official layouts: their tables, read strictly, and their audio files, found without ever leaving their folder.

Names, labels and cells come from strangers: messages show them as repr, one line each, and no name in a table leads out
of the folder that a person gave.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from palprobe.errors import DataError
from palprobe.files import digest
from palprobe.types import Example, TaskData, TaskKind

# The first of these that a clip has is taken: what is published as audio, before what downloaders leave.
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".au", ".m4a", ".aac", ".webm", ".mp4", ".mkv")
MOST_DIGITS = 9  # of a whole number in a table
HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")  # an escaped surrogate, which may lack its other half


def read_text(path: Path, expected: str) -> str:
    """A file of the publisher's, as UTF-8.

    Args:
        path: of the file.
        expected: the layout and where it comes from, for a person who has another one.

    Raises:
        DataError: it is not there, cannot be read, or is not UTF-8.
    """
    if not is_file(path):
        raise DataError(f"No file {str(path)!r}. Expected {expected}.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{str(path)!r} is not UTF-8 ({error.reason} at byte {error.start}).") from error
    except OSError as error:
        raise DataError(f"Cannot read {str(path)!r}: {error.strerror}.") from error


def read_lines(path: Path, expected: str) -> list[str]:
    """The lines of a list, without blank ones and blanks around them; see `read_text`."""
    return [line.strip() for line in read_text(path, expected).split("\n") if line.strip()]


def read_cells(path: Path, expected: str, *, spaced: bool = False) -> list[tuple[int, list[str]]]:
    """The rows of a CSV, a header like any other, each with the line where it begins; see `read_text`.

    `spaced`: a blank follows each comma between cells.
    """
    text = io.StringIO(read_text(path, expected), newline="")
    reader = csv.reader(text, strict=True, skipinitialspace=spaced)
    rows, line = [], 1
    try:
        for cells in reader:
            if cells:  # not a blank line
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{str(path)!r}, line {line}: no valid CSV ({error}).") from error
    return rows


def read_table(path: Path, columns: Sequence[str], expected: str, *, header: bool = True) -> list[dict[str, str]]:
    """The rows of a CSV by column.

    Args:
        path: of the file.
        columns: those used; no cell of theirs may be blank.
        expected: as `read_text` wants it.
        header: False: there is none, and `columns` are the first ones in order.

    Raises:
        DataError: as `read_text`; a column or a cell is not there, or there are no rows.
    """
    rows = read_cells(path, expected)
    names = [name.strip() for name in rows.pop(0)[1]] if header and rows else list(columns)
    if not set(columns) <= set(names):
        raise DataError(f"{str(path)!r}: found columns {names}, expected {list(columns)} among them.")
    if not rows:
        raise DataError(f"{str(path)!r} has no rows. Expected {expected}.")
    table = []
    for line, cells in rows:
        if header and len(cells) != len(names):
            raise DataError(f"{str(path)!r}, line {line}: {len(cells)} cells, the header has {len(names)}.")
        row = dict(zip(names, cells, strict=False))
        blank = next((column for column in columns if not row.get(column, "").strip()), None)
        if blank is not None:
            raise DataError(f"{str(path)!r}, line {line}: no {blank}.")
        table.append(row)
    return table


def parse_json(text: str) -> Any:
    """Numbers stay as they are written: a label 1e3 is no 1000.0."""
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


def read_json(path: Path, expected: str) -> Any:
    """A JSON file, or one JSON value a line, as a list; numbers are text. See `read_text`."""
    text = read_text(path, expected)
    lines = text.lstrip().startswith("{") and path.suffix == ".jsonl"
    try:
        found = [parse_json(line) for line in text.split("\n") if line.strip()] if lines else parse_json(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{str(path)!r} is no JSON ({error}).") from error
    if HALF_CHARACTER.search(text):
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{str(path)!r}: an escape stands for half a character (a lone surrogate).") from error
    return found


def read_objects(path: Path, keys: Sequence[str], expected: str) -> list[dict[str, Any]]:
    """The objects of a JSON list, or of a file with one a line.

    Args:
        path: of the file.
        keys: those that every object must have, with text that is not blank.
        expected: as `read_text` wants it.

    Raises:
        DataError: as `read_text`; it is no list of objects, it is empty, or a key is not there.
    """
    found = read_json(path, expected)
    if not isinstance(found, list) or not found or not all(isinstance(item, dict) for item in found):
        raise DataError(f"{str(path)!r}: a JSON list of objects was expected, one at least.")
    for number, item in enumerate(found, start=1):
        for key in keys:
            if not isinstance(item.get(key), str) or not item[key].strip():
                raise DataError(f"{str(path)!r}, item {number}: no text under {key!r}. Its keys: {list(item)}.")
    return found


def whole_number(text: str, where: str) -> int:
    """Raises DataError, beginning with `where`, unless the text is a whole number, 0 or more."""
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
        raise DataError(f"{where}: {text!r} is no whole number.")
    return int(text)


def one_line(text: str) -> str:
    """The text without line breaks and doubled blanks: an answer is one line."""
    return " ".join(text.split())


def words(label: str) -> str:
    """A label as a person would say it: `dog_bark` is dog bark."""
    return one_line(label.replace("_", " "))


def options(choices: object, answer: str, where: str) -> tuple[str, ...]:
    """The different choices of one question in their order; one that is given twice counts once.

    Raises:
        DataError: they are no list of texts, one is blank, fewer than two differ, or the answer is none of them.
    """
    if not isinstance(choices, list) or not all(isinstance(choice, str) and choice.strip() for choice in choices):
        raise DataError(f"{where}: a list of texts was expected as choices, found {choices!r}.")
    found = tuple(dict.fromkeys(one_line(choice) for choice in choices))
    if len(found) < 2 or one_line(answer) not in found:
        raise DataError(f"{where}: the answer {answer!r} was expected among two or more choices, found {list(found)}.")
    return found


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def listed_file(folder: Path, name: str) -> Path:
    """Where a file that a table names should be.

    Raises:
        DataError: the name leads out of the folder.
    """
    inner = PurePosixPath(name)
    if inner.is_absolute() or ".." in inner.parts:
        raise DataError(f"A file is listed as {name!r}, which leads out of {str(folder)!r}. Mend the list.")
    return folder / inner


class AudioFiles:
    """The audio files below a folder by name without extension: lists of YouTube clips do not say how they are kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}
        seen: set[tuple[int, int]] = set()
        for place, folders, names in os.walk(folder, followlinks=True):
            status = Path(place).stat()
            if (status.st_dev, status.st_ino) in seen:  # a link to a folder above it
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders.sort()
            for suffix in AUDIO_SUFFIXES:
                for name in sorted(names):
                    if name.lower().endswith(suffix):
                        self._paths.setdefault(name[: -len(suffix)], Path(place, name))

    def find(self, *stems: str) -> Path:
        """The file of the first of these names that has one; else where the first would be, had it been there.

        Raises:
            DataError: no file has such a name, and the first leads out of the folder.
        """
        found = next((self._paths[stem] for stem in stems if stem in self._paths), None)
        return found or listed_file(self._folder, f"{stems[0]}{AUDIO_SUFFIXES[0]}")


def classification(examples: Sequence[Example]) -> list[Example]:
    """The same examples, each to be answered with any label that the layout lists, those of absent files too."""
    labels = tuple(sorted({example.references[0] for example in examples}))
    return [replace(example, choices=labels) for example in examples]


def hashed_fold(group: str, num_folds: int) -> int:
    """A fold of ours, from 1, where nobody has published one: it depends on nothing but the group's name."""
    return int(digest(group), 16) % num_folds + 1


def task_data(
    name: str,
    folder: Path,
    examples: Sequence[Example],
    *,
    licence: str,
    citation: str,
    kind: TaskKind = "classification",
) -> TaskData:
    """The examples whose audio is there; those of absent files are counted, one for each question.

    Raises:
        DataError: an answer is blank.
    """
    blank = next((example.id for example in examples if not all(example.references)), None)
    if blank is not None:
        raise DataError(f"Task {name!r}: {blank!r} has a blank answer. Mend the table in {str(folder)!r}.")
    there = {path: is_file(path) for path in dict.fromkeys(example.audio for example in examples)}
    missing = (example.audio for example in examples if not there[example.audio])
    shown = tuple(str(path.relative_to(folder) if path.is_relative_to(folder) else path) for path in missing)
    return TaskData(
        name, tuple(example for example in examples if there[example.audio]), shown, licence, citation, kind
    )
