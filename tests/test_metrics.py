import pytest

from palprobe.errors import UnknownNameError
from palprobe.metrics import METRICS, accuracy, invalid_rate, macro_f1
from palprobe.types import Prediction


def predictions_of(pairs: list[tuple[str, str]], choices: set[str] | None = None) -> list[Prediction]:
    """(reference, prediction) pairs as predictions."""
    return [
        Prediction(str(i), str(i), None, reference, answer, {}, reference == answer, not choices or answer in choices)
        for i, (reference, answer) in enumerate(pairs)
    ]


# dog: 2 references, 1 hit, 2 answers; cat: 2, 1, 1; owl: 1, 1, 1; one answer is no choice.
MIXED = predictions_of(
    [("dog", "dog"), ("dog", "bird"), ("cat", "cat"), ("cat", "dog"), ("owl", "owl")], {"dog", "cat", "owl"}
)


def test_accuracy_by_hand():
    """Three of five are right."""
    assert accuracy(MIXED) == pytest.approx(3 / 5)


def test_macro_f1_by_hand():
    """F1 is dog 2·1/(2+2), cat 2·1/(2+1), owl 1; an answer that is no class makes no class of its own."""
    assert macro_f1(MIXED) == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)


def test_macro_f1_counts_what_was_judged_right():
    """A second accepted wording of the reference is a hit, as it is for accuracy."""
    judged = [Prediction("1", "1", None, "dog", "Dog.", {}, True, True), *predictions_of([("cat", "cat")])]
    assert macro_f1(judged) == 1.0


def test_macro_f1_of_a_constant_answer_is_the_documented_chance():
    """Always 'a' with K = 4 balanced classes: 2 / (K (K + 1)) = 0.1."""
    assert macro_f1(predictions_of([(label, "a") for label in "abcd" * 3])) == pytest.approx(0.1)


def test_invalid_rate_by_hand():
    """One of five answers is no choice."""
    assert invalid_rate(MIXED) == pytest.approx(1 / 5)


def test_every_registered_metric_loads_and_stays_in_range():
    """Names in METRICS lead to functions; a wrong name gets the nearest."""
    for name in METRICS.parts:
        assert 0 <= METRICS.load(name)(MIXED) <= 1
    with pytest.raises(UnknownNameError, match="accuracy"):
        METRICS.load("acuracy")
