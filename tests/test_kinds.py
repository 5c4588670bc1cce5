"""Kinds of task: what each promises is there."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from palprobe.errors import RecipeError
from palprobe.evaluation.results import check_scoring
from palprobe.metrics import LOWER_IS_BETTER, METRICS, NOTES
from palprobe.recipe.scoring import ScoringSection
from palprobe.report.rows import headline_metric
from palprobe.tasks.kinds import KINDS, learnt_answers
from palprobe.types import Example, TaskData, TaskKind

EXAMPLE = Example("x", "g", Path("x.wav"), "?", ("rain", "dog"), ("dog", "rain"))


def test_every_kind_has_rules():
    """The kinds that types name are those of the table."""
    assert set(KINDS) == set(get_args(TaskKind))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_names_registered_metrics_and_its_headline_first(kind):
    """Each metric is registered, a report shows the first of them, and prompt and reading are not blank."""
    rules = KINDS[kind]
    assert set(rules.metrics) <= set(METRICS.parts) and len(set(rules.metrics)) == len(rules.metrics)
    assert headline_metric(rules.metrics) == rules.metrics[0]
    assert rules.prompt and rules.reading


def test_every_metric_belongs_to_a_kind():
    """No metric is registered that nothing is scored by; what is said of metrics is said of registered ones."""
    used = {metric for rules in KINDS.values() for metric in rules.metrics}
    assert used == set(METRICS.parts)
    assert set(NOTES) | LOWER_IS_BETTER <= set(METRICS.parts)


@pytest.mark.parametrize(
    ("kind", "number"), [("classification", 1), ("open", 1), ("multi-label", 2), ("captioning", 2)]
)
def test_labels_and_captions_are_all_learnt(kind, number):
    """All labels and all captions of a clip are answers to learn; of accepted answers to a question, the first."""
    assert learnt_answers(EXAMPLE, kind) == ("rain", "dog")[:number]
    assert learnt_answers(replace(EXAMPLE, references=("rain",)), kind) == ("rain",)


SETS = {"first": ("x", "y"), "second": ("y", "x"), "lonely": ("x", "z")}


def test_choices_that_one_item_alone_has_are_not_calibrated():
    """Refused before the model is asked; with a second item of the same choices there is something to compare."""
    asked = [Example(name, name, Path("a.wav"), "?", ("x",), choices) for name, choices in SETS.items()]
    section = ScoringSection(method="likelihood", rule="batch-calibrated")
    with pytest.raises(RecipeError, match="'lonely'"):
        check_scoring(TaskData("toy", tuple(asked)), section)
    check_scoring(TaskData("toy", tuple(asked[:2])), section)
    check_scoring(TaskData("toy", tuple(asked)), ScoringSection(method="likelihood"))
