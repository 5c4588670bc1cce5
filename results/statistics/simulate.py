"""Do the tests and intervals of palprobe keep what they promise? Data whose truth is known, many times over.

    OMP_NUM_THREADS=1 python results/statistics/simulate.py --out results/statistics/simulations.csv

Probes of one skill (made_up.py) are equal: a test that calls them different at 0.05, or an interval that does not hold
the truth, is wrong, and that should happen in 5 %.

A line holds what was tried, in how many of so many trials a test rejected, an interval covered, or a report would
claim a difference, and what was promised: equal probes are rejected in 3 to 7 %, by McNemar's test and by a family
under Holm in 6 % at most, and intervals cover in 93 to 97 % from five seeds on. What has no promise is to be known.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from made_up import LUCK, SKILL, Bools, Random, Setting, accuracy, classes, rankings, word_errors

from palprobe.stats import clustered_bootstrap, wilson
from palprobe.stats.bca import bca_of_sums
from palprobe.stats.differences import Difference
from palprobe.stats.flips import flip_p
from palprobe.stats.headline import FEW_TASKS, Drawn, mean_of_tasks, scores_of_draws
from palprobe.stats.hierarchy import seeded_interval
from palprobe.stats.measures import Sums, ratio
from palprobe.stats.paired import holm, sign_flip_p
from palprobe.types import Interval

TRIALS = 2000
LEVEL = 0.05
DRAWS = 500  # of tests that are not exact, and of bootstraps
TASKS_VARY = 0.6  # deviation of the skill over tasks
TESTS, FAMILIES, COVERS = (0.03, 0.07), (0.0, 0.06), (0.93, 0.97)
FLIPPED = "accuracy, sign flips of recordings, exact"
AFTER_HOLM = "any of 10 pairs after Holm"
CLUSTERED, BCA = "accuracy, clustered bootstrap", "accuracy, BCa"

Outcomes = Mapping[str, bool]
Promised = Mapping[str, tuple[float, float]] | tuple[float, float]  # by outcome, or of all
Trial = Callable[[Random, Setting], Outcomes]


@dataclass(frozen=True)
class Study:
    """One thing tried in one setting, and what was promised of each outcome."""

    what: str  # "rejects", "covers" or "claims"
    trial: Trial
    setting: Setting
    promised: Promised


@dataclass(frozen=True)
class Line:
    """One line of the CSV."""

    what: str
    of: str
    seeds: int
    recordings: int
    items: int
    seed_points: int  # by which seeds move accuracy, about one standard deviation
    trials: int
    rate: float
    promised_low: float | None
    promised_high: float | None
    kept: str  # "yes", "no", or "" where nothing was promised


def run(study: Study, trials: int) -> list[Line]:
    """The rates of a study; its random numbers depend on what it is and on nothing else."""
    setting = study.setting
    rng = np.random.default_rng(zlib.crc32(f"{study.what} {study.trial.__name__} {setting}".encode()))
    outcomes = [study.trial(rng, setting) for _ in range(trials)]
    lines = []
    for name in outcomes[0]:
        rate = sum(outcome[name] for outcome in outcomes) / trials
        promised = study.promised if isinstance(study.promised, tuple) else study.promised.get(name)
        low, high = promised or (None, None)
        kept = "" if promised is None else "yes" if promised[0] <= rate <= promised[1] else "no"
        size = (setting.seeds, setting.groups, setting.groups * setting.per_group, setting.points)
        lines.append(Line(study.what, name, *size, trials, rate, low, high, kept))
    return lines


def exact_p(first: Bools, second: Bools) -> float:
    """The test of accuracy: (S, G, items) each."""
    return sign_flip_p((first.astype(np.int64) - second).sum(axis=(0, 2)).tolist())


def covers(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def of_seeds(sums: Sums, low: float = 0.0) -> Interval:
    return seeded_interval(sums, low=low, high=1.0, draws=DRAWS, seed=0)


# Tests of equal probes.


def mcnemar(rng: Random, setting: Setting) -> Outcomes:
    """Every item its own recording, one seed."""
    return {"McNemar's test, exact": exact_p(*setting.answers(rng, 2)) < LEVEL}


def family(rng: Random, setting: Setting) -> Outcomes:
    """Five equal probes: is any of the ten pairs called different?"""
    p_values = [exact_p(*pair) for pair in combinations(setting.answers(rng, 5), 2)]
    return {
        AFTER_HOLM: min(holm(p_values)) < LEVEL,
        "any of 10 pairs without Holm": min(p_values) < LEVEL,
    }


def flips(rng: Random, setting: Setting) -> Outcomes:
    """Whole recordings are flipped; items of one are not independent."""
    first, second = setting.answers(rng, 2)
    alone = (answers.reshape(setting.seeds, -1, 1) for answers in (first, second))
    return {
        FLIPPED: exact_p(first, second) < LEVEL,
        "accuracy, the same of items, as if independent": exact_p(*alone) < LEVEL,
    }


def other_flips(rng: Random, setting: Setting) -> Outcomes:
    """Metrics that are no mean of right and wrong."""
    found = {
        "word error rate, sign flips": word_errors(rng, setting, 2),
        "balanced accuracy, sign flips": classes(rng, setting, "balanced_accuracy", 2),
        "macro F1, sign flips": classes(rng, setting, "macro_f1", 2),
    }
    return {name: flip_p(*pair, draws=DRAWS, seed=int(rng.integers(1 << 30))).p < LEVEL for name, pair in found.items()}


def ranking_flips(rng: Random, setting: Setting) -> Outcomes:
    """mAP, tested on jackknife values."""
    p = flip_p(*rankings(rng, setting), draws=DRAWS, seed=int(rng.integers(1 << 30))).p
    return {"mAP, sign flips of jackknife values": p < LEVEL}


def claims(rng: Random, setting: Setting) -> Outcomes:
    """Seeds differ, skills do not: what a report would call better, and what rules without its interval would."""
    first, second = setting.answers(rng, 2)
    apart = accuracy(first).less(accuracy(second))
    interval, p = of_seeds(apart, -1.0), exact_p(first, second)
    found = Difference(interval.value, interval.low, interval.high, "", p, "", tuple(apart.values.tolist()), 0, 0, 0)
    return {
        "test, every seed and the interval agree": found.holds(p),
        "test and every seed agree": p < LEVEL and found.seeds_agree,
        "the test alone": p < LEVEL,
    }


# Intervals.


def one_seed(rng: Random, setting: Setting) -> Outcomes:
    """The interval of one run's accuracy, beside the one that takes items of a recording for independent."""
    (answers,), truth = setting.answers(rng), setting.truth()
    names = np.repeat(np.arange(setting.groups), setting.per_group).astype(str).tolist()
    ours = clustered_bootstrap(answers.ravel().astype(float), names, draws=DRAWS, seed=int(rng.integers(1 << 30)))
    return {
        CLUSTERED: covers(ours, truth),
        BCA: covers(bca_of_sums(accuracy(answers), draws=DRAWS), truth),
        "accuracy, Wilson's, as if items were independent": covers(wilson(int(answers.sum()), answers.size), truth),
    }


def seeds(rng: Random, setting: Setting) -> Outcomes:
    """About new seeds and new recordings: a score, and a difference of equal probes."""
    first, second = (accuracy(answers) for answers in setting.answers(rng, 2))
    return {
        "accuracy": covers(of_seeds(first), setting.truth()),
        "accuracy, difference": covers(of_seeds(first.less(second), -1.0), 0.0),
    }


def other_seeds(rng: Random, setting: Setting) -> Outcomes:
    """The same of other metrics."""
    (balanced,), (first, second) = classes(rng, setting, "balanced_accuracy"), word_errors(rng, setting, 2)
    wer = seeded_interval(first, low=0.0, draws=DRAWS, seed=0)
    return {
        "balanced accuracy": covers(of_seeds(balanced), setting.truth()),
        "word error rate": covers(wer, 1 - setting.truth()),
        "word error rate, difference": covers(seeded_interval(first.less(second), draws=DRAWS, seed=0), 0.0),
    }


def skewed(rng: Random, setting: Setting) -> Outcomes:
    """A mean of scores with a long tail: BCa beside plain percentiles."""
    values = rng.lognormal(sigma=0.8, size=(1, setting.groups, setting.per_group))
    totals = np.stack([values.sum(axis=2), np.full((1, setting.groups), setting.per_group)], axis=2)
    names = np.repeat(np.arange(setting.groups), setting.per_group).astype(str).tolist()
    plain = clustered_bootstrap(values.ravel(), names, draws=DRAWS, seed=int(rng.integers(1 << 30)))
    truth = math.exp(0.8**2 / 2)
    return {
        "mean of a skewed score, BCa": covers(bca_of_sums(Sums(totals, ratio, False), draws=DRAWS), truth),
        "mean of a skewed score, percentiles": covers(plain, truth),
    }


def headline(number: int) -> Trial:
    """The mean over so many tasks of unlike difficulty: of few as they are, of more for all there could be."""

    def of_tasks(rng: Random, setting: Setting) -> Outcomes:
        skills = SKILL + TASKS_VARY * rng.normal(size=number)
        found = []
        for skill in skills:
            sums = accuracy(setting.answers(rng, skill=skill)[0])
            found.append(Drawn("", sums.values.mean(keepdims=True), scores_of_draws([sums], DRAWS, rng), setting.seeds))
        _, drawn, _ = mean_of_tasks(found, rng)
        truth = setting.truth(more=TASKS_VARY) if number >= FEW_TASKS else np.mean([*map(setting.truth, skills)])
        low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2])
        return {f"headline over {number} tasks": low <= truth <= high}

    of_tasks.__name__ = f"headline_{number}"
    return of_tasks


def studies() -> list[Study]:
    """All that is tried."""
    alone, usual, few = Setting(groups=400, per_group=1), Setting(), Setting(groups=30)
    several = [replace(usual, seeds=number, points=points) for number in (2, 3, 5, 10) for points in LUCK]
    some = [replace(usual, seeds=number, points=1) for number in (3, 5)]
    large = Setting(groups=2000, per_group=1, points=3)  # its items are many, and seeds are what is uncertain
    more = [replace(few, seeds=5, points=3), *(replace(large, seeds=number) for number in (2, 3, 5))]
    return [
        Study("rejects", mcnemar, alone, FAMILIES),
        Study("rejects", family, alone, {AFTER_HOLM: FAMILIES}),
        *(Study("rejects", flips, setting, {FLIPPED: TESTS}) for setting in (usual, few, replace(usual, seeds=3))),
        *(Study("rejects", other_flips, replace(usual, seeds=number), TESTS) for number in (1, 3)),
        Study("rejects", ranking_flips, Setting(groups=80, per_group=1), TESTS),
        *(Study("claims", claims, setting, {}) for setting in several if setting.points != 1 and setting.seeds < 10),
        *(Study("claims", claims, replace(large, seeds=number), {}) for number in (2, 3, 5)),
        Study("covers", one_seed, usual, {CLUSTERED: COVERS, BCA: COVERS}),
        *(Study("covers", seeds, setting, promise(setting)) for setting in [*several, *more]),
        *(Study("covers", other_seeds, setting, promise(setting)) for setting in some),
        Study("covers", skewed, Setting(groups=40, per_group=1), {}),
        *(Study("covers", headline(number), replace(usual, seeds=5, points=1), COVERS) for number in (4, 5, 10)),
    ]


def promise(setting: Setting) -> Promised:
    """From five seeds on an interval covers; for fewer it is reported."""
    return COVERS if setting.seeds >= 5 else {}


def main() -> None:
    """Runs everything and writes the CSV."""
    parser = argparse.ArgumentParser(description="Tests and intervals on data whose truth is known, as CSV.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=TRIALS)
    options = parser.parse_args()
    began, lines = time.monotonic(), list[Line]()
    for study in studies():
        lines += run(study, options.trials)
        seconds = time.monotonic() - began
        print(f"{seconds:4.0f} s: {study.what}, {study.trial.__name__}, {study.setting}", file=sys.stderr)  # noqa: T201
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Line)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(line) for line in lines)


if __name__ == "__main__":
    main()
