"""Folders of audio files as Hugging Face datasets have them: labels from folders, or columns from a metadata file.

`train/dog/1.wav` is a dog of the training split; `metadata.csv` or `metadata.jsonl` lists files by `file_name`, which
starts at its own folder, and then says everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from palprobe.errors import DataError
from palprobe.tasks.columns import split_of_name
from palprobe.tasks.hf_library import files_below
from palprobe.tasks.hf_tables import Table
from palprobe.tasks.layout import AUDIO_SUFFIXES, listed_file, read_objects, read_table

METADATA = ("metadata.csv", "metadata.jsonl")
FILE = "file_name"
EXPECTED = f"a table with the column {FILE}"


def read_audiofolder(folder: Path) -> list[Table]:
    """A table of each split; of none where the folder has neither audio files nor metadata.

    Raises:
        DataError: a metadata file cannot be read, or names a file outside its folder.
    """
    listed = [path for path in files_below(folder) if path.name in METADATA]
    if listed:
        holds = {"audio": "audio"}
        rows = [row for path in listed for row in _metadata_rows(path)]
        holds |= {name: "text" for row in rows for name in row if name != "audio"}
    else:
        holds = {"audio": "audio", "label": "label"}
        rows = [_labelled(path, folder) for path in files_below(folder) if path.suffix.lower() in AUDIO_SUFFIXES]
        if not all("label" in row for row in rows):
            rows, holds = [{"audio": row["audio"]} for row in rows], {"audio": "audio"}
    splits: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        splits.setdefault(_split_folder(Path(row["audio"]), folder), []).append(row)
    return [Table(split, holds, tuple(found)) for split, found in splits.items()]


def _metadata_rows(path: Path) -> Iterator[dict[str, Any]]:
    table: list[dict[str, Any]]
    if path.suffix == ".csv":
        table = [dict(row) for row in read_table(path, (FILE,), EXPECTED)]
    else:
        table = read_objects(path, (FILE,), EXPECTED)
    for row in table:
        if "audio" in row:
            raise DataError(f"{str(path)!r}: a column is called audio beside {FILE}. Rename it.")
        yield {"audio": str(listed_file(path.parent, row.pop(FILE).strip()))} | row


def _labelled(path: Path, folder: Path) -> dict[str, str]:
    """An audio file with the name of its folder as its label, unless that is the split's or the whole folder."""
    label = path.parent.name
    named = path.parent != folder and split_of_name(label) is None
    return {"audio": str(path)} | ({"label": label} if named else {})


def _split_folder(path: Path, folder: Path) -> str:
    """The first folder above a file that is called like a split; empty if none is."""
    return next((part for part in path.relative_to(folder).parts[:-1] if split_of_name(part)), "")
