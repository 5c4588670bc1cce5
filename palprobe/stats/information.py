"""How many bits an answer costs: code lengths, point-wise V-information, and what more training examples are worth.

Shape letters: E items, G groups, R draws. All logarithms are to base 2; a bit is a yes or no that is as likely as not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from palprobe.errors import ScoringError
from palprobe.stats import DRAWS, NO_INTERVAL, Floats, clustered_bootstrap, draw_batches, draw_weights, percentile
from palprobe.types import Interval, Prediction

ENOUGH = 0.9  # of what the full training set brings, for `examples_needed`
# A block is coded at all of these at once, which costs 3 bits at most over the best of them; inf is guessing. A probe
# that has learnt few examples by heart is sure of itself where it is wrong, and says more at a higher temperature.
TEMPERATURES = (1.0, 2**0.5, 2.0, 2**1.5, 4.0, 8.0, 16.0, math.inf)


@dataclass(frozen=True, eq=False)
class OnlineCode:
    """One online code: answers sent in order, each told by a probe that was trained on those before its block.

    Nothing is known before the first block, so its answers cost what a guess among their choices does.
    """

    first_items: int
    first_bits: float  # of the first block together
    later: tuple[tuple[Prediction, ...], ...]  # the items of each later block


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


def answer_bits(prediction: Prediction, temperature: float = 1.0) -> float:
    """-log2 of how likely a right answer is: among the choices of a closed question, of any text for an open one.

    Where several answers are right, a closed question counts them together, and an open one costs what its references
    do on average.

    Args:
        prediction: with log likelihoods.
        temperature: by which the log likelihoods of choices are divided; open questions have none but 1.

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
    bits = (np.logaddexp.reduce(every / temperature) - np.logaddexp.reduce(logs / temperature)) / math.log(2)
    return max(0.0, float(bits))


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

    A block's code is the mixture of its codes at each of `TEMPERATURES`, and so costs little more than guessing.

    Args:
        codes: of the same task, one for each seed and fold; at least one.
        draws: resamples of the later blocks, whole groups at once.
        seed: of this call's own generator.

    Raises:
        ScoringError: no code at all, nothing to code but a first block, one choice alone, or no likelihoods.

    Source: Voita and Titov (2020), eq. 3, with the blocks as they are given; mixtures: Grünwald (2007), ch. 6.
    """
    blocks = [block for code in codes for block in code.later if block]
    if not blocks:
        raise ScoringError("An online code needs items after its first block; there are none.")
    groups = [item.group for block in blocks for item in block]
    names, places = np.unique(groups, return_inverse=True)  # (E,)
    costs = np.zeros((len(names), len(blocks), len(TEMPERATURES)))  # (G, blocks, temperatures)
    owners = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    bits = np.array([[answer_bits(item, each) for each in TEMPERATURES] for block in blocks for item in block])
    np.add.at(costs, (places, owners), bits)
    first = sum(code.first_bits for code in codes)

    def lengths(weights: Floats) -> Floats:
        """(R, G) how often each group is drawn → (R, 2) mean bits of a code, and of guessing."""
        sums = np.tensordot(weights, costs, 1)  # (R, blocks, temperatures)
        mixed = -np.logaddexp2.reduce(-sums, axis=2) + math.log2(len(TEMPERATURES))  # (R, blocks)
        return (np.stack([mixed.sum(axis=1), sums[:, :, -1].sum(axis=1)], axis=1) + first) / len(codes)

    value, guess = lengths(np.ones((1, len(names))))[0]
    if guess == 0:
        raise ScoringError("no code length: each question has one choice, and nothing is to be told.")
    items = round(sum(code.first_items + sum(map(len, code.later)) for code in codes) / len(codes))
    rng = np.random.default_rng(seed)
    sizes = draw_batches(draws, costs.size)
    drawn = np.concatenate([lengths(draw_weights(len(names), size, rng)) for size in sizes])  # (R, 2)
    if np.ptp(drawn[:, 0]) == 0:  # no width would claim certainty; so it is with a single group
        return CodeLength(_without(float(value)), _without(float(guess / value)), items)
    method = "bootstrap" if len(names) == len(groups) else "clustered bootstrap"
    return CodeLength(
        percentile(float(value), drawn[:, 0], method),
        percentile(float(guess / value), drawn[:, 1] / drawn[:, 0], method),
        items,
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
