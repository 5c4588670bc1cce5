"""MMAR: 1000 multiple-choice questions on speech, sound, music and mixes that take reasoning; for testing only."""

from __future__ import annotations

from pathlib import Path

from palprobe.tasks import check_variant
from palprobe.tasks.layout import is_file, listed_file, one_line, options, read_objects, task_data
from palprobe.types import Example, TaskData

TABLES = ("MMAR-meta.json", "MMAR-meta.jsonl")  # a list, or an object a line: both have been published
KEYS = ("id", "audio_path", "question", "answer", "modality")  # and `choices`; the others become meta
META = ("category", "sub-category", "language")
EXPECTED = "the MMAR layout: MMAR-meta.json or .jsonl beside audio/ (huggingface.co/datasets/BoJack/MMAR)"
LICENCE = "not known here: see the card of the data set"
CITATION = "Z. Ma et al., MMAR: A Challenging Benchmark for Deep Reasoning in Speech, Audio, Music, and Their Mix, 2025"


def load_mmar(folder: Path, variant: str | None) -> TaskData:
    """All questions, as a test set, with a part for each modality; the group is the video, where its URL is given.

    The choices are scored by their text and not shown in the prompt (ours: their order then cannot matter).

    Args:
        folder: holds the table and what its `audio_path` names.
        variant: none exists.

    Source: the publisher's README, and its keys as public code reads them.
    """
    check_variant("mmar", variant, ())
    path = next((folder / name for name in TABLES if is_file(folder / name)), folder / TABLES[0])
    examples = []
    for row in read_objects(path, KEYS, EXPECTED):
        where = f"{str(path)!r}, {row['id']!r}"
        url = row.get("url")
        examples.append(
            Example(
                id=row["id"],
                group=url if isinstance(url, str) and url.strip() else row["audio_path"],
                audio=listed_file(folder, row["audio_path"]),
                prompt=one_line(row["question"]),
                references=(one_line(row["answer"]),),
                choices=options(row.get("choices"), row["answer"], where),
                split="test",
                part=row["modality"],
                meta={key: row[key] for key in META if isinstance(row.get(key), str)},
            )
        )
    return task_data("mmar", folder, examples, licence=LICENCE, citation=CITATION, kind="multiple-choice")
