"""Which columns of somebody's data are the ones that a manifest has, and which split a name says.

Nothing is guessed between two that could be meant: the error lists the columns and says how to choose.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from palprobe.errors import DataError, UsageError
from palprobe.registry import near_miss
from palprobe.tasks.rows import COLUMNS, REFERENCES, Row, either
from palprobe.types import Split

SPLIT_WORDS: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


def split_of_name(name: str) -> Split | None:
    """The split that a word of a name says: `train-000.tar`, `dev.clean`; None if none does, or several do."""
    words = re.split(r"[^a-z]+", name.lower())
    found = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    return found.pop() if len(found) == 1 else None


def roles(
    columns: Collection[str], given: Sequence[tuple[str, str]], likely: Mapping[str, str], *, task: str, path: str
) -> dict[str, str]:
    """For each column of a manifest, the column here that stands for it; one of them holds the answers.

    Args:
        columns: all that there are.
        given: (column of a manifest, column here), as the task's name says.
        likely: column here → column of a manifest whose answers it is taken for, where nothing else says one.
        task: as it was named, for messages.
        path: the part of the name before the columns.

    Raises:
        UsageError: `given` names something else than a column of a manifest, or one that is not here.
        DataError: no column holds answers, or several could be meant.
    """
    for role, column in given:
        if role not in COLUMNS:
            raise UsageError(
                f"Task {task!r}: {role!r} is no column of a manifest.{near_miss(role, COLUMNS)} They are "
                f"{', '.join(COLUMNS)}."
            )
        if column not in columns:
            raise UsageError(
                f"Task {task!r}: no column {column!r}.{near_miss(column, columns)} Its columns: {sorted(columns)}."
            )
    answers = [role for role, _ in given if role in REFERENCES]
    if len(answers) > 1:
        raise UsageError(f"Task {task!r}: it says where {' and '.join(answers)} are; a task has one kind of answer.")
    chosen = {name: name for name in COLUMNS if name in columns and name not in REFERENCES} | dict(given)
    if not answers:
        found = [(name, name) for name in REFERENCES if name in columns]
        found = found or [(role, column) for column, role in likely.items() if column in columns]
        if len(found) != 1:
            which = "several of its columns could hold" if found else "no column is known to hold"
            role, column = found[0] if found else ("label", "COLUMN")
            raise DataError(
                f"Task {task!r}: {which} the answers. Say which, and whether it is {either(REFERENCES)}, as in "
                f"{path}:{role}={column}. Its columns: {sorted(columns)}."
            )
        chosen |= dict(found)
    return chosen


def renamed(values: Mapping[str, Any], chosen: Mapping[str, str]) -> dict[str, Any]:
    """The values under a manifest's names; a column that has none of them keeps its own.

    Bars separate captions only where the column is called captions, as in a manifest.
    """
    found = {role: values.get(column) for role, column in chosen.items()}
    caption = found.get("captions")
    if chosen.get("captions") != "captions" and isinstance(caption, str) and caption.strip():
        found["captions"] = [caption]
    others = {name: value for name, value in values.items() if name not in COLUMNS and name not in chosen.values()}
    return found | others


def placed(row: Row, said: Split | None, *, named: str) -> Row:
    """The row with a split: that of its own column, else that which a name says; one that has a fold stays as it is.

    Raises:
        DataError: there is none, or the two differ; `named` says how splits are named.
    """
    own = row.cells.get("split")
    split = said if own is None else split_of_name(own) or own
    if own is not None and said is not None and split != said:
        row.fail(f"its split is {own!r}, though its place says {said}.")
    if split is None:
        if "fold" not in row.cells:
            row.fail(f"nothing says its split. {named}.")
        return row
    return row if own is None and "fold" in row.cells else replace(row, cells={**row.cells, "split": split})
