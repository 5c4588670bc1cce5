"""ESC-50 and its part ESC-10: environmental sounds in the publisher's five folds."""

from __future__ import annotations

import csv
from pathlib import Path

from palprobe.errors import DataError
from palprobe.tasks import check_variant
from palprobe.types import Example, TaskData

PROMPT = "Which sound is this?"
COLUMNS = ("filename", "fold", "category", "esc10", "src_file")  # those used, of the publisher's seven
LICENCE = "ESC-50: CC BY-NC 3.0; its part ESC-10: CC BY 3.0"
CITATION = "K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015"


def load_esc50(folder: Path, variant: str | None) -> TaskData:
    """All 50 classes.

    Args:
        folder: holds `meta/esc50.csv` and `audio/`.
        variant: none exists.
    """
    check_variant("esc50", variant, ())
    return _load("esc50", folder, _rows(folder))


def load_esc10(folder: Path, variant: str | None) -> TaskData:
    """The rows that ESC-50's own column `esc10` marks; the folder may hold these alone or the whole of ESC-50."""
    check_variant("esc10", variant, ())
    return _load("esc10", folder, [row for row in _rows(folder) if row["esc10"].strip().lower() == "true"])


def _rows(folder: Path) -> list[dict[str, str]]:
    path = folder / "meta" / "esc50.csv"
    if not path.is_file():
        raise DataError(f"No file {str(path)!r}. Expected the ESC-50 layout: meta/esc50.csv beside audio/.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            found = reader.fieldnames or []
            if not set(COLUMNS) <= set(found):
                raise DataError(f"{path}: found columns {list(found)}, expected {list(COLUMNS)} among them.")
            return list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV in UTF-8: {error}.") from error


def _load(name: str, folder: Path, rows: list[dict[str, str]]) -> TaskData:
    labels = [row["category"].replace("_", " ") for row in rows]
    choices = tuple(sorted(set(labels)))
    examples: list[Example] = []
    missing: list[str] = []
    for row, label in zip(rows, labels, strict=True):
        audio = folder / "audio" / row["filename"]
        if not row["fold"].isdecimal():
            raise DataError(f"{folder}/meta/esc50.csv: {row['filename']!r} has the fold {row['fold']!r}, no number.")
        if not audio.is_file():
            missing.append(row["filename"])
            continue
        examples.append(
            Example(
                id=audio.stem,
                group=row["src_file"],
                audio=audio,
                prompt=PROMPT,
                references=(label,),
                choices=choices,
                fold=int(row["fold"]),
            )
        )
    return TaskData(name, tuple(examples), tuple(missing), LICENCE, CITATION)
