"""MusicCaps: a musician's description of ten seconds of music on YouTube, in the split of AudioSet."""

from __future__ import annotations

from pathlib import Path

from palprobe.tasks import check_variant
from palprobe.tasks.layout import AudioFiles, one_line, read_table, task_data, whole_number
from palprobe.types import Example, TaskData

PROMPT = "Describe the music in a few sentences."
TABLE = "musiccaps-public.csv"
COLUMNS = ("ytid", "start_s", "end_s", "caption", "is_audioset_eval")  # those used, of the publisher's nine
EXPECTED = "the MusicCaps layout: musiccaps-public.csv beside the clips (huggingface.co/datasets/google/MusicCaps)"
LICENCE = "text CC BY-SA 4.0; audio: YouTube"
CITATION = "A. Agostinelli et al., MusicLM: Generating Music From Text, arXiv 2301.11325"


def load_musiccaps(folder: Path, variant: str | None) -> TaskData:
    """All clips; those of AudioSet's evaluation set test, the others train. The group is the video.

    Args:
        folder: holds `musiccaps-public.csv` and, anywhere below, clips called `[{ytid}]-[{start}-{end}].*` or
            `{ytid}.*`; a clip holds its ten seconds only.
        variant: none exists.

    Source: the publisher's table for the columns; the code of MuChoMusic (github.com/mulab-mir/muchomusic) for the
    first name of a clip.
    """
    check_variant("musiccaps", variant, ())
    files = AudioFiles(folder)
    examples = [
        Example(
            id=row["ytid"],
            group=row["ytid"],
            audio=files.find(*clip_names(row)),
            prompt=PROMPT,
            references=(one_line(row["caption"]),),
            split="test" if row["is_audioset_eval"].strip().lower() == "true" else "train",
        )
        for row in read_clips(folder)
    ]
    return task_data("musiccaps", folder, examples, licence=LICENCE, citation=CITATION, kind="captioning")


def read_clips(folder: Path) -> list[dict[str, str]]:
    """The publisher's table, which also says which clips MuChoMusic asks about."""
    return read_table(folder / TABLE, COLUMNS, EXPECTED)


def clip_names(row: dict[str, str]) -> tuple[str, str]:
    """What downloaders call a clip, without the extension."""
    start, end = (whole_number(row[column], f"{TABLE}: {column} of {row['ytid']!r}") for column in ("start_s", "end_s"))
    return f"[{row['ytid']}]-[{start}-{end}]", row["ytid"]
