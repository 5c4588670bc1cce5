"""Scores as xares-llm computes them: each set of an evaluation file by the metric that it names, and their mean.

They stand beside palprobe's own, for comparison with published numbers. Where an item has several answers, each is a
row of its own, as there. What its sources at hand leave open is ours: all punctuation of Unicode is stripped.
"""

from __future__ import annotations

import string
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from palprobe.stats import NO_INTERVAL
from palprobe.tasks.xares import CLASSES, METRIC, WEIGHT
from palprobe.tasks.xares_yaml import NOT_COMPUTED
from palprobe.types import Example, Interval, Prediction, Score

PREFIX = "xares_"  # of these metrics' names
OVERALL = f"{PREFIX}mean_of_mixed_metrics"
Row = tuple[str, str]  # prediction, reference


def peer_scores(predictions: Sequence[Prediction], examples: Sequence[Example]) -> tuple[Score, ...]:
    """One score for each set of an evaluation file of xares-llm, and their weighted mean; none for other tasks.

    Args:
        predictions: one for each example, in the same order.
        examples: their `meta` says how each set is judged.
    """
    sets: dict[str, list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        if METRIC in example.meta and example.part is not None:
            sets[example.part].append(number)
    scores: list[Score] = []
    weighted: list[tuple[float, float]] = []
    for part, numbers in sets.items():
        about = examples[numbers[0]].meta
        chosen = [predictions[number] for number in numbers]
        rows = [(_answer(one), text) for one in chosen for text in one.references or (one.reference,)]
        if (value := _judged(about, rows)) is None:
            continue
        scores.append(_score(about[METRIC].lower(), part, value, chosen))
        weighted.append((float(about[WEIGHT]), value))
        if about[METRIC] == "mAP":
            scores.append(_score("map_of_present_classes", part, mean_average_precision(rows), chosen))
    total = sum(weight for weight, _ in weighted)
    if total and len(weighted) == len(sets):  # a mean over some of the sets would pass for that over all
        mean = sum(weight * value for weight, value in weighted) / total
        scores.append(_score(OVERALL.removeprefix(PREFIX), None, mean, predictions))
    return tuple(scores)


def _answer(prediction: Prediction) -> str:
    """All that was generated, whatever a parser makes of it; the choice where none was."""
    return prediction.prediction if prediction.text is None else prediction.text


def peer_reasons(examples: Sequence[Example]) -> dict[str, str]:
    """Why sets are not scored as in xares-llm, by `metric:set`; nothing for other tasks."""
    sets = {(example.meta[METRIC], example.part): None for example in examples if METRIC in example.meta}
    return {f"{PREFIX}{name.lower()}:{part}": NOT_COMPUTED[name] for name, part in sets if name in NOT_COMPUTED}


def judging_fields(examples: Sequence[Example]) -> dict[str, Any]:
    """What of the judging decides a result, for the evaluation's identity; nothing for other tasks."""
    found = {str(example.part): dict(sorted(example.meta.items())) for example in examples if METRIC in example.meta}
    return {"xares": found} if found else {}


def _judged(about: Mapping[str, str], rows: Sequence[Row]) -> float | None:
    metric = about[METRIC]
    if metric == "mAP":
        return mean_average_precision(rows, int(about[CLASSES]) if CLASSES in about else None)
    return FUNCTIONS[metric](rows) if metric in FUNCTIONS else None


def _score(name: str, part: str | None, value: float, chosen: Sequence[Prediction]) -> Score:
    invalid = sum(not one.valid for one in chosen)
    return Score(f"{PREFIX}{name}", part, Interval(value, value, value, NO_INTERVAL), len(chosen), invalid, None)


def normalised(text: str, *, punctuation: bool = False) -> str:
    """NFKC, lower case, a blank for each hyphen, single blanks; without punctuation, unless it is kept."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("-", " ")
    kept = plain if punctuation else "".join(letter for letter in plain if not _is_punctuation(letter))
    return " ".join(kept.split())


def _is_punctuation(letter: str) -> bool:
    return letter in string.punctuation or unicodedata.category(letter).startswith("P")


def accuracy(rows: Sequence[Row]) -> float:
    """Share of answers that equal their reference, both normalised."""
    return sum(normalised(answer) == normalised(reference) for answer, reference in rows) / len(rows)


def inverse_word_error_rate(rows: Sequence[Row]) -> float:
    """1 minus the word error rate of the whole set, and at least 0."""
    return _inverse_rate([(normalised(answer).split(), normalised(reference).split()) for answer, reference in rows])


def inverse_character_error_rate(rows: Sequence[Row]) -> float:
    """The same of characters, blanks among them."""
    return _inverse_rate([(list(normalised(answer)), list(normalised(reference))) for answer, reference in rows])


FUNCTIONS: Mapping[str, Callable[[Sequence[Row]], float]] = {
    "Accuracy": accuracy,
    "iWER": inverse_word_error_rate,
    "iCER": inverse_character_error_rate,
}


def _inverse_rate(rows: Sequence[tuple[list[str], list[str]]]) -> float:
    """0 where the references hold nothing, of which there is no rate."""
    from rapidfuzz.distance import Levenshtein  # jiwer's engine, which does not insist on words

    errors = sum(Levenshtein.distance(answer, reference) for answer, reference in rows)
    total = sum(len(reference) for _, reference in rows)
    return max(0.0, 1 - errors / total) if total else 0.0


def mean_average_precision(rows: Sequence[Row], num_classes: int | None = None) -> float:
    """Mean over classes of the average precision of 0 and 1, as texts of labels with ';' between them give them.

    Args:
        rows: texts.
        num_classes: over which the mean is; a class that no reference has counts as 0 there. None: over those that
            occur in the references, so that perfect answers have 1.
    """
    answers, references = ([_labels(row[side]) for row in rows] for side in (0, 1))
    present = sorted(set().union(*references))
    precisions = [
        _average_precision([name in found for found in answers], [name in found for found in references])
        for name in present
    ]
    return sum(precisions) / (num_classes or len(present) or 1)


def _labels(text: str) -> set[str]:
    return {label for part in text.split(";") if (label := normalised(part, punctuation=True))}


def _average_precision(answered: Sequence[bool], true: Sequence[bool]) -> float:
    """Of scores that are 0 or 1: the precision at each of the two thresholds, weighed by the recall that it adds."""
    hits = sum(one and other for one, other in zip(answered, true, strict=True))
    recall = hits / sum(true)
    precision = hits / sum(answered) if hits else 0.0
    return recall * precision + (1 - recall) * sum(true) / len(true)
