"""A small set of instrument notes and drum hits: the instrument's family, or the pitch; folds of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from palprobe.errors import DataError
from palprobe.tasks import check_variant
from palprobe.tasks.layout import classification, hashed_fold, listed_file, read_table, task_data, words
from palprobe.types import Example, TaskData

PROMPTS = {"instrument": "Which kind of instrument is this?", "pitch": "Which note is this?"}
COLUMNS = ("file", "family")  # filled in every row; pitch is that of notes, sound that of hits
FEWEST_CLIPS = {"instrument": 10, "pitch": 2}  # of an answer
NUM_FOLDS = {"instrument": 5, "pitch": 3}
EXPECTED = "notes.csv (file, family, instrument, pitch, sound) beside audio/"
LICENCE = "public domain, CC0 and CC BY 4.0, by clip"
CITATION = "authors and sources: LICENSE.txt beside the table"

Rows = list[dict[str, str]]


def load_notes(folder: Path, variant: str | None) -> TaskData:
    """Clips whose answer others share: families with ten clips or more, or pitches with two or more.

    For `instrument`, clips of one pitch, or of one kind of hit, are one group, so that a family cannot be told by its
    pitch; the fold follows from the group's name. For `pitch`, each clip is a group, and those of a pitch are dealt to
    three folds in the order of their names: what is tested was trained on at another level or on another instrument.

    Args:
        folder: holds `notes.csv` and `audio/`.
        variant: `instrument` (default) or `pitch`.

    Source: the README beside the table.
    """
    check_variant("notes", variant, PROMPTS)
    variant = variant or "instrument"
    key = "family" if variant == "instrument" else "pitch"
    rows = read_table(folder / "notes.csv", COLUMNS, EXPECTED)
    counts = Counter(row.get(key, "") for row in rows)
    kept = [row for row in rows if row.get(key) and counts[row[key]] >= FEWEST_CLIPS[variant]]
    examples = [
        Example(
            id=Path(row["file"]).stem,
            group=group,
            audio=listed_file(folder, row["file"]),
            prompt=PROMPTS[variant],
            references=(words(row[key]),),
            fold=fold,
            meta={"instrument": row.get("instrument", "")},
        )
        for row, group, fold in (_by_pitch_or_hit(kept) if variant == "instrument" else _dealt(kept))
    ]
    return task_data(f"notes:{variant}", folder, classification(examples), licence=LICENCE, citation=CITATION)


def _by_pitch_or_hit(rows: Rows) -> Iterator[tuple[dict[str, str], str, int]]:
    for row in rows:
        group = row.get("pitch", "").strip() or row.get("sound", "").strip()
        if not group:
            raise DataError(f"notes.csv: {row['file']!r} has neither a pitch nor a sound. Expected {EXPECTED}.")
        yield row, group, hashed_fold(group, NUM_FOLDS["instrument"])


def _dealt(rows: Rows) -> Iterator[tuple[dict[str, str], str, int]]:
    dealt: Counter[str] = Counter()
    for row in sorted(rows, key=lambda row: row["file"]):
        yield row, row["file"], dealt[row["pitch"]] % NUM_FOLDS["pitch"] + 1
        dealt[row["pitch"]] += 1
