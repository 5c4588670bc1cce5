"""MMAU test-mini: 1000 multiple-choice questions about sound, music and speech; for testing only."""

from __future__ import annotations

from pathlib import Path

from palprobe.tasks import check_variant
from palprobe.tasks.layout import listed_file, one_line, options, read_objects, task_data
from palprobe.types import Example, TaskData

TABLE = "mmau-test-mini.json"
KEYS = ("id", "audio_id", "question", "answer", "task")  # and `choices`; the others become meta
META = ("category", "sub-category", "difficulty", "dataset")
EXPECTED = "the MMAU layout: mmau-test-mini.json beside test-mini-audios/ (github.com/Sakshi113/MMAU)"
LICENCE = "Apache-2.0"
CITATION = "S. Sakshi et al., MMAU: A Massive Multi-Task Audio Understanding and Reasoning Benchmark, ICLR 2025"


def load_mmau(folder: Path, variant: str | None) -> TaskData:
    """All questions, as a test set, with a part for each of sound, music and speech.

    The choices are scored by their text and not shown in the prompt (ours: their order then cannot matter). 27 of
    the published questions offer one choice twice; it counts once.

    Args:
        folder: holds `mmau-test-mini.json` and `test-mini-audios/{id}.wav`.
        variant: none exists.

    Source: the publisher's file of version 05.15.25, all 1000 rows.
    """
    check_variant("mmau", variant, ())
    path = folder / TABLE
    examples = []
    for row in read_objects(path, KEYS, EXPECTED):
        where = f"{str(path)!r}, {row['id']!r}"
        examples.append(
            Example(
                id=row["id"],
                group=row["audio_id"],
                audio=listed_file(folder, row["audio_id"]),
                prompt=one_line(row["question"]),
                references=(one_line(row["answer"]),),
                choices=options(row.get("choices"), row["answer"], where),
                split="test",
                part=row["task"],
                meta={key: row[key] for key in META if isinstance(row.get(key), str)},
            )
        )
    return task_data("mmau", folder, examples, licence=LICENCE, citation=CITATION, kind="multiple-choice")
