"""Made-up probes whose truth is known: right and wrong answers, transcripts, classes and rankings.

Right and wrong answers come from a latent score: a probe's skill, the luck of each of its seeds, how hard a recording
and an item are for all, how a recording suits this probe, and noise. Shape letters: S seeds, G recordings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from palprobe.stats.measures import CLASSES, Sums, ratio, sums_of
from palprobe.types import Prediction

SKILL = 0.5
COMMON, ITEM, SUITS = 1.0, 0.6, 0.8  # deviations of the latent score, beside noise of 1
LUCK = {0: 0.0, 1: 0.05, 3: 0.15}  # accuracy points by which seeds vary → deviation of the latent score

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Random = np.random.Generator


@dataclass(frozen=True)
class Setting:
    """What is tried: how many seeds and recordings, items in each, and by how many points seeds vary."""

    seeds: int = 1
    groups: int = 100
    per_group: int = 4
    points: int = 0

    def latent(self, rng: Random, probes: int = 1, skill: float = SKILL) -> Floats:
        """(probes, S, G, items), without noise: above 0 an answer tends to be right."""
        shape = (probes, self.seeds, self.groups, self.per_group)
        found = skill + LUCK[self.points] * rng.normal(size=(probes, self.seeds, 1, 1))
        found = found + COMMON * rng.normal(size=(self.groups, 1)) + ITEM * rng.normal(size=shape[2:])
        return found + SUITS * rng.normal(size=(probes, 1, self.groups, 1))

    def answers(self, rng: Random, probes: int = 1, skill: float = SKILL) -> Bools:
        """(probes, S, G, items): right or wrong."""
        latent = self.latent(rng, probes, skill)
        return latent + rng.normal(size=latent.shape) > 0

    def truth(self, skill: float = SKILL, more: float = 0.0) -> float:
        """What all seeds and items that there could be would come to; `more` deviation where the skill varies too."""
        return NormalDist().cdf(skill / math.hypot(1, COMMON, ITEM, SUITS, LUCK[self.points], more))


def accuracy(answers: Bools) -> Sums:
    """(S, G, items) of one probe."""
    counts = np.stack([answers.sum(axis=2), np.full(answers.shape[:2], answers.shape[2])], axis=2)
    return Sums(counts.astype(np.float64), ratio, False)


def word_errors(rng: Random, setting: Setting, probes: int = 1) -> list[Sums]:
    """Utterances of unequal length, whose words are wrong with a chance of their own."""
    wrong = np.vectorize(NormalDist().cdf)(-setting.latent(rng, probes))
    words = np.broadcast_to(
        1 + rng.poisson(8, size=wrong.shape[2:]) * rng.integers(1, 4, (setting.groups, 1)), wrong.shape
    )
    counts = np.stack([rng.binomial(words, wrong).sum(axis=3), words.sum(axis=3)], axis=3)
    return [Sums(one.astype(np.float64), ratio, False) for one in counts]


def classes(rng: Random, setting: Setting, metric: str, probes: int = 1) -> list[Sums]:
    """Four classes, half of the items in one of them; a wrong answer is any other."""
    answers, number = setting.answers(rng, probes), 4
    asked = rng.choice(number, p=[0.5, 0.2, 0.2, 0.1], size=answers.shape[2:])  # (G, items)
    said = np.where(answers, asked, (asked + rng.integers(1, number, size=answers.shape)) % number)
    labels = np.arange(number)
    counts = [
        ((asked[..., None] == labels) & answers[..., None]).sum(axis=3),
        np.broadcast_to((asked[..., None] == labels).sum(axis=1), (*answers.shape[:3], number)),
        (said[..., None] == labels).sum(axis=3),
    ]
    return [Sums(one.astype(np.float64), CLASSES[metric], False) for one in np.concatenate(counts, axis=3)]


def rankings(rng: Random, setting: Setting) -> list[Sums]:
    """mAP over five classes of two equal probes, whose scores are on different scales."""
    names = [f"class {number}" for number in range(5)]
    has = rng.random((setting.groups, len(names))) < 0.3
    has[0], has[1] = True, False
    common = has + rng.normal(size=has.shape)
    told = [tuple(name for name, there in zip(names, row, strict=True) if there) or ("none",) for row in has]
    runs = []
    for scale in (1.0, 5.0):
        scores = scale * (common + rng.normal(size=has.shape))
        runs.append(
            [
                Prediction(
                    str(n), str(n), None, told[n][0], "", dict(zip(names, row, strict=True)), False, True, told[n]
                )
                for n, row in enumerate(scores.tolist())
            ]
        )
    return [sums_of("map", [one], np.arange(setting.groups), setting.groups) for one in runs]
