"""VGGSound: 309 kinds of sounds in YouTube clips of ten seconds, in the publisher's split."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from palprobe.errors import DataError
from palprobe.tasks import check_variant
from palprobe.tasks.layout import AudioFiles, classification, one_line, read_table, task_data, whole_number
from palprobe.types import Example, Split, TaskData

PROMPT = "Which sound is this?"
COLUMNS = ("youtube id", "start second", "label", "split")  # ours: the file has no header
SPLITS: dict[str, Split] = {"train": "train", "test": "test"}
EXPECTED = "the VGGSound layout: vggsound.csv beside the clips (robots.ox.ac.uk/~vgg/data/vggsound)"
LICENCE = "labels CC BY 4.0; audio: YouTube"
CITATION = "H. Chen et al., VGGSound: A Large-scale Audio-Visual Dataset, ICASSP 2020"


def load_vggsound(folder: Path, variant: str | None) -> TaskData:
    """All clips; whichever could not be downloaded are counted as missing.

    The group is the video. The publisher divided clips, not videos; of a video with clips on both sides, those of
    each side are a group of their own, so that the published split can be used as it is.

    Args:
        folder: holds `vggsound.csv` and, anywhere below, clips called `{id}_{start:06d}.*` or `{id}_{start}.*`.
        variant: none exists.

    Source: the publisher's README (github.com/hche11/VGGSound), whose own lists call clips `{id}_{start:06d}.mp4`.
    """
    check_variant("vggsound", variant, ())
    path = folder / "vggsound.csv"
    rows, files = read_table(path, COLUMNS, EXPECTED, header=False), AudioFiles(folder)
    sides: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        sides[row["youtube id"]].add(row["split"])
    examples = []
    for row in rows:
        video, start = row["youtube id"], whole_number(row["start second"], f"{str(path)!r}: {row['youtube id']!r}")
        if row["split"] not in SPLITS:
            raise DataError(f"{str(path)!r}: {video!r} is in the split {row['split']!r}, expected train or test.")
        examples.append(
            Example(
                id=f"{video}_{start:06d}",
                group=video if len(sides[video]) == 1 else f"{video} ({row['split']})",
                audio=files.find(f"{video}_{start:06d}", f"{video}_{start}"),
                prompt=PROMPT,
                references=(one_line(row["label"]),),
                split=SPLITS[row["split"]],
            )
        )
    return task_data("vggsound", folder, classification(examples), licence=LICENCE, citation=CITATION)
