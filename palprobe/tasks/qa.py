"""A small set of multiple-choice questions about the clips of esc10, fsdd, librispeech and notes; folds of ours."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from palprobe.tasks import check_variant
from palprobe.tasks.layout import hashed_fold, listed_file, one_line, options, read_objects, task_data
from palprobe.types import Example, TaskData

KEYS = ("id", "audio", "question", "answer", "task", "category")  # and `choices`
NUM_FOLDS = 5
EXPECTED = "qa.jsonl (id, audio, question, choices, answer, task, category) in a folder beside those of the audio"
LICENCE = "questions made from the labels; audio: as of esc10, fsdd, librispeech and notes"
CITATION = "authors and sources: LICENSE.txt beside the table"


def load_qa(folder: Path, variant: str | None) -> TaskData:
    """All questions in five folds by the hash of the recording, with a part for each category of question.

    A recording is a file, but for ESC-10 the Freesound recording that several clips were cut from, and for LibriSpeech
    the chapter.

    Args:
        folder: holds `qa.jsonl`; the audio paths in it start at the folder above.
        variant: none exists.

    Source: the README beside the table.
    """
    check_variant("qa", variant, ())
    path = folder / "qa.jsonl"
    examples = []
    for row in read_objects(path, KEYS, EXPECTED):
        where = f"{str(path)!r}, {row['id']!r}"
        group = _recording(PurePosixPath(row["audio"]))
        examples.append(
            Example(
                id=row["id"],
                group=group,
                audio=listed_file(folder.parent, row["audio"]),
                prompt=one_line(row["question"]),
                references=(one_line(row["answer"]),),
                choices=options(row.get("choices"), row["answer"], where),
                fold=hashed_fold(group, NUM_FOLDS),
                part=row["category"],
                meta={"task": row["task"]},
            )
        )
    return task_data("qa", folder, examples, licence=LICENCE, citation=CITATION, kind="multiple-choice")


def _recording(audio: PurePosixPath) -> str:
    source = audio.parts[0] if audio.parts else ""
    if source == "esc10":  # {fold}-{recording}-{take}-{target}
        return "-".join(("esc10", *audio.stem.split("-")[1:2]))
    return str(audio.parent if source == "librispeech" else audio)
