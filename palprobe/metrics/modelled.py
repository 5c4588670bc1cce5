"""What other models make of texts: stored with each item when the texts were written, so that it needs them no more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from palprobe.errors import ScoringError
from palprobe.types import Prediction

Floats = npt.NDArray[np.float64]

# The recipe's key without which nothing is stored.
KEYS = {
    "embedding_accuracy": "scoring.embedder",
    "sbert_similarity": "scoring.embedder",
    "bertscore": "scoring.bertscore_model",
}


def embedding_accuracy(predictions: Sequence[Prediction]) -> float:
    """Share of written answers whose nearest choice, by the embeddings of both, is right; 0 to 1.

    No answer is invalid: each has a nearest choice. It stands beside strict reading for comparison with papers.

    Raises:
        ScoringError: no embedder was named when the texts were written.
    """
    return float(nearest_are_right(predictions).mean())


def sbert_similarity(predictions: Sequence[Prediction]) -> float:
    """Cosine of the embeddings of an answer and of each of its references, averaged; -1 to 1.

    Raises:
        ScoringError: as `embedding_accuracy`.
    """
    return float(values_of("sbert_similarity", predictions)[:, 0].mean())


def bertscore(predictions: Sequence[Prediction]) -> float:
    """F1 of the BERTScore of each answer with the reference that gives most, averaged; up to 1.

    Raises:
        ScoringError: no model was named when the texts were written.
    """
    return float(values_of("bertscore", predictions)[:, 0].mean())


def nearest_are_right(predictions: Sequence[Prediction]) -> npt.NDArray[np.bool_]:
    """(E,) whether each item's nearest choice is one of its references."""
    if any(item.nearest is None for item in predictions):
        raise _absent("embedding_accuracy")
    return np.array([item.nearest in item.all_references for item in predictions])


def values_of(metric: str, predictions: Sequence[Prediction]) -> Floats:
    """(E, 2) the value of each item, and 1."""
    if any(len(item.measures.get(metric, ())) != 1 for item in predictions):
        raise _absent(metric)
    return np.array([[item.measures[metric][0], 1] for item in predictions], dtype=np.float64)


def _absent(metric: str) -> ScoringError:
    return ScoringError(f"it needs a local model: --set {KEYS[metric]}=FOLDER")
