"""Predictions → scores with intervals, for the whole task and for each question type in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import fmean

from palprobe.metrics import METRICS, word_errors
from palprobe.stats import accuracy_interval, macro_f1_interval, wer_interval
from palprobe.tasks.kinds import KINDS
from palprobe.types import Example, Interval, Prediction, Score

NO_INTERVAL = "none"  # method of a score that no interval was computed for

INTERVALS: dict[str, Callable[[Sequence[Prediction], int], Interval]] = {
    "accuracy": accuracy_interval,
    "macro_f1": macro_f1_interval,
    "wer": wer_interval,
}


def score_predictions(
    predictions: Sequence[Prediction],
    examples: Sequence[Example],
    *,
    draws: int,
    metrics: Sequence[str] = KINDS["classification"].metrics,
) -> tuple[Score, ...]:
    """The task's metrics, of the whole and of each part.

    Args:
        predictions: one for each example, in the same order.
        examples: what was asked; their choices give the level of chance.
        draws: of the bootstrap.
        metrics: names in `METRICS`; those of the task's kind.
    """
    parts: list[str | None] = [None, *sorted({example.part for example in examples if example.part is not None})]
    scores: list[Score] = []
    for part in parts:
        among = [number for number, example in enumerate(examples) if part in (None, example.part)]
        chosen = [predictions[number] for number in among]
        level = chance([examples[number] for number in among])
        scores += [_score(metric, part, chosen, level, draws) for metric in metrics]
    return tuple(scores)


def word_error_counts(predictions: Sequence[Prediction]) -> dict[str, int]:
    """What a word error rate is made of: each kind of error, and the words of the references."""
    counts = [asdict(word_errors(prediction)) for prediction in predictions]
    return {name: sum(count[name] for count in counts) for name in counts[0]}


def chance(examples: Sequence[Example]) -> float | None:
    """Expected accuracy of a uniform guess among the choices; None where a question is open."""
    if not all(example.choices for example in examples):
        return None
    return fmean(1 / len(example.choices) for example in examples)


def _score(metric: str, part: str | None, chosen: Sequence[Prediction], level: float | None, draws: int) -> Score:
    if metric in INTERVALS and len({prediction.group for prediction in chosen}) > 1:
        interval = INTERVALS[metric](chosen, draws)
    else:  # a rate that is only looked at, or one recording, which has no interval
        value = float(METRICS.load(metric)(chosen))
        interval = Interval(value, value, value, NO_INTERVAL)
    invalid = sum(not prediction.valid for prediction in chosen)
    return Score(metric, part, interval, len(chosen), invalid, level if metric == "accuracy" else None)
