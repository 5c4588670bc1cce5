"""Error rates of transcripts: the cheapest edits from what was said to what was written, over what was said.

Both texts are read by `words_of`; the counts are jiwer's. E is the number of items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from palprobe.errors import ScoringError
from palprobe.metrics.words import words_of
from palprobe.types import Prediction

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Edits:
    """What separates one answer from its reference, in words or in characters."""

    substitutions: int
    deletions: int
    insertions: int
    length: int  # of the reference

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions


def wer(predictions: Sequence[Prediction]) -> float:
    """Word error rate of the whole set: substitutions, deletions and insertions over the words of the references.

    0 is perfect; answers longer than their references can bring it above 1; no chance level.

    Raises:
        ScoringError: the references hold no words.
    """
    return _rate(word_totals(predictions))


def cer(predictions: Sequence[Prediction]) -> float:
    """Character error rate of the whole set, one blank between words counted as a character; otherwise as `wer`.

    It is the rate to look at where a language writes no blanks.

    Raises:
        ScoringError: the references hold no words.
    """
    return _rate(character_totals(predictions))


def word_totals(predictions: Sequence[Prediction]) -> Floats:
    """(E, 2) errors and words of each item; raises ScoringError as `wer` does."""
    return _totals(predictions, word_edits)


def character_totals(predictions: Sequence[Prediction]) -> Floats:
    """(E, 2) errors and characters of each item; raises ScoringError as `cer` does."""
    return _totals(predictions, character_edits)


def word_edits(prediction: Prediction) -> Edits:
    """The counts of one answer against its (first) reference."""
    import jiwer

    reference, answer = words_of(prediction.reference), words_of(prediction.prediction)
    if not reference:  # each library has its own view of an empty reference; ours: every word is one too many
        return Edits(0, 0, len(answer), 0)
    found = jiwer.process_words(" ".join(reference), " ".join(answer))
    return Edits(found.substitutions, found.deletions, found.insertions, len(reference))


def character_edits(prediction: Prediction) -> Edits:
    """The counts of one answer against its (first) reference, in characters."""
    import jiwer

    reference, answer = (" ".join(words_of(text)) for text in (prediction.reference, prediction.prediction))
    if not reference:
        return Edits(0, 0, len(answer), 0)
    found = jiwer.process_characters(reference, answer)
    return Edits(found.substitutions, found.deletions, found.insertions, len(reference))


def _totals(predictions: Sequence[Prediction], edits: Callable[[Prediction], Edits]) -> Floats:
    found = [edits(prediction) for prediction in predictions]
    totals = np.array([[each.errors, each.length] for each in found], dtype=np.float64)
    if not totals[:, 1].any():
        raise ScoringError("A word error rate needs words, and the references here hold none.")
    return totals


def _rate(totals: Floats) -> float:
    errors, length = totals.sum(axis=0)
    return float(errors / length)
