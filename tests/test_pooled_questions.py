"""Which questions one classifier of clips can answer, and what is right of each."""

from pathlib import Path

import numpy as np
import pytest

from palprobe.controls.pooled_questions import Question, by_question, labels_of, not_applicable
from palprobe.tasks.splits import Splits
from palprobe.types import Example


def example(name, prompt="Which?", choices=("b", "a"), references=("a",), part=None):
    return Example(name, name, Path("x.wav"), prompt, references, choices, part=part)


def test_a_question_is_part_prompt_and_choices():
    """Choices in another order are the same question; another part, prompt or set of choices is another one."""
    listed = [
        example("0"),
        example("1", choices=("a", "b")),
        example("2", prompt="Who?"),
        example("3", part="x"),
        example("4", choices=("a", "b", "c")),
        example("5", prompt="Who?"),
    ]
    found = by_question(listed)
    assert list(found.values()) == [[0, 1], [2, 5], [3], [4]]
    assert next(iter(found)) == Question(None, "Which?", ("a", "b"))


@pytest.mark.parametrize(
    ("kind", "expected"), [("classification", [[0, 1, 0], [1, 0, 0]]), ("multi-label", [[1, 1, 0], [1, 0, 0]])]
)
def test_what_is_right(kind, expected):
    """Of several labels all are taught; of several accepted answers the first, as the other probes are taught it."""
    three = ("c", "a", "b")
    listed = [example("0", choices=three, references=("b", "a")), example("1", choices=three)]
    (question,) = by_question(listed)
    np.testing.assert_array_equal(labels_of(listed, question, kind), np.array(expected, dtype=bool))


def splits(train, test, kind="classification"):
    return Splits(tuple(train), (), tuple(test), kind)


def test_a_classification_is_answered():
    """Also where a task mixes several, as long as each is asked of training clips."""
    mixed = [example("0", part="x"), example("1", part="y", choices=("c", "a"))]
    assert not_applicable(splits(mixed, mixed)) is None


@pytest.mark.parametrize(
    ("train", "test", "reason"),
    [
        ([example("0")], [example("1", choices=())], "open"),
        ([], [example("1")], "no training clips of its own"),
        (
            [example("0")],
            [example("1"), example("2", prompt="Is it loud?")],
            r"1 of its test questions.*'Is it loud\?'",
        ),
        ([example("0")], [example("1", choices=("a", "z"))], "hears the clip and not the question"),
    ],
)
def test_what_is_refused(train, test, reason):
    """Open answers, a task that is only tested, and questions or choices that belong to single items."""
    import re

    assert re.search(reason, not_applicable(splits(train, test)))
