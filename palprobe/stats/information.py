"""How many bits an answer costs: code lengths, point-wise V-information, and what more training examples are worth.

Shape letters: E items, G groups, R draws. All logarithms are to base 2; a bit is a yes or no that is as likely as not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from palprobe.errors import ScoringError
from palprobe.stats import DRAWS, NO_INTERVAL, Floats, clustered_bootstrap, group_codes, percentile, resampled_sums
from palprobe.types import Interval, Prediction

ENOUGH = 0.9  # of what the full training set brings, for `examples_needed`


@dataclass(frozen=True, eq=False)
class OnlineCode:
    """One online code: answers sent in order, each told by a probe that was trained on those before its block.

    Nothing is known before the first block, so its answers cost what a guess among their choices does.
    """

    first_items: int
    first_bits: float  # of the first block together
    later: tuple[Prediction, ...]  # the items of all later blocks


@dataclass(frozen=True)
class CodeLength:
    """What the answers of a training set cost, averaged over several codes of it."""

    bits: Interval
    compression: Interval  # bits of guessing over bits; 1: nothing is learnt
    items: int  # of one code


@dataclass(frozen=True)
class Point:
    """A probe's score after training on so many examples."""

    examples: float
    score: float


def answer_bits(prediction: Prediction) -> float:
    """-log2 of how likely a right answer is: among the choices of a closed question, of any text for an open one.

    Where several answers are right, a closed question counts them together, and an open one costs what its references
    do on average.

    Raises:
        ScoringError: the likelihood of a right answer is not among the scores.
    """
    right = prediction.all_references
    if absent := [answer for answer in right if answer not in prediction.scores]:
        raise ScoringError(f"Bits need the likelihood of each right answer, and {prediction.id!r} lacks {absent[0]!r}.")
    logs = np.array([prediction.scores[answer] for answer in right], dtype=np.float64)
    if prediction.text is not None:
        return float(-logs.mean() / math.log(2))
    every = np.array(list(prediction.scores.values()), dtype=np.float64)
    return max(0.0, float(np.logaddexp.reduce(every) - np.logaddexp.reduce(logs)) / math.log(2))


def guess_bits(choices: int, right: int = 1) -> float:
    """What a right answer costs by a uniform guess among so many choices."""
    return math.log2(choices / right)


def v_information(
    runs: Sequence[tuple[Mapping[str, Prediction], Mapping[str, Prediction]]], *, draws: int = DRAWS, seed: int = 0
) -> tuple[Interval, int]:
    """Bits that the audio tells of the answer, on average over items, and the number of items.

    Of an item they are log2 p(answer | audio) - log2 p(answer), the second of a probe that was trained without audio;
    below 0 where audio misleads. Items are averaged over runs (seeds) first.

    Args:
        runs: for each the predictions with audio and those of the blind probe, by item.
        draws: resamples, of whole groups.
        seed: of this call's own generator.

    Raises:
        ScoringError: no item that all have, or one without likelihoods.

    Source: Xu et al. (2020); of single items: Ethayarajh et al. (2022), eq. 4.
    """
    shared = sorted(set.intersection(*(set(found) for run in runs for found in run))) if runs else []
    if not shared:
        raise ScoringError("V-information needs items that were asked with audio and without; there are none.")
    bits = [[answer_bits(blind[name]) - answer_bits(audio[name]) for name in shared] for audio, blind in runs]
    values = np.mean(bits, axis=0)  # (E,)
    groups = [runs[0][0][name].group for name in shared]
    if len(set(groups)) == 1 or np.ptp(values) == 0:  # no width would claim certainty
        return _without(float(values.mean())), len(shared)
    return clustered_bootstrap(values, groups, draws=draws, seed=seed), len(shared)


def code_length(codes: Sequence[OnlineCode], *, draws: int = DRAWS, seed: int = 0) -> CodeLength:
    """The bits of an online code, and how much shorter it is than guessing.

    Args:
        codes: of the same task, one for each seed and fold; at least one.
        draws: resamples of the later blocks, whole groups at once.
        seed: of this call's own generator.

    Raises:
        ScoringError: no code at all, nothing to code but a first block, or an item without likelihoods.

    Source: Voita and Titov (2020), eq. 3, with the blocks as they are given.
    """
    items = [item for code in codes for item in code.later]
    if not items:
        raise ScoringError("An online code needs items after its first block; there are none.")
    runs = len(codes)
    first = sum(code.first_bits for code in codes) / runs
    costs = np.array([[answer_bits(item), _guess(item)] for item in items]) / runs  # (E, 2)
    bits, guess = costs.sum(axis=0) + first
    count = round(sum(len(one.later) + one.first_items for one in codes) / runs)
    groups = [item.group for item in items]
    without = CodeLength(_without(float(bits)), _without(float(guess / bits)), count)
    if len(set(groups)) == 1:
        return without
    places, _ = group_codes(groups, len(items))
    sums: Floats = np.stack([np.bincount(places, column) for column in costs.T], axis=1)  # (G, 2)
    drawn = resampled_sums(sums, draws, seed) + first  # (R, 2); the first block costs the same whatever is in it
    method = "bootstrap" if len(set(groups)) == len(items) else "clustered bootstrap"
    if np.ptp(drawn[:, 0]) == 0:  # no width would claim certainty
        return without
    return CodeLength(
        percentile(float(bits), drawn[:, 0], method),
        percentile(float(guess / bits), drawn[:, 1] / drawn[:, 0], method),
        count,
    )


def area_under(points: Sequence[Point]) -> float:
    """The mean height of the curve over log2 of the examples: the score at a training set of no particular size.

    Raises:
        ScoringError: fewer than two sizes.
    """
    sizes, scores = _curve(points)
    return float(np.trapezoid(scores, sizes) / (sizes[-1] - sizes[0]))


def examples_needed(points: Sequence[Point], *, floor: float = 0.0, share: float = ENOUGH) -> float | None:
    """How many examples first bring that share of what all of them bring above the floor; straight in log2 between.

    Args:
        points: of one curve; the largest size is the full training set.
        floor: the score without any learning, such as chance.
        share: of the way from the floor to the full set's score.

    Returns:
        at least the smallest size; None where the full set's score is not above the floor.

    Raises:
        ScoringError: fewer than two sizes.
    """
    sizes, scores = _curve(points)
    if scores[-1] <= floor:
        return None
    target = floor + share * (scores[-1] - floor)
    after = int(np.argmax(scores >= target))  # the last one is there at the latest
    if after == 0:
        return float(2 ** sizes[0])
    part = (target - scores[after - 1]) / (scores[after] - scores[after - 1])
    return float(2 ** (sizes[after - 1] + part * (sizes[after] - sizes[after - 1])))


def _curve(points: Sequence[Point]) -> tuple[Floats, Floats]:
    """log2 of the sizes, ascending, and the scores."""
    listed = sorted(points, key=lambda point: point.examples)
    sizes = np.log2([point.examples for point in listed])
    if len(set(sizes.tolist())) < max(2, len(listed)):
        raise ScoringError(f"A curve needs two or more sizes of the training set, each once; got {2**sizes}.")
    return sizes, np.array([point.score for point in listed], dtype=np.float64)


def _without(value: float) -> Interval:
    return Interval(value, math.nan, math.nan, NO_INTERVAL)


def _guess(item: Prediction) -> float:
    return guess_bits(len(item.scores), len(item.all_references))
