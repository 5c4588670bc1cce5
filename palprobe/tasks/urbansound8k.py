"""UrbanSound8K: ten kinds of urban sounds in the publisher's ten folds."""

from __future__ import annotations

from pathlib import Path

from palprobe.tasks import check_variant
from palprobe.tasks.layout import classification, listed_file, read_table, task_data, whole_number, words
from palprobe.types import Example, TaskData

PROMPT = "Which sound is this?"
COLUMNS = ("slice_file_name", "fsID", "fold", "class")  # those used, of the publisher's eight
EXPECTED = (
    "the UrbanSound8K layout: metadata/UrbanSound8K.csv beside audio/fold1 to audio/fold10 "
    "(urbansounddataset.weebly.com)"
)
LICENCE = "CC BY-NC 3.0"
CITATION = "J. Salamon, C. Jacoby, J. P. Bello, A Dataset and Taxonomy for Urban Sound Research, ACM Multimedia 2014"


def load_urbansound8k(folder: Path, variant: str | None) -> TaskData:
    """All slices in the ten folds; the group is the Freesound recording that a slice was cut from (`fsID`).

    Args:
        folder: holds `metadata/UrbanSound8K.csv` and `audio/fold{1..10}/`.
        variant: none exists.

    Source: the columns and folders that the publisher's UrbanSound8K_README.txt describes.
    """
    check_variant("urbansound8k", variant, ())
    path = folder / "metadata" / "UrbanSound8K.csv"
    examples = []
    for row in read_table(path, COLUMNS, EXPECTED):
        name = row["slice_file_name"]
        fold = whole_number(row["fold"], f"{str(path)!r}: fold of {name!r}")
        examples.append(
            Example(
                id=Path(name).stem,
                group=row["fsID"],
                audio=listed_file(folder / "audio" / f"fold{fold}", name),
                prompt=PROMPT,
                references=(words(row["class"]),),
                fold=fold,
            )
        )
    return task_data("urbansound8k", folder, classification(examples), licence=LICENCE, citation=CITATION)
