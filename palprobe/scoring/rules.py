"""Rules by which the choices of a closed question are ranked, computed from stored scores; no model is needed.

`Prediction.scores` keeps the raw sums under every rule: a rule decides the prediction and whether it is right.

    sum               log P(choice, end | audio, prompt). The default: it is the probability that training maximises,
                      and the end makes labels of unlike length comparable: a trained probe has nothing to correct
    per-byte          the sum over the UTF-8 bytes of the choice: tokenisers do not matter, long choices do not lose.
                      For LLMs that are hardly trained, on choices of very unlike length
    audio-pmi         the sum minus that under null audio: what the audio adds, item by item (ours). For questions whose
                      wording gives answers away
    batch-calibrated  log p(choice), normalised over the choices, minus the log of its mean over the evaluated items
                      that have the same choices and part, whatever their prompts (Zhou et al. 2024, arXiv 2309.17249).
                      It needs no labels, but takes choices to be equally frequent: on skewed sets it costs accuracy
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from palprobe.errors import ScoringError
from palprobe.recipe.scoring import Rule
from palprobe.types import Prediction

Scores = Mapping[str, float]


def by_rule(predictions: Sequence[Prediction], rule: Rule) -> list[Prediction]:
    """The predictions with the answers that a rule gives; of equally ranked choices the first.

    Null scores are kept where the rule reads them, and dropped where it does not.

    Raises:
        ScoringError: the rule needs what the predictions do not hold.
    """
    ruled = zip(predictions, ranked_by(predictions, rule), strict=True)
    return [_answered(prediction, scores, keep=rule == "audio-pmi") for prediction, scores in ruled]


def ranked_by(predictions: Sequence[Prediction], rule: Rule) -> list[Scores]:
    """What a rule ranks each item's choices by.

    Raises:
        ScoringError: see `by_rule`.
    """
    return RULES[rule](predictions)


def _answered(prediction: Prediction, ranked: Scores, *, keep: bool) -> Prediction:
    answer = max(ranked, key=ranked.__getitem__)
    right = prediction.references or (prediction.reference,)
    null = prediction.null_scores if keep else {}
    return replace(prediction, prediction=answer, correct=answer in right, null_scores=null)


def _sum(predictions: Sequence[Prediction]) -> list[Scores]:
    return [prediction.scores for prediction in predictions]


def _per_byte(predictions: Sequence[Prediction]) -> list[Scores]:
    return [{choice: score / len(choice.encode()) for choice, score in p.scores.items()} for p in predictions]


def _audio_pmi(predictions: Sequence[Prediction]) -> list[Scores]:
    for prediction in predictions:
        if prediction.null_scores.keys() != prediction.scores.keys():
            raise ScoringError(
                f"{prediction.id!r} has no scores under null audio, which audio-pmi subtracts. They take the model: "
                "run `palprobe eval RUN --set scoring.rule=audio-pmi` without --rescore."
            )
    return [{choice: score - p.null_scores[choice] for choice, score in p.scores.items()} for p in predictions]


def _batch_calibrated(predictions: Sequence[Prediction]) -> list[Scores]:
    batches: dict[tuple[str | None, frozenset[str]], list[int]] = defaultdict(list)
    for number, prediction in enumerate(predictions):
        batches[prediction.part, frozenset(prediction.scores)].append(number)
    ranked: dict[int, Scores] = {}
    for numbers in batches.values():
        if len(numbers) == 1:
            raise ScoringError(
                f"batch-calibrated compares items that share their choices, and no other item has those of "
                f"{predictions[numbers[0]].id!r}. Use --set scoring.rule=audio-pmi, or sum."
            )
        logs = [_normalised(predictions[number].scores) for number in numbers]
        prior = {choice: _log_sum([log[choice] for log in logs]) - math.log(len(logs)) for choice in logs[0]}
        for number, log in zip(numbers, logs, strict=True):
            ranked[number] = {choice: value - prior[choice] for choice, value in log.items()}
    return [ranked[number] for number in range(len(predictions))]


def _normalised(scores: Scores) -> Scores:
    """Log probabilities among the choices."""
    total = _log_sum(list(scores.values()))
    return {choice: score - total for choice, score in scores.items()}


def _log_sum(logs: Sequence[float]) -> float:
    largest = max(logs)
    return largest + math.log(math.fsum(math.exp(log - largest) for log in logs))


RULES: Mapping[Rule, Callable[[Sequence[Prediction]], list[Scores]]] = {
    "sum": _sum,
    "per-byte": _per_byte,
    "audio-pmi": _audio_pmi,
    "batch-calibrated": _batch_calibrated,
}
