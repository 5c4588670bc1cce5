"""What is computed over the predictions of one test set: a function and a line in `METRICS` each."""

from __future__ import annotations

from collections.abc import Sequence

from palprobe.registry import Part, Registry
from palprobe.types import Prediction

METRICS = Registry(
    "metric",
    {
        "accuracy": Part("palprobe.metrics:accuracy", "share of right answers"),
        "macro_f1": Part("palprobe.metrics:macro_f1", "F1 of each class, averaged over the classes"),
        "invalid_rate": Part("palprobe.metrics:invalid_rate", "share of answers that are no choice"),
    },
)


def accuracy(predictions: Sequence[Prediction]) -> float:
    """Share of right answers, 0 to 1; chance is 1 / K for K equally frequent choices. Invalid ones are wrong."""
    return sum(prediction.correct for prediction in predictions) / len(predictions)


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
