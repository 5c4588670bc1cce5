"""result.json and predictions.jsonl: what they say of the answers and their reading, and how both are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from palprobe.evaluation.predictions import PREDICTIONS, written
from palprobe.evaluation.results import RESULT, USUAL, Evaluation
from palprobe.evaluation.scores import MADE_OF, made_of, not_computed, score_predictions
from palprobe.evaluation.xares import peer_reasons, peer_scores
from palprobe.files import write_json, write_text
from palprobe.recipe.scoring import ScoringSection
from palprobe.types import Example, Prediction, Score

PARSERS = {"strict": "trim and ignore case", "contains": "trim and ignore case; one choice among the words"}
# What `answers` may say.
SOMETIMES = ("rule", "word_errors", "word_normaliser", "cider_d", "bleu", "chrf", "classes", *MADE_OF)


def answers(
    evaluation: Evaluation,
    predictions: Sequence[Prediction],
    examples: Sequence[Example],
    metrics: Sequence[str],
    *,
    reasons: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """What result.json says of the answers: scores, and how they were read.

    Args:
        evaluation: whose predictions these are.
        predictions: one for each example.
        examples: what was asked.
        metrics: names in `METRICS`.
        reasons: why some of them got nothing to compute of.
    """
    absent: dict[str, str] = {}
    scores = score_predictions(
        predictions,
        examples,
        draws=evaluation.section.bootstrap_draws,
        metrics=metrics,
        on_absent=absent.__setitem__,
    )
    return {
        "identity": evaluation.identity,
        "split": evaluation.split,
        "scoring": evaluation.scoring,
        "control": evaluation.control,
        "scores": [_score(score) for score in (*scores, *peer_scores(predictions, examples))],
        **_reading(evaluation.section),
        **made_of(predictions, scores),
        "not_computed": not_computed(metrics) | absent | dict(reasons) | peer_reasons(examples),
    }


def write(folder: Path, predictions: Sequence[Prediction], result: dict[str, Any]) -> None:
    """Both files, result.json last; predictions that are there already, to the byte, stay beside it all the time."""
    path, content = folder / PREDICTIONS, written(predictions)
    if not path.is_file() or path.read_bytes() != content.encode():
        (folder / RESULT).unlink(missing_ok=True)  # or new predictions would stand beside an old result
        write_text(path, content)
    write_json(folder / RESULT, result)


def _reading(section: ScoringSection) -> dict[str, Any]:
    if section.method == "likelihood":
        return {"normaliser": "none"} | ({} if section.rule == USUAL.rule else {"rule": section.rule})
    return {"normaliser": PARSERS[section.parse]}


def _score(score: Score) -> dict[str, Any]:
    return {
        "metric": score.metric,
        "part": score.part,
        "score": score.interval.value,
        "ci_low": score.interval.low,
        "ci_high": score.interval.high,
        "ci_method": score.interval.method,
        "n": score.n,
        "n_invalid": score.n_invalid,
        "chance": score.chance,
    }
