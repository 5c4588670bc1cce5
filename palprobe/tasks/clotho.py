"""Clotho 2.1: a sentence about a sound of 15 to 30 seconds, five by different people, in the publisher's split."""

from __future__ import annotations

from pathlib import Path

from palprobe.tasks import check_variant
from palprobe.tasks.layout import listed_file, one_line, read_table, task_data
from palprobe.types import Example, Split, TaskData

PROMPT = "Describe the sound in one sentence."
CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))
FOLDERS: dict[str, Split] = {"development": "train", "validation": "validation", "evaluation": "test"}
EXPECTED = (
    "the Clotho layout: clotho_captions_{development,validation,evaluation}.csv beside folders of those names "
    "(zenodo.org/records/4783391)"
)
LICENCE = "captions: Tampere University, non-commercial research; clips: Creative Commons, by clip"
CITATION = "K. Drossos, S. Lipping, T. Virtanen, Clotho: an Audio Captioning Dataset, ICASSP 2020"


def load_clotho(folder: Path, variant: str | None) -> TaskData:
    """All clips; the five captions are the references, and all are trained on.

    The group is the clip: its publisher keeps the splits apart, and names clips after titles, which two may share.

    Args:
        folder: holds the three tables of captions and the folders `development/`, `validation/` and `evaluation/`.
        variant: none exists.

    Source: the columns that aac-datasets (github.com/Labbeti/aac-datasets) reads.
    """
    check_variant("clotho", variant, ())
    examples = [
        Example(
            id=f"{name}-{Path(row['file_name']).stem}",
            group=f"{name}/{row['file_name']}",
            audio=listed_file(folder / name, row["file_name"]),
            prompt=PROMPT,
            references=tuple(one_line(row[caption]) for caption in CAPTIONS),
            split=split,
        )
        for name, split in FOLDERS.items()
        for row in read_table(folder / f"clotho_captions_{name}.csv", ("file_name", *CAPTIONS), EXPECTED)
    ]
    return task_data("clotho", folder, examples, licence=LICENCE, citation=CITATION, kind="captioning")
