"""Encoders over several tasks: the headline with its range of ranks, average ranks, and strengths from wins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from palprobe.errors import ScoringError
from palprobe.metrics import LOWER_IS_BETTER
from palprobe.recipe.rigor import BLIND, NO_CONTROL
from palprobe.report.controls import NO_LLM
from palprobe.report.sides import Side
from palprobe.stats import Floats, ranks
from palprobe.stats.headline import Headline, TaskScores, overall
from palprobe.types import Interval

FEWEST_FOR_RANKS = 10  # tasks, below which a critical difference of average ranks says nothing
FEWEST_FOR_PAIRS = 6  # tasks, below which no signed ranks can have a p below 0.05
SCORINGS = ("likelihood", "generation")  # of a task that was scored both ways, the first counts
MODEL = ("integration", "llm", "trainable", "split")


@dataclass(frozen=True, eq=False)
class Overall:
    """Encoders over several tasks, through one integration into one LLM."""

    integration: str
    llm: str
    trainable: str
    split: str
    names: tuple[str, ...]  # encoders, the best first
    headline: Mapping[str, Interval]  # mean over tasks of the score, less blind's, of what is above chance; {}: none
    rank: Mapping[str, tuple[int, int]]  # 95 % interval of the place by the headline; 1 is the best
    average_rank: Mapping[str, float]  # over the tasks that all have
    strength: Mapping[str, float]  # Bradley-Terry over all tasks, log odds, 0 on average; {}: some never met
    critical_difference: float | None  # Nemenyi, of average ranks; None: too few tasks or encoders
    friedman_p: float | None  # whether the ranks differ at all; None as above
    pair_p: Mapping[tuple[str, str], float]  # Wilcoxon over the tasks of both, Holm; {}: too few tasks
    seeds: int  # the fewest that a task has
    tasks: tuple[str, ...]  # that all encoders have
    notes: tuple[str, ...]  # what is not in it, and what its zero is


def overalls_of(sides: Sequence[Side]) -> tuple[Overall, ...]:
    """One for each integration, LLM and split with two encoders and two tasks or more.

    Args:
        sides: all rows of all tasks, controls too.
    """
    groups: dict[tuple[str, ...], list[Side]] = {}
    for side in sides:
        if side.row.control in (NO_CONTROL, BLIND):
            groups.setdefault(tuple(getattr(side.row, name) for name in MODEL), []).append(side)
    found = []
    for key, members in sorted(groups.items(), key=lambda group: (group[0][1] == NO_LLM, group[0])):
        tasks = _tasks(members)
        if len(tasks) > 1 and len({name for task in tasks for name in task.heard}) > 1:
            found.append(_overall(key, tasks))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Task:
    """One task, scored in one way."""

    name: str
    heard: Mapping[str, Side]  # by encoder
    blind: Side | None

    @property
    def scores(self) -> TaskScores:
        row = next(iter(self.heard.values())).row
        runs = {name: side.runs for name, side in self.heard.items()}
        return TaskScores(self.name, row.metric, row.chance, runs, self.blind.runs if self.blind else None)

    def score(self, encoder: str) -> float:
        """Higher is better; nan where the encoder skipped the task."""
        if encoder not in self.heard:
            return math.nan
        row = self.heard[encoder].row
        return -row.score if row.metric in LOWER_IS_BETTER else row.score


def _tasks(sides: Sequence[Side]) -> list[_Task]:
    """Each task once, by the scoring that comes first."""
    by_task: dict[str, dict[str, list[Side]]] = {}
    for side in sides:
        by_task.setdefault(side.row.task, {}).setdefault(side.row.scoring, []).append(side)
    found = []
    for task, scorings in sorted(by_task.items()):
        chosen = scorings[min(scorings, key=_scoring_order)]
        heard = {side.row.encoder: side for side in chosen if side.row.control == NO_CONTROL}
        if heard:
            found.append(_Task(task, heard, next((side for side in chosen if side.row.control == BLIND), None)))
    return found


def _scoring_order(name: str) -> tuple[int, str]:
    return (SCORINGS.index(name) if name in SCORINGS else len(SCORINGS), name)


def _overall(key: tuple[str, ...], tasks: Sequence[_Task]) -> Overall:
    integration, llm, trainable, split = key
    notes: list[str] = []
    headline = _headline(tasks, notes)
    names = sorted({name for task in tasks for name in task.heard})
    table = np.array([[task.score(name) for name in names] for task in tasks])  # (N, K)
    whole = table[~np.isnan(table).any(axis=1)]
    average = dict(zip(names, ranks.average_ranks(whole), strict=True)) if len(whole) else {}
    strength = _strength(names, table, notes)
    order = list(headline.scores) if headline else sorted(names, key=lambda name: (-strength.get(name, 0.0), name))
    enough = len(names) > 2 and len(whole) >= FEWEST_FOR_RANKS
    return Overall(
        integration=integration,
        llm=llm,
        trainable=trainable,
        split=split,
        names=tuple(order),
        headline=headline.scores if headline else {},
        rank=headline.places if headline else {},
        average_rank={name: float(average[name]) for name in order if name in average},
        strength={name: strength[name] for name in order if name in strength},
        critical_difference=ranks.critical_difference(len(names), len(whole)) if enough else None,
        friedman_p=ranks.friedman(whole).p if enough else None,
        pair_p=_pairs(names, table),
        seeds=min(len(side.runs) for task in tasks for side in task.heard.values()),
        tasks=tuple(task.name for task in tasks if len(task.heard) == len(names)),
        notes=tuple(notes),
    )


def _headline(tasks: Sequence[_Task], notes: list[str]) -> Headline | None:
    try:
        found = overall([task.scores for task in tasks])
    except ScoringError as error:
        notes.append(f"no headline: {str(error).rstrip('.')}")
        return None
    notes += [f"not in the score: {task}. {why.rstrip('.')}" for task, why in found.left_out.items()]
    if found.without_blind:
        notes.append(f"without a blind probe, so that 0 is chance: {', '.join(found.without_blind)}")
    return found


def _strength(names: Sequence[str], table: Floats, notes: list[str]) -> dict[str, float]:
    try:
        found = ranks.bradley_terry(ranks.wins(table))
    except ScoringError as error:
        notes.append(f"no Bradley-Terry strengths: {str(error).rstrip('.')}")
        return {}
    return dict(zip(names, map(float, found), strict=True))


def _pairs(names: Sequence[str], table: Floats) -> dict[tuple[str, str], float]:
    if len(table) < FEWEST_FOR_PAIRS:
        return {}
    found = ranks.wilcoxon_pairs(table)
    return {
        (one, other): float(found[row, column])
        for row, one in enumerate(names)
        for column, other in enumerate(names)
        if row < column
    }
