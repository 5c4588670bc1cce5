"""AudioCaps: a sentence about ten seconds of YouTube audio, in the publisher's split."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from palprobe.tasks import check_variant
from palprobe.tasks.layout import AudioFiles, one_line, read_table, task_data
from palprobe.types import Example, Split, TaskData

PROMPT = "Describe the sound in one sentence."
COLUMNS = ("audiocap_id", "youtube_id", "start_time", "caption")
TABLES: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
EXPECTED = "the AudioCaps layout: train.csv, val.csv and test.csv beside the clips (github.com/cdjkim/audiocaps)"
LICENCE = "captions MIT; audio: YouTube"
CITATION = "C. D. Kim et al., AudioCaps: Generating Captions for Audios in The Wild, NAACL-HLT 2019"


def load_audiocaps(folder: Path, variant: str | None) -> TaskData:
    """All clips, of which many cannot be downloaded any more: those count as missing, so look at how many are left.

    Rows of one clip (five in validation and test) are one question with as many references, all trained on.
    The group is the video.

    Args:
        folder: holds the three tables and, anywhere below, clips called `{youtube_id}_{start_time}.*` or
            `{audiocap_id}.*`; a clip holds its ten seconds only.
        variant: none exists.

    Source: the publisher's tables; names of clips as aac-datasets (github.com/Labbeti/aac-datasets) keeps them.
    """
    check_variant("audiocaps", variant, ())
    files = AudioFiles(folder)
    examples = []
    for table, split in TABLES.items():
        clips: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
        for row in read_table(folder / f"{table}.csv", COLUMNS, EXPECTED):
            clips[row["youtube_id"], row["start_time"]].append(row)
        for (video, start), rows in clips.items():
            examples.append(
                Example(
                    id=f"{video}_{start}",
                    group=video,
                    audio=files.find(f"{video}_{start}", *(row["audiocap_id"] for row in rows)),
                    prompt=PROMPT,
                    references=tuple(one_line(row["caption"]) for row in rows),
                    split=split,
                )
            )
    return task_data("audiocaps", folder, examples, licence=LICENCE, citation=CITATION, kind="captioning")
