"""The Song Describer Dataset: a sentence about two minutes of music, by one listener or several; for testing only."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from palprobe.tasks import check_variant
from palprobe.tasks.layout import listed_file, one_line, read_table, task_data
from palprobe.types import Example, TaskData

PROMPT = "Describe the music in one sentence."
COLUMNS = ("track_id", "caption", "is_valid_subset", "path")  # those used
EXPECTED = "the Song Describer layout: song_describer.csv beside audio/ (zenodo.org/records/10072001)"
LICENCE = "text CC BY-SA 4.0; audio Creative Commons, by track"
CITATION = "I. Manco et al., The Song Describer Dataset, NeurIPS 2023 workshop on Machine Learning for Audio"


def load_song_describer(folder: Path, variant: str | None) -> TaskData:
    """All tracks with their captions as references, as a test set: its publisher means it for evaluation alone.

    Args:
        folder: holds `song_describer.csv` and `audio/{two digits}/{track}.2min.mp3`.
        variant: `valid` for the captions of the publisher's validated subset (746 of 1106); all if not given.

    Source: the publisher's README; its code for MuChoMusic turns the column `path`, `00/415600.mp3`, into the name of
    the file.
    """
    check_variant("song-describer", variant, ("valid",))
    tracks: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in read_table(folder / "song_describer.csv", COLUMNS, EXPECTED):
        if variant is None or row["is_valid_subset"].strip().lower() == "true":
            tracks[row["track_id"]].append(row)
    examples = [
        Example(
            id=track,
            group=track,
            audio=listed_file(folder / "audio", two_minutes(rows[0]["path"])),
            prompt=PROMPT,
            references=tuple(one_line(row["caption"]) for row in rows),
            split="test",
        )
        for track, rows in tracks.items()
    ]
    name = f"song-describer:{variant}" if variant else "song-describer"
    return task_data(name, folder, examples, licence=LICENCE, citation=CITATION, kind="captioning")


def two_minutes(path: str) -> str:
    """The published excerpt of a track: `00/415600.mp3` is there as `00/415600.2min.mp3`."""
    return f"{path.removesuffix('.mp3')}.2min.mp3"
