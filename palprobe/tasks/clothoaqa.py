"""ClothoAQA: questions about sounds, each answered by three people, in the publisher's split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from palprobe.tasks import check_variant
from palprobe.tasks.layout import listed_file, one_line, read_table, task_data
from palprobe.types import Example, Split, TaskData, TaskKind

VARIANTS = ("yes-no", "word")
YES_NO = ("yes", "no")
COLUMNS = ("file_name", "QuestionText", "answer")  # those used; the publisher's fourth is the confidence
TABLES: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
EXPECTED = "the ClothoAQA layout: clotho_aqa_{train,val,test}.csv beside audio_files/ (zenodo.org/records/6473207)"
LICENCE = "MIT (from memory: see LICENSE.txt in the download); clips: Creative Commons, by clip"
CITATION = "S. Lipping et al., Clotho-AQA: A Crowdsourced Dataset for Audio Question Answering, EUSIPCO 2022"


def load_clothoaqa(folder: Path, variant: str | None) -> TaskData:
    """One question an item; the group is the clip, which several questions are about.

    `yes-no`: those to which every answer is yes or no; what most people said is right. Where all agree the part is
    `unanimous`, else `majority`, and each has its score: the whole is the publisher's majority accuracy.
    `word`: the other questions, open; what any of the three said is right, what most of them said is trained on.

    Args:
        folder: holds the three tables and `audio_files/`.
        variant: `yes-no` (default) or `word`.

    Source: the columns and files of the publisher's archive, as public code reads them.
    """
    check_variant("clothoaqa", variant, VARIANTS)
    variant = variant or VARIANTS[0]
    examples: list[Example] = []
    for table, split in TABLES.items():
        questions: dict[tuple[str, str], list[str]] = defaultdict(list)
        for row in read_table(folder / f"clotho_aqa_{table}.csv", COLUMNS, EXPECTED):
            questions[row["file_name"], one_line(row["QuestionText"])].append(one_line(row["answer"]).lower())
        for number, ((name, question), answers) in enumerate(questions.items()):
            closed = set(answers) <= set(YES_NO)
            if closed == (variant == "yes-no"):
                audio = listed_file(folder / "audio_files", name)
                examples.append(_example(f"{table}-{number:05d}", name, audio, question, answers, split, closed=closed))
    kind: TaskKind = "open" if variant == "word" else "multiple-choice"
    return task_data(f"clothoaqa:{variant}", folder, examples, licence=LICENCE, citation=CITATION, kind=kind)


def _example(
    name: str, clip: str, audio: Path, question: str, answers: Sequence[str], split: Split, *, closed: bool
) -> Example:
    ranked = tuple(answer for answer, _ in Counter(answers).most_common())  # of equals, the first that was given
    part = None
    if closed:
        part = "unanimous" if len(ranked) == 1 else "majority"
    return Example(
        id=name,
        group=clip,
        audio=audio,
        prompt=question,
        references=ranked[:1] if closed else ranked,
        choices=YES_NO if closed else (),
        split=split,
        part=part,
    )
