"""Predictions → scores with intervals, for the whole task and for each question type in it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from statistics import fmean
from types import MappingProxyType
from typing import Any

from palprobe.errors import ScoringError
from palprobe.metrics import METRICS, NOT_COMPUTED, ON_REQUEST
from palprobe.metrics.ranking import table_of
from palprobe.metrics.texts import signature
from palprobe.metrics.transcripts import word_edits
from palprobe.metrics.words import NORMALISER
from palprobe.stats import NO_INTERVAL
from palprobe.stats.intervals import metric_interval
from palprobe.tasks.kinds import KINDS
from palprobe.types import Example, Interval, Prediction, Score

# Metrics that other programs and models have a part in, and what is to be known of it.
MADE_OF = MappingProxyType(
    {
        "meteor": {"version": "1.5, en, -norm", "tokeniser": NORMALISER, "references": "the nearest"},
        "sbert_similarity": {"pooling": "mean", "references": "their mean"},
        "bertscore": {"idf": False, "baseline": None, "references": "the one that gives most"},
    }
)
LOOKED_AT = frozenset({"invalid_rate"})  # a rate that nobody compares: no interval


def score_predictions(
    predictions: Sequence[Prediction],
    examples: Sequence[Example],
    *,
    draws: int,
    metrics: Sequence[str] = KINDS["classification"].metrics,
    on_absent: Callable[[str, str], object] | None = None,
) -> tuple[Score, ...]:
    """The task's metrics, of the whole and of each part; one that cannot be computed has no score, never a 0.

    Args:
        predictions: one for each example, in the same order.
        examples: what was asked; their choices give the level of chance.
        draws: of the bootstrap.
        metrics: names in `METRICS`; those of the task's kind.
        on_absent: gets each metric that cannot be computed ("map", or "map of PART") and why; by default a warning.
    """
    tell = on_absent or (lambda metric, reason: warnings.warn(f"{metric}: {reason}", stacklevel=3))
    parts: list[str | None] = [None, *sorted({example.part for example in examples if example.part is not None})]
    scores: list[Score] = []
    for part in parts:
        among = [number for number, example in enumerate(examples) if part in (None, example.part)]
        chosen, asked = [predictions[number] for number in among], [examples[number] for number in among]
        for metric in _asked_for(metrics, predictions):
            try:
                scores.append(_score(metric, part, chosen, asked, draws))
            except ScoringError as error:
                tell(metric if part is None else f"{metric} of {part}", str(error))
    return tuple(scores)


def made_of(predictions: Sequence[Prediction], scores: Sequence[Score]) -> dict[str, Any]:
    """What a result says of its scores beside their values: how texts were read, which classes were ranked.

    Args:
        predictions: of the whole test set.
        scores: computed of them.
    """
    computed = {score.metric for score in scores if score.part is None}
    found: dict[str, Any] = {}
    if "wer" in computed:
        found |= {"word_errors": word_error_counts(predictions), "word_normaliser": NORMALISER}
    if "cider_d" in computed:
        found["cider_d"] = {"tokeniser": NORMALISER, "weights": f"references of these {len(predictions)} items"}
    found |= {name: {"signature": signature(name, predictions)} for name in ("bleu", "chrf") if name in computed}
    found |= {name: said for name, said in MADE_OF.items() if name in computed}
    if "map" in computed:
        table = table_of(predictions)
        found["classes"] = {"ranked": len(table.columns), "left_out": list(table.left_out)}
    return found


def not_computed(metrics: Sequence[str]) -> dict[str, str]:
    """Metrics that one may look for beside these, and why they are not there."""
    return dict(NOT_COMPUTED) if "cider_d" in metrics else {}


def word_error_counts(predictions: Sequence[Prediction]) -> dict[str, int]:
    """What a word error rate is made of: each kind of error, and the words of the references."""
    edits = [word_edits(prediction) for prediction in predictions]
    return {
        "substitutions": sum(found.substitutions for found in edits),
        "deletions": sum(found.deletions for found in edits),
        "insertions": sum(found.insertions for found in edits),
        "words": sum(found.length for found in edits),
    }


def chance(examples: Sequence[Example]) -> float | None:
    """Expected accuracy of a uniform guess among the choices; None where a question is open."""
    if not all(example.choices for example in examples):
        return None
    return fmean(len(set(example.references)) / len(example.choices) for example in examples)


def _asked_for(metrics: Sequence[str], predictions: Sequence[Prediction]) -> list[str]:
    """The metrics without those that nobody asked for."""
    nearest = any(prediction.nearest is not None for prediction in predictions)
    return [metric for metric in metrics if nearest or metric not in ON_REQUEST]


def _score(metric: str, part: str | None, chosen: Sequence[Prediction], asked: Sequence[Example], draws: int) -> Score:
    interval = None
    if metric not in LOOKED_AT and len({prediction.group for prediction in chosen}) > 1:
        interval = metric_interval(metric, [chosen], draws=draws)
    if interval is None or interval.method == NO_INTERVAL:  # one recording has no interval either
        value = float(METRICS.load(metric)(chosen)) if interval is None else interval.value
        interval = Interval(value, value, value, NO_INTERVAL)
    invalid = sum(not prediction.valid for prediction in chosen)
    return Score(metric, part, interval, len(chosen), invalid, _chance(metric, asked))


def _chance(metric: str, asked: Sequence[Example]) -> float | None:
    """Of the metrics that have a level of chance; balanced accuracy where every question has as many choices."""
    balanced = metric == "balanced_accuracy" and len({len(each.choices) for each in asked}) == 1
    return chance(asked) if balanced or metric in ("accuracy", "embedding_accuracy") else None
