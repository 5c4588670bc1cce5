"""Average precision and d' of clips with several labels, against scikit-learn and by hand."""

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from palprobe.errors import ScoringError
from palprobe.metrics.ranking import d_prime, d_prime_of, map_of, mean_average_precision, table_of
from palprobe.types import Prediction

CLASSES = ("bell", "cat", "dog", "rain, heavy")


def ranked(labels: list[set[str]], scores: list[dict[str, float]]) -> list[Prediction]:
    """One clip for each set of labels, with those scores."""
    return [
        Prediction(str(n), str(n), None, sorted(has)[0], max(told, key=told.get), told, False, True, tuple(sorted(has)))
        for n, (has, told) in enumerate(zip(labels, scores, strict=True))
    ]


def at_random(seed: int, num_clips: int = 60) -> list[Prediction]:
    """Scores rounded so that many tie; each clip has one or two labels, which score a little higher."""
    rng = np.random.default_rng(seed)
    labels = [set(rng.choice(CLASSES, size=1 + clip % 2, replace=False).tolist()) for clip in range(num_clips)]
    scores = [{label: round(float(rng.normal() + (label in has)), 1) for label in CLASSES} for has in labels]
    return ranked(labels, scores)


def matrices(items: list[Prediction]) -> tuple[np.ndarray, np.ndarray]:
    has = np.array([[label in item.references for label in CLASSES] for item in items])
    return has, np.array([[item.scores[label] for label in CLASSES] for item in items])


@pytest.mark.parametrize("seed", range(3))
def test_map_and_d_prime_agree_with_scikit_learn(seed):
    """With ties, macro mAP is scikit-learn's, and d' is root two times the quantile of its macro AUC."""
    items = at_random(seed)
    has, scores = matrices(items)
    assert mean_average_precision(items) == pytest.approx(average_precision_score(has, scores, average="macro"))
    assert d_prime(items) == pytest.approx(math.sqrt(2) * norm.ppf(roc_auc_score(has, scores, average="macro")))


def test_weights_count_clips_as_often():
    """A draw in which clips stand 0 to 3 times has scikit-learn's values with those weights."""
    items = at_random(9)
    has, scores = matrices(items)
    weights = np.random.default_rng(0).integers(0, 4, size=(5, len(items))).astype(float)
    table = table_of(items)
    for row, found, other in zip(weights, map_of(table, weights.T), d_prime_of(table, weights.T), strict=True):
        macro = average_precision_score(has, scores, average="macro", sample_weight=row)
        area = roc_auc_score(has, scores, average="macro", sample_weight=row)
        assert found == pytest.approx(macro)
        assert other == pytest.approx(math.sqrt(2) * norm.ppf(area))


def test_map_by_hand():
    """Three clips, cat on the first and third place: (1/1 + 2/3) / 2; dog on the second of three: 1/2."""
    scores = [{"cat": 3.0, "dog": 1.0}, {"cat": 2.0, "dog": 2.0}, {"cat": 1.0, "dog": 3.0}]
    items = ranked([{"cat"}, {"dog"}, {"cat"}], scores)
    assert mean_average_precision(items) == pytest.approx((5 / 6 + 1 / 2) / 2)


def test_classes_that_cannot_be_ranked_are_left_out_and_named():
    """A label that no clip has and one that all have are no zeros in the mean: only cat and dog make it."""
    scores = [{"all": -1.0, "cat": 2.0, "dog": 1.0, "none": 0.0}, {"all": -1.0, "cat": 1.0, "dog": 2.0, "none": 0.0}]
    items = ranked([{"all", "cat"}, {"all", "dog"}], scores)
    assert table_of(items).left_out == ("all", "none")
    assert mean_average_precision(items) == 1.0


def test_a_draw_without_a_class_leaves_it_out():
    """With no dog drawn, the mean is cat's alone; with neither, there is none."""
    items = ranked([{"cat"}, {"dog"}, {"bell"}], [{"bell": 0.0, "cat": 0.0, "dog": float(n)} for n in range(3)])
    found = map_of(table_of(items), np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 3.0]]).T)
    assert found[0] == pytest.approx(1 / 2)  # bell and cat, each tied with the one other clip
    assert math.isnan(found[1])


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (ranked([{"cat"}, {"cat"}], [{"cat": 1.0, "dog": 0.0}] * 2), "a class that some clips have and some lack"),
        (ranked([{"cat"}, {"dog"}], [{"cat": 1.0, "dog": 0.0}, {"cat": 1.0}]), "'1' lacks some"),
    ],
)
def test_what_cannot_be_ranked_is_refused(items, words):
    """One class alone, or a clip without a score of each class: a reason, and no number."""
    for metric in (mean_average_precision, d_prime):
        with pytest.raises(ScoringError, match=words):
            metric(items)


def test_generated_answers_cannot_be_ranked():
    """Text has no scores."""
    with pytest.raises(ScoringError, match="lacks some"):
        mean_average_precision([Prediction("1", "1", None, "cat", "cat", {}, True, True)])


def test_a_perfect_ranking_has_no_d_prime():
    """d' would be infinite, which is no score; mAP is 1."""
    items = ranked([{"cat"}, {"dog"}], [{"cat": 1.0, "dog": 0.0}, {"cat": 0.0, "dog": 1.0}])
    assert mean_average_precision(items) == 1.0
    with pytest.raises(ScoringError, match="infinite"):
        d_prime(items)
