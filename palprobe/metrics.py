"""What is computed over the predictions of one test set: a function and a line in `METRICS` each.

A kind of task names those that it is scored by (`tasks/kinds.py`); the order here is that of headlines.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from palprobe.errors import ScoringError
from palprobe.registry import Part, Registry
from palprobe.types import Prediction

METRICS = Registry(
    "metric",
    {
        "accuracy": Part("palprobe.metrics:accuracy", "share of right answers"),
        "macro_f1": Part("palprobe.metrics:macro_f1", "F1 of each class, averaged over the classes"),
        "wer": Part("palprobe.metrics:wer", "word error rate, of transcripts; lower is better"),
        "invalid_rate": Part("palprobe.metrics:invalid_rate", "share of answers that are no choice"),
    },
)
LOWER_IS_BETTER = frozenset({"wer", "invalid_rate"})
NORMALISER = "words: lower case, punctuation and symbols off, apostrophes kept inside words"  # what `words_of` does


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


def wer(predictions: Sequence[Prediction]) -> float:
    """Word error rate of the whole set: substitutions, deletions and insertions over the words of the references.

    0 is perfect; answers longer than their references can bring it above 1; no chance level. Both texts are read by
    `words_of`. The counts are jiwer's, of the cheapest alignment.
    """
    errors = [word_errors(prediction) for prediction in predictions]
    total = sum(found.words for found in errors)
    if not total:
        raise ScoringError("A word error rate needs words, and the references here hold none.")
    return sum(found.errors for found in errors) / total


@dataclass(frozen=True)
class WordErrors:
    """What separates one answer from its reference, in words."""

    substitutions: int
    deletions: int
    insertions: int
    words: int  # of the reference

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions


def word_errors(prediction: Prediction) -> WordErrors:
    """The counts of one answer against its (first) reference."""
    import jiwer

    reference, answer = words_of(prediction.reference), words_of(prediction.prediction)
    if not reference:  # each library has its own view of an empty reference; ours: every word is one too many
        return WordErrors(0, 0, len(answer), 0)
    found = jiwer.process_words(" ".join(reference), " ".join(answer))
    return WordErrors(found.substitutions, found.deletions, found.insertions, len(reference))


def words_of(text: str) -> list[str]:
    """Lower-case words of letters, marks and digits, with the apostrophes inside them: "He's, um, 30!" → he's um 30."""
    plain = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    kept = "".join(letter if letter == "'" or unicodedata.category(letter)[0] in "LMN" else " " for letter in plain)
    return [word for word in (part.strip("'") for part in kept.split()) if word]
