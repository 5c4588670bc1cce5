"""Predictions → scores with intervals, for the whole task and for each question type in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from palprobe.metrics import METRICS
from palprobe.stats import accuracy_interval, macro_f1_interval
from palprobe.types import Example, Interval, Prediction, Score

NO_INTERVAL = "none"  # method of a score that no interval was computed for

INTERVALS: dict[str, Callable[[Sequence[Prediction], int], Interval]] = {
    "accuracy": accuracy_interval,
    "macro_f1": macro_f1_interval,
}


def score_predictions(
    predictions: Sequence[Prediction], examples: Sequence[Example], *, draws: int
) -> tuple[Score, ...]:
    """Every metric of the whole task and of each part.

    Args:
        predictions: one for each example, in the same order.
        examples: what was asked; their choices give the level of chance.
        draws: of the bootstrap.
    """
    parts: list[str | None] = [None, *sorted({example.part for example in examples if example.part is not None})]
    scores: list[Score] = []
    for part in parts:
        among = [number for number, example in enumerate(examples) if part in (None, example.part)]
        chosen = [predictions[number] for number in among]
        level = chance([examples[number] for number in among])
        scores += [_score(metric, part, chosen, level, draws) for metric in METRICS.parts]
    return tuple(scores)


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
