"""A small set of sounds and music with two captions each, written from their titles; folds of ours."""

from __future__ import annotations

from pathlib import Path

from palprobe.tasks import check_variant
from palprobe.tasks.layout import hashed_fold, listed_file, one_line, read_table, task_data
from palprobe.types import Example, TaskData

PROMPT = "Describe the sound in one sentence."
COLUMNS = ("file_name", "caption_1", "caption_2")  # those used
NUM_FOLDS = 5
EXPECTED = "captions.csv (file_name, caption_1, caption_2) beside audio/"
LICENCE = "CC BY, public domain and MIT, by clip"
CITATION = "authors and sources: LICENSE.txt beside the table"


def load_captions(folder: Path, variant: str | None) -> TaskData:
    """All clips in five folds by the hash of their names.

    The captions name the sound rightly but were not written by ear: they try a pipeline, and measure little.

    Args:
        folder: holds `captions.csv` and `audio/`.
        variant: none exists.

    Source: the README beside the table.
    """
    check_variant("captions", variant, ())
    examples = [
        Example(
            id=Path(row["file_name"]).stem,
            group=row["file_name"],
            audio=listed_file(folder / "audio", row["file_name"]),
            prompt=PROMPT,
            references=(one_line(row["caption_1"]), one_line(row["caption_2"])),
            fold=hashed_fold(row["file_name"], NUM_FOLDS),
        )
        for row in read_table(folder / "captions.csv", COLUMNS, EXPECTED)
    ]
    return task_data("captions", folder, examples, licence=LICENCE, citation=CITATION, kind="captioning")
