"""evaluation/xares: the peer's metrics by hand, and against the libraries that it calls itself."""

from pathlib import Path

import jiwer
import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from test_librispeech import distance

from palprobe.evaluation.xares import (
    OVERALL,
    accuracy,
    inverse_character_error_rate,
    inverse_word_error_rate,
    mean_average_precision,
    normalised,
    peer_reasons,
    peer_scores,
)
from palprobe.types import Example, Prediction


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  A  Well-Known\tDog. ", "a well known dog"),
        ("ＤＯＧ！", "dog"),  # NFKC
        ("don't (really)", "dont really"),
        ("犬。", "犬"),
        ("a;b", "ab"),
    ],
)
def test_normalised_by_hand(text, expected):
    """NFKC, lower case, hyphens as blanks, no punctuation, single blanks."""
    assert normalised(text) == expected


def test_accuracy_by_hand():
    """Two of three agree once normalised."""
    assert accuracy([("Dog.", "dog"), ("a cat", "cat"), ("well-known", "Well known")]) == pytest.approx(2 / 3)


WORDS = ["the cat sat", "on the mat", "yes", "", "hello hello", "mat on the"]
PAIRS = [(WORDS[i], WORDS[j]) for i, j in ((0, 1), (1, 5), (3, 2), (4, 0), (2, 2))]


def test_error_rates_are_those_of_jiwer():
    """Of a whole set; answers longer than their references cannot bring the score below 0."""
    answers, references = (list(side) for side in zip(*PAIRS, strict=True))
    assert inverse_word_error_rate(PAIRS) == pytest.approx(max(0, 1 - jiwer.wer(references, answers)))
    assert inverse_character_error_rate(PAIRS) == pytest.approx(max(0, 1 - jiwer.cer(references, answers)))
    assert inverse_word_error_rate([("a b c d", "x")]) == 0.0
    assert inverse_word_error_rate([("a", "?")]) == 0.0


def test_error_rates_count_edits_as_the_recurrence_does():
    """Words and characters of two hundred random pairs, against Levenshtein's recurrence in plain loops."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        left, right = (list(rng.choice(list("abc"), rng.integers(1, 9))) for _ in "12")
        rate = max(0, 1 - distance(left, right) / len(right))
        assert inverse_word_error_rate([(" ".join(left), " ".join(right))]) == pytest.approx(rate)
        assert inverse_character_error_rate([("".join(left), "".join(right))]) == pytest.approx(rate)


def test_average_precision_is_that_of_sklearn():
    """On random hard labels, over a width in which some classes never occur, and count as 0 there."""
    rng = np.random.default_rng(1)
    names = [f"c{number}" for number in range(6)]
    true, answered = rng.random((30, 6)) < 0.4, rng.random((30, 6)) < 0.5
    true[:, 4:] = False  # two classes that the set lacks
    rows = [tuple(";".join(np.array(names)[one]) for one in pair) for pair in zip(answered, true, strict=True)]
    values = [average_precision_score(true[:, column], answered[:, column]) for column in range(4)]
    assert mean_average_precision(rows, 6) == pytest.approx(sum(values) / 6)
    assert mean_average_precision(rows) == pytest.approx(np.mean(values))


def test_perfect_answers_are_perfect_where_absent_classes_are_left_out():
    """The peer gives perfect answers 3/200 where 3 of 200 classes occur; over those that occur it is 1 (defect 8)."""
    rows = [("dog", "dog"), ("cat;dog", "dog; cat"), ("cow", "cow")]
    assert mean_average_precision(rows, 200) == pytest.approx(0.015)
    assert mean_average_precision(rows) == 1.0


def item(part, metric, answer, *references, weight="1.0"):
    example = Example(answer, answer, Path("a.wav"), "?", references, part=part)
    example = Example(**{**vars(example), "meta": {"xares_metric": metric, "xares_weight": weight}})
    several = references if len(references) > 1 else ()
    return example, Prediction(answer, answer, part, references[0], answer, {}, False, bool(answer), several)


def test_sets_and_their_mean():
    """Rows are answers, sets weigh by weight; what is not computed has a reason, and then there is no mean."""
    items = [item("a", "Accuracy", "dog", "cat", "dog"), item("b", "iWER", "x", "x", weight="3.0")]
    examples, predictions = zip(*items, strict=True)
    found = {(score.metric, score.part): score.interval.value for score in peer_scores(predictions, examples)}
    assert found == {("xares_accuracy", "a"): 0.5, ("xares_iwer", "b"): 1.0, (OVERALL, None): (0.5 + 3) / 4}
    examples, predictions = zip(*items, item("c", "FENSE", "x", "y"), strict=True)
    names = [score.metric for score in peer_scores(predictions, examples)]
    assert names == ["xares_accuracy", "xares_iwer"]
    assert peer_reasons(examples)["xares_fense:c"].startswith("it compares sentences by trained models")


def test_other_tasks_are_left_alone():
    """No such metric, no such score."""
    example = Example("a", "a", Path("a.wav"), "?", ("x",))
    prediction = Prediction("a", "a", None, "x", "x", {}, True, True)
    assert peer_scores([prediction], [example]) == ()
    assert peer_reasons([example]) == {}
