"""Questions that are missed without audio: what a blind probe answers wrong, or where null audio misleads another."""

import json
from pathlib import Path

import pytest

from palprobe.errors import UsageError
from palprobe.evaluation.hard import check_hard, write_hard
from palprobe.recipe.scoring import ScoringSection
from palprobe.types import Example, Prediction


def asked(name):
    choices = ("dog", "cat")
    return Example(name, name, Path("a.wav"), "Which?", ("dog",), choices, split="test")


def answered(name, *, correct, null=None):
    said = "dog" if correct else "cat"
    return Prediction(name, name, None, "dog", said, {"dog": -1.0, "cat": -2.0}, correct, True, null_scores=null or {})


def written(path, predictions):
    count = write_hard(path, predictions, [asked(name) for name in "abc"])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert count == len(lines)
    return [line["id"] for line in lines]


def test_a_blind_probes_wrong_answers_are_the_hard_questions(tmp_path):
    """Of three questions, the two that it answers wrong are written, in their order."""
    predictions = [answered("a", correct=False), answered("b", correct=True), answered("c", correct=False)]
    assert written(tmp_path / "hard.jsonl", predictions) == ["a", "c"]


def test_null_audio_decides_where_there_are_scores_under_it(tmp_path):
    """What is answered right with audio is hard all the same if the likeliest answer without it is wrong."""
    predictions = [
        answered("a", correct=True, null={"dog": -3.0, "cat": -1.0}),
        answered("b", correct=False, null={"dog": -1.0, "cat": -3.0}),
    ]
    assert written(tmp_path / "hard.jsonl", predictions) == ["a"]


def test_a_probe_with_ears_needs_scores_under_null_audio():
    """Its wrong answers say nothing of the text alone; a blind probe's do, unless it wrote them."""
    likelihood, generation = ScoringSection(method="likelihood"), ScoringSection(method="generation")
    check_hard([likelihood], "blind")
    check_hard([ScoringSection(method="likelihood", rule="audio-pmi")])
    for sections, control in (([likelihood], "none"), ([generation], "blind")):
        with pytest.raises(UsageError, match="name the run of a blind probe"):
            check_hard(sections, control)
