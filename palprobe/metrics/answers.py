"""Right and wrong answers: shares of them, over all items and over classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from palprobe.types import Prediction


def accuracy(predictions: Sequence[Prediction]) -> float:
    """Share of right answers, 0 to 1; chance is 1 / K for K equally frequent choices. Invalid ones are wrong.

    Of a clip with several labels, each of them is a right answer.
    """
    return sum(prediction.correct for prediction in predictions) / len(predictions)


def balanced_accuracy(predictions: Sequence[Prediction]) -> float:
    """Accuracy in each class that occurs among the references, averaged: a rare class counts as much as a frequent one.

    Range 0 to 1; chance with K choices is 1 / K however frequent each is.
    """
    asked: Counter[str] = Counter(prediction.reference for prediction in predictions)
    right = Counter(prediction.reference for prediction in predictions if prediction.correct)
    return fmean(right[label] / count for label, count in asked.items())


def macro_f1(predictions: Sequence[Prediction]) -> float:
    """F1 of each class that occurs among the references, averaged: a rare class counts as much as a frequent one.

    Range 0 to 1. Chance with K balanced classes: 1 / K for uniform guessing, 2 / (K (K + 1)) for a constant answer.
    """
    from sklearn.metrics import f1_score

    references = [prediction.reference for prediction in predictions]
    answers = [answered_class(prediction) for prediction in predictions]
    return float(f1_score(references, answers, labels=sorted(set(references)), average="macro", zero_division=0))


def invalid_rate(predictions: Sequence[Prediction]) -> float:
    """Share of generated answers that are no choice, 0 to 1; no chance level. 0 by construction under likelihood."""
    return sum(not prediction.valid for prediction in predictions) / len(predictions)


def answered_class(prediction: Prediction) -> str:
    """The class an answer stands for: that of the reference where it was judged right ('Dog.' for 'dog')."""
    return prediction.reference if prediction.correct else prediction.prediction
