"""AIR-Bench foundation: single-choice questions on 19 tasks about speech, sound and music; for testing only."""

from __future__ import annotations

from pathlib import Path

from palprobe.tasks import check_variant
from palprobe.tasks.layout import listed_file, one_line, options, read_objects, task_data
from palprobe.types import Example, TaskData

KEYS = ("path", "question", "choice_a", "choice_b", "answer_gt", "task_name", "dataset_name", "uniq_id")
CHOICES = ("choice_a", "choice_b", "choice_c", "choice_d")  # the last two are absent from some questions
FLAC_TASK = "Audio_Grounding"  # its table says .wav, its files are .flac
EXPECTED = "the AIR-Bench layout: Foundation_meta.json beside {task}_{dataset}/ (github.com/OFA-Sys/AIR-Bench)"
LICENCE = "Apache-2.0 (code and questions); audio: of the data sets it is made from"
CITATION = "Q. Yang et al., AIR-Bench: Benchmarking Large Audio-Language Models via Generative Comprehension, ACL 2024"


def load_air_bench(folder: Path, variant: str | None) -> TaskData:
    """All questions, as a test set, with a part for each of the publisher's tasks; the group is the clip.

    The choices are scored by their text and not shown in the prompt (ours: their order then cannot matter).

    Args:
        folder: `Foundation/` of the download, with `Foundation_meta.json`.
        variant: none exists.

    Source: the publisher's Inference_Foundation.py and score_foundation.py (github.com/OFA-Sys/AIR-Bench).
    """
    check_variant("air-bench", variant, ())
    path = folder / "Foundation_meta.json"
    examples = []
    for row in read_objects(path, KEYS, EXPECTED):
        place = f"{row['task_name']}_{row['dataset_name']}"
        name = row["path"][: -len("wav")] + "flac" if row["task_name"] == FLAC_TASK else row["path"]
        choices = [row[key] for key in CHOICES if isinstance(row.get(key), str) and row[key].strip()]
        examples.append(
            Example(
                id=row["uniq_id"],
                group=f"{row['dataset_name']}/{row['path']}",
                audio=listed_file(folder, f"{place}/{name}"),
                prompt=one_line(row["question"]),
                references=(one_line(row["answer_gt"]),),
                choices=options(choices, row["answer_gt"], f"{str(path)!r}, {row['uniq_id']!r}"),
                split="test",
                part=row["task_name"],
            )
        )
    return task_data("air-bench", folder, examples, licence=LICENCE, citation=CITATION, kind="multiple-choice")
