"""FSD50K: which of 200 sounds can be heard in a clip, several at once, in the publisher's split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from palprobe.errors import DataError
from palprobe.registry import near_miss
from palprobe.tasks import check_variant
from palprobe.tasks.layout import listed_file, read_table, task_data, words
from palprobe.types import Example, Split, TaskData

PROMPT = "Which sound can be heard?"
TABLES = "FSD50K.ground_truth"
SPLITS: dict[str, Split] = {"train": "train", "val": "validation"}  # of dev.csv; eval.csv tests
EXPECTED = (
    "the FSD50K layout: FSD50K.ground_truth/{dev,eval,vocabulary}.csv beside FSD50K.dev_audio/ and FSD50K.eval_audio/ "
    "(zenodo.org/records/4060432)"
)
LICENCE = "labels CC BY 4.0; clips: Creative Commons, by clip"
CITATION = "E. Fonseca et al., FSD50K: an Open Dataset of Human-Labeled Sound Events, IEEE/ACM TASLP 30, 2022"


@dataclass(frozen=True)
class Row:
    """One clip of a table."""

    side: str  # dev or eval
    name: str
    labels: tuple[str, ...]  # as the table writes them
    split: Split


def load_fsd50k(folder: Path, variant: str | None) -> TaskData:
    """All clips with all their labels; the choices are the 200 of the vocabulary, in words.

    The labels of a clip include what its labels are kinds of (a violin is a musical instrument), as the publisher wrote
    them. The group is the clip: its publisher keeps uploaders apart, and names them in another file.

    Args:
        folder: holds `FSD50K.ground_truth/` and both folders of audio.
        variant: none exists.

    Source: the publisher's description of the tables (zenodo.org/records/4060432).
    """
    check_variant("fsd50k", variant, ())
    path = folder / TABLES / "vocabulary.csv"
    names = {
        row["label"].strip(): words(row["label"])
        for row in read_table(path, ("index", "label", "mid"), EXPECTED, header=False)
    }
    choices = tuple(names.values())
    examples = [
        Example(
            id=row.name,
            group=row.name,
            audio=listed_file(folder / f"FSD50K.{row.side}_audio", f"{row.name}.wav"),
            prompt=PROMPT,
            references=_named(row, names),
            choices=choices,
            split=row.split,
        )
        for row in _rows(folder / TABLES)
    ]
    return task_data("fsd50k", folder, examples, licence=LICENCE, citation=CITATION, kind="multi-label")


def _rows(folder: Path) -> Iterator[Row]:
    for side, columns in (("dev", ("fname", "labels", "split")), ("eval", ("fname", "labels"))):
        path = folder / f"{side}.csv"
        for row in read_table(path, columns, EXPECTED):
            split = SPLITS.get(row["split"].strip()) if side == "dev" else "test"
            if split is None:
                raise DataError(
                    f"{str(path)!r}: {row['fname']!r} is in the split {row['split']!r}, expected train or val."
                )
            labels = tuple(dict.fromkeys(label.strip() for label in row["labels"].split(",")))
            yield Row(side, row["fname"].strip(), labels, split)


def _named(row: Row, names: Mapping[str, str]) -> tuple[str, ...]:
    for label in row.labels:
        if label not in names:
            raise DataError(
                f"{row.side}.csv of FSD50K: {row.name!r} has the label {label!r}, which vocabulary.csv lacks."
                f"{near_miss(label, names)} Use the publisher's own tables."
            )
    return tuple(names[label] for label in row.labels)
