"""MuChoMusic: 1187 multiple-choice questions about music of Song Describer and MusicCaps; for testing only."""

from __future__ import annotations

from pathlib import Path

from palprobe.errors import DataError
from palprobe.tasks import check_variant
from palprobe.tasks.layout import AudioFiles, one_line, options, read_table, task_data
from palprobe.tasks.musiccaps import clip_names, read_clips
from palprobe.types import Example, TaskData

CHOICES = ("correct_answer", "distractor_1_answer", "distractor_2_answer", "distractor_3_answer")
COLUMNS = ("question", "dataset", "dataset_identifier", *CHOICES)  # those used
SOURCES = ("sdd", "musiccaps")
EXPECTED = (
    "the MuChoMusic layout: muchomusic.csv beside sdd/ and musiccaps/ "
    "(zenodo.org/records/12709974; the audio is that of Song Describer and of MusicCaps)"
)
LICENCE = "questions CC BY-SA 4.0; audio: as of Song Describer and MusicCaps"
CITATION = "B. Weck et al., MuChoMusic: Evaluating Music Understanding in Multimodal Audio-Language Models, ISMIR 2024"


def load_muchomusic(folder: Path, variant: str | None) -> TaskData:
    """All questions, as a test set, with a part for each of the two sources; the group is the piece of music.

    The choices stand in alphabetical order, since the table puts the right one first; they are scored by their text and
    not shown in the prompt (ours).

    Args:
        folder: holds `muchomusic.csv`, `sdd/audio/`, `musiccaps/musiccaps-public.csv` and `musiccaps/audio/`.
        variant: none exists.

    Source: the publisher's muchomusic_eval/utils.py (github.com/mulab-mir/muchomusic).
    """
    check_variant("muchomusic", variant, ())
    path = folder / "muchomusic.csv"
    rows = read_table(path, COLUMNS, EXPECTED)
    files = {source: AudioFiles(folder / source / "audio") for source in SOURCES}
    clips = {row["ytid"]: clip_names(row) for row in read_clips(folder / "musiccaps")}
    examples = []
    for number, row in enumerate(rows, start=1):
        where, source = f"{str(path)!r}, question {number}", row["dataset"]
        if source not in SOURCES:
            raise DataError(f"{where}: the dataset {source!r} is none of {', '.join(SOURCES)}.")
        piece = row["dataset_identifier"].removesuffix(".json")
        if source == "musiccaps":
            piece = piece.rpartition("_")[0]
        names = (f"{piece}.2min",) if source == "sdd" else clips.get(piece, (piece,))
        examples.append(
            Example(
                id=f"muchomusic-{number:04d}",
                group=f"{source}/{piece}",
                audio=files[source].find(*names),
                prompt=one_line(row["question"]),
                references=(one_line(row["correct_answer"]),),
                choices=tuple(sorted(options([row[key] for key in CHOICES], row["correct_answer"], where))),
                split="test",
                part=source,
            )
        )
    return task_data("muchomusic", folder, examples, licence=LICENCE, citation=CITATION, kind="multiple-choice")
