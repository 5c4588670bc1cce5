"""Clips ranked by how likely each label is of them: average precision and d', class by class.

Shape letters: E clips, P clips with a class, R draws (columns of weights). A weight is how often a clip counts, so that
a bootstrap needs no copies of clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from palprobe.errors import ScoringError
from palprobe.types import Prediction

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Column:
    """The clips of one class, best first; what several share by a tie, all of them reach."""

    order: Indices  # (E,)
    positives: Indices  # (P,) clips that have the class, best first
    above: Indices  # (P,) clips that score higher than each of those
    reached: Indices  # (P,) clips that score as high or higher
    positives_above: Indices  # (P,) of `above`, those that have the class
    positives_reached: Indices  # (P,)


@dataclass(frozen=True, eq=False)
class Table:
    """A ranking for each class that some clips have and some lack."""

    columns: tuple[Column, ...]
    left_out: tuple[str, ...]  # classes that no clip has, or every clip


def table_of(predictions: Sequence[Prediction]) -> Table:
    """The rankings by the scores of the predictions: log likelihoods, or what a rule makes of them.

    Raises:
        ScoringError: an item lacks scores, or has those of other classes than the first; or no class can be ranked.
    """
    classes = tuple(sorted(predictions[0].scores))
    for item in predictions:
        if not item.scores or item.scores.keys() != predictions[0].scores.keys():
            raise ScoringError(f"Ranking needs a score of each class for every clip; {item.id!r} lacks some.")
    columns, left_out = [], []
    for label in classes:
        scores = np.array([item.scores[label] for item in predictions], dtype=np.float64)
        has = np.array([label in item.all_references for item in predictions])
        if has.all() or not has.any():
            left_out.append(label)
        else:
            columns.append(_column(scores, has))
    if not columns:
        raise ScoringError("Ranking needs a class that some clips have and some lack; there is none here.")
    return Table(tuple(columns), tuple(left_out))


def mean_average_precision(predictions: Sequence[Prediction]) -> float:
    """Average precision of each class, averaged over the classes that some clips have and some lack (macro mAP).

    Range 0 to 1; chance is about the mean share of clips that have a class. A class that cannot be ranked is left out
    of the mean and counted in result.json, never a 0.

    Raises:
        ScoringError: as `table_of`.
    """
    return _of_all(predictions, map_of)


def d_prime(predictions: Sequence[Prediction]) -> float:
    """d': the square root of 2 times the normal quantile of the mean area under the ROC curve of the classes.

    0 is chance.

    Raises:
        ScoringError: as `table_of`; or every ranking is perfect, or each is upside down, and d' has no end.

    Source: Hershey et al. (2017), arXiv 1609.09430; the mean goes before the quantile, as in most AudioSet results.
    """
    value = _of_all(predictions, d_prime_of)
    if not math.isfinite(value):
        raise ScoringError("d' is infinite: each class is ranked without a fault, or with nothing but faults.")
    return value


def map_of(table: Table, weights: Floats) -> Floats:
    """(E, R) weights → (R,) macro mAP of each draw, over the classes that the draw has; nan without any."""
    return _macro(table, weights, _average_precision)


def d_prime_of(table: Table, weights: Floats) -> Floats:
    """(E, R) weights → (R,) d' of each draw; infinite where all is ranked perfectly."""
    from scipy.special import ndtri

    found: Floats = math.sqrt(2) * ndtri(_macro(table, weights, _area))
    return found


def _of_all(predictions: Sequence[Prediction], measure: Callable[[Table, Floats], Floats]) -> float:
    return float(measure(table_of(predictions), np.ones((len(predictions), 1)))[0])


def _column(scores: Floats, has: npt.NDArray[np.bool_]) -> Column:
    order = np.argsort(-scores, kind="stable")
    places = np.flatnonzero(has[order])  # (P,) of the positives in the order
    falling = -scores[order]
    above = np.searchsorted(falling, falling[places], side="left")
    reached = np.searchsorted(falling, falling[places], side="right")
    return Column(
        order, order[places], above, reached, np.searchsorted(places, above), np.searchsorted(places, reached)
    )


def _macro(table: Table, weights: Floats, measure: Callable[[Column, Floats], Floats]) -> Floats:
    """(R,) mean over the classes that have a value in the draw."""
    total, count = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    for column in table.columns:
        values = measure(column, weights)  # (R,)
        known = np.isfinite(values)
        total += np.where(known, values, 0.0)
        count += known
    return _ratio(total, count, where=count > 0)


def _average_precision(column: Column, weights: Floats) -> Floats:
    """(R,) sum of precision at each positive, over the positives; nan where the draw has none, or nothing else."""
    clips, positives = _running(weights[column.order]), weights[column.positives]
    hits = _running(positives)[column.positives_reached]  # (P, R)
    precision = hits / np.maximum(clips[column.reached], 1)
    count = positives.sum(axis=0)
    return _ratio((positives * precision).sum(axis=0), count, where=count * (clips[-1] - count) > 0)


def _area(column: Column, weights: Floats) -> Floats:
    """(R,) share of pairs of a clip with the class and one without that are in the right order, ties by half."""
    clips, positives = _running(weights[column.order]), weights[column.positives]
    hits = _running(positives)
    above = clips[column.above] - hits[column.positives_above]  # (P, R) clips without the class that score higher
    reached = clips[column.reached] - hits[column.positives_reached]
    count, others = hits[-1], clips[-1] - hits[-1]
    right = (positives * (others - (above + reached) / 2)).sum(axis=0)
    return _ratio(right, count * others, where=count * others > 0)


def _running(weights: Floats) -> Floats:
    """(N, R) → (N + 1, R): what the first so many add up to."""
    return np.concatenate([np.zeros((1, weights.shape[1])), np.cumsum(weights, axis=0)])


def _ratio(total: Floats, count: Floats, *, where: npt.NDArray[np.bool_]) -> Floats:
    """nan elsewhere: the draw lacks clips with the class, or without it."""
    result: Floats = np.divide(total, count, out=np.full(len(total), np.nan), where=where)
    return result
