"""ESC-50 and its part ESC-10: environmental sounds in the publisher's five folds."""

from __future__ import annotations

from pathlib import Path

from palprobe.tasks import check_variant
from palprobe.tasks.layout import classification, listed_file, read_table, task_data, whole_number, words
from palprobe.types import Example, TaskData

PROMPT = "Which sound is this?"
COLUMNS = ("filename", "fold", "category", "esc10", "src_file")  # those used, of the publisher's seven
EXPECTED = "the ESC-50 layout: meta/esc50.csv beside audio/ (github.com/karolpiczak/ESC-50)"
LICENCE = "ESC-50: CC BY-NC 3.0; its part ESC-10: CC BY 3.0"
CITATION = "K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015"


def load_esc50(folder: Path, variant: str | None) -> TaskData:
    """All 50 classes.

    Args:
        folder: holds `meta/esc50.csv` and `audio/`.
        variant: none exists.

    Source: the columns of the publisher's README; the rows of ESC-10 have been read.
    """
    check_variant("esc50", variant, ())
    return _load("esc50", folder, _rows(folder))


def load_esc10(folder: Path, variant: str | None) -> TaskData:
    """The rows that ESC-50's own column `esc10` marks; the folder may hold these alone or the whole of ESC-50."""
    check_variant("esc10", variant, ())
    return _load("esc10", folder, [row for row in _rows(folder) if row["esc10"].strip().lower() == "true"])


def _rows(folder: Path) -> list[dict[str, str]]:
    return read_table(folder / "meta" / "esc50.csv", COLUMNS, EXPECTED)


def _load(name: str, folder: Path, rows: list[dict[str, str]]) -> TaskData:
    examples = [
        Example(
            id=Path(row["filename"]).stem,
            group=row["src_file"],
            audio=listed_file(folder / "audio", row["filename"]),
            prompt=PROMPT,
            references=(words(row["category"]),),
            fold=whole_number(row["fold"], f"{folder}/meta/esc50.csv: fold of {row['filename']!r}"),
        )
        for row in rows
    ]
    return task_data(name, folder, classification(examples), licence=LICENCE, citation=CITATION)
