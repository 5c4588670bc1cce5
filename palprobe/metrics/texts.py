"""Texts against their references by sacrebleu, what the texts are like, and what their references cost in bits.

E is the number of items. sacrebleu's scores are sums over items put into a formula; its counts of each item are read by
the names that its own significance tests use, and a test holds them against its `corpus_score`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from palprobe.errors import ScoringError
from palprobe.metrics.words import words_of
from palprobe.types import Prediction

PERCENT = 100.0  # sacrebleu's scores are percentages

Floats = npt.NDArray[np.float64]


def bleu(predictions: Sequence[Prediction]) -> float:
    """BLEU-4 of the whole set against all references, 0 to 1: sacrebleu's number at its defaults, over 100."""
    return float(text_score("bleu", text_counts("bleu", predictions).sum(axis=0)))


def chrf(predictions: Sequence[Prediction]) -> float:
    """chrF2 of the whole set, each item against its nearest reference, 0 to 1: sacrebleu's number, over 100."""
    return float(text_score("chrf", text_counts("chrf", predictions).sum(axis=0)))


def distinct_2(predictions: Sequence[Prediction]) -> float:
    """Different pairs of neighbouring words over all pairs in the answers, 0 to 1: near 0, one sentence is said of all.

    It falls as answers are added, so only sets of one size compare.

    Raises:
        ScoringError: no answer has two words.
    """
    pairs = [pair for item in predictions for pair in pairwise(words_of(item.prediction))]
    if not pairs:
        raise ScoringError("Pairs of words need answers of two words or more; there is none here.")
    return len(set(pairs)) / len(pairs)


def mean_length(predictions: Sequence[Prediction]) -> float:
    """Words of an answer, on average."""
    totals = lengths(predictions).sum(axis=0)
    return float(totals[0] / totals[1])


def vocabulary(predictions: Sequence[Prediction]) -> float:
    """How many different words the answers hold together; it grows as answers are added."""
    return float(len({word for item in predictions for word in words_of(item.prediction)}))


def bits_per_byte(predictions: Sequence[Prediction]) -> float:
    """What all references together cost in bits under the probe, each with its end, over their bytes in UTF-8.

    It is the perplexity that does not depend on the tokeniser. A clip with more references counts for more. 0 is
    certainty; a byte told by nothing costs 8.

    Raises:
        ScoringError: the likelihood of a reference is not among the scores.
    """
    totals = code_lengths(predictions).sum(axis=0)
    return float(totals[0] / totals[1])


def lengths(predictions: Sequence[Prediction]) -> Floats:
    """(E, 2) words of each answer, and 1."""
    return np.array([[len(words_of(item.prediction)), 1] for item in predictions], dtype=np.float64)


def code_lengths(predictions: Sequence[Prediction]) -> Floats:
    """(E, 2) bits and bytes of each item's references; raises ScoringError as `bits_per_byte` does."""
    totals = []
    for item in predictions:
        answers = item.all_references
        if not all(answer in item.scores for answer in answers):
            raise ScoringError(f"Bits per byte need the likelihood of every reference, and {item.id!r} lacks one.")
        bits = -math.fsum(item.scores[answer] for answer in answers) / math.log(2)
        totals.append([bits, sum(len(answer.encode()) for answer in answers)])
    return np.array(totals, dtype=np.float64)


def text_counts(name: str, predictions: Sequence[Prediction]) -> Floats:
    """(E, counts) what sacrebleu's formula adds up over items.

    Args:
        name: bleu or chrf.
        predictions: with one reference or more each.
    """
    references = list(zip_longest(*(item.all_references for item in predictions)))  # one row for each place, or None
    answers = [item.prediction for item in predictions]
    return np.array(_formula(name)._extract_corpus_statistics(answers, references), dtype=np.float64)


def text_score(name: str, sums: Floats) -> Floats:
    """(..., counts) sums over items → (...) scores, 0 to 1."""
    formula = _formula(name)
    percent = np.apply_along_axis(
        lambda counts: formula._compute_score_from_stats(counts.astype(int).tolist()).score, -1, sums
    )
    found: Floats = np.minimum(percent / PERCENT, 1.0)  # rounding can reach 100.00000000000004
    return found


def signature(name: str, predictions: Sequence[Prediction]) -> str:
    """sacrebleu's own account of how it was computed: references, case, tokeniser, smoothing, version."""
    formula, counts = _formula(name), {len(item.all_references) for item in predictions}
    formula.num_refs = counts.pop() if len(counts) == 1 else -1  # -1: not the same for all
    return str(formula.get_signature())


def _formula(name: str) -> Any:
    from sacrebleu.metrics import BLEU, CHRF

    return BLEU(force=True) if name == "bleu" else CHRF()  # force: answers that look tokenised are no mistake of ours
