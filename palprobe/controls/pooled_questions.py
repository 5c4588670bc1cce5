"""The questions of a task that a classifier of clips can answer: those that are asked of many clips alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from palprobe.tasks.kinds import learnt_answers
from palprobe.tasks.splits import Splits
from palprobe.types import Example, TaskKind


@dataclass(frozen=True)
class Question:
    """What examples share that one classifier answers."""

    part: str | None
    prompt: str
    choices: tuple[str, ...]  # in the order of their names


def question_of(example: Example) -> Question:
    return Question(example.part, example.prompt, tuple(sorted(example.choices)))


def by_question(examples: Sequence[Example]) -> dict[Question, list[int]]:
    """The places of the examples that ask each question, in the order in which they first do."""
    found: dict[Question, list[int]] = {}
    for place, example in enumerate(examples):
        found.setdefault(question_of(example), []).append(place)
    return found


def labels_of(examples: Sequence[Example], question: Question, kind: TaskKind) -> npt.NDArray[np.bool_]:
    """(E, K) which choices are right, as far as a probe is taught them."""
    column = {choice: number for number, choice in enumerate(question.choices)}
    labels = np.zeros((len(examples), len(column)), dtype=np.bool_)
    for row, example in enumerate(examples):
        labels[row, [column[answer] for answer in learnt_answers(example, kind)]] = True
    return labels


def not_applicable(splits: Splits) -> str | None:
    """Why a classifier of clips cannot answer a task; None where it can."""
    if not all(example.choices for example in splits.test):
        return "its questions are open, and there are no classes to tell apart"
    if not splits.train:
        return "it has no training clips of its own"
    taught = by_question(splits.train).keys()
    if new := [question for question in by_question(splits.test) if question not in taught]:
        return (
            f"a classifier hears the clip and not the question, and {len(new)} of its test questions (with their "
            f"choices) are asked of no training clip, such as {new[0].prompt!r}"
        )
    return None
