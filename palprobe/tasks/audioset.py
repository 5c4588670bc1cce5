"""AudioSet: which of 527 sounds can be heard in ten seconds of YouTube, several at once, in the publisher's split."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from palprobe.errors import DataError
from palprobe.tasks import check_variant
from palprobe.tasks.layout import AudioFiles, one_line, read_cells, read_table, task_data
from palprobe.types import Example, Split, TaskData

PROMPT = "Which sound can be heard?"
VARIANTS = ("balanced", "unbalanced")  # which of the two sets of training clips
CELLS = 4  # of a row: YTID, start and end in seconds, the labels' ids
EXPECTED = (
    "the AudioSet layout: class_labels_indices.csv, eval_segments.csv and balanced_train_segments.csv (or "
    "unbalanced_train_segments.csv) beside the clips (research.google.com/audioset)"
)
LICENCE = "labels CC BY 4.0; audio: YouTube"
CITATION = "J. F. Gemmeke et al., Audio Set: An ontology and human-labeled dataset for audio events, ICASSP 2017"


@dataclass(frozen=True)
class Segment:
    """One row of a list of segments."""

    video: str
    start: float  # seconds in the video
    labels: tuple[str, ...]  # ids such as /m/05zppz


def load_audioset(folder: Path, variant: str | None) -> TaskData:
    """All segments with all their labels; whichever could not be downloaded are counted as missing.

    Labels are asked for by their display names. No validation split is published: a share of the training clips serves.
    The group is the video.

    Args:
        folder: holds the lists and, anywhere below, clips of ten seconds called `{YTID}.*`, `Y{YTID}.*`,
            `{YTID}_{start}.*` or `{YTID}_{start:06d}.*`.
        variant: the training set, `balanced` (default) or `unbalanced`.

    Source: the publisher's lists as described at research.google.com/audioset/download.html.
    """
    check_variant("audioset", variant, VARIANTS)
    variant = variant or VARIANTS[0]
    names, files = _display_names(folder), AudioFiles(folder)
    choices = tuple(names.values())
    lists: dict[str, Split] = {f"{variant}_train": "train", "eval": "test"}
    examples = [
        Example(
            id=f"{segment.video}_{segment.start:g}",
            group=segment.video,
            audio=files.find(*_stems(segment)),
            prompt=PROMPT,
            references=_named(segment, names, name),
            choices=choices,
            split=split,
        )
        for name, split in lists.items()
        for segment in _segments(folder / f"{name}_segments.csv")
    ]
    return task_data(f"audioset:{variant}", folder, examples, licence=LICENCE, citation=CITATION, kind="multi-label")


def _display_names(folder: Path) -> dict[str, str]:
    """Label id → what it is called; a name that two ids share is told apart by the second one's id."""
    names: dict[str, str] = {}
    for row in read_table(folder / "class_labels_indices.csv", ("index", "mid", "display_name"), EXPECTED):
        mid, name = row["mid"].strip(), one_line(row["display_name"])
        names[mid] = f"{name} ({mid})" if name in names.values() else name
    return names


def _segments(path: Path) -> Iterator[Segment]:
    """The rows after the comments; the list of labels stands in quotes after a blank."""
    rows = [(line, cells) for line, cells in read_cells(path, EXPECTED, spaced=True) if not cells[0].startswith("#")]
    if not rows:
        raise DataError(f"{str(path)!r} has no rows. Expected {EXPECTED}.")
    for line, cells in rows:
        where = f"{str(path)!r}, line {line}"
        if len(cells) != CELLS:
            raise DataError(f"{where}: {len(cells)} cells, expected YTID, start, end and the labels in quotes.")
        video, start, _, told = (cell.strip() for cell in cells)
        labels = tuple(dict.fromkeys(label.strip() for label in told.split(",") if label.strip()))
        if not video or not labels:
            raise DataError(f"{where}: no {'labels' if video else 'YTID'}.")
        yield Segment(video, _seconds(start, where), labels)


def _seconds(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise DataError(f"{where}: start {text!r} is no number of seconds.")
    return value


def _stems(segment: Segment) -> tuple[str, ...]:
    second = int(segment.start)
    return segment.video, f"Y{segment.video}", f"{segment.video}_{second}", f"{segment.video}_{second:06d}"


def _named(segment: Segment, names: Mapping[str, str], table: str) -> tuple[str, ...]:
    unknown = next((label for label in segment.labels if label not in names), None)
    if unknown is not None:
        raise DataError(
            f"{table}_segments.csv: {segment.video!r} has the label {unknown!r}, which class_labels_indices.csv lacks. "
            "Use the list that was published with these segments."
        )
    return tuple(names[label] for label in segment.labels)
