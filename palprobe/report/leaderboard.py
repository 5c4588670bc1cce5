"""The leaderboard: the rows of all results, and their aggregates over folds and seeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean
from typing import Any

from palprobe.errors import PalprobeError, ScoringError, UnfinishedError, UnknownNameError
from palprobe.evaluation.xares import PREFIX
from palprobe.files import differences
from palprobe.metrics import METRICS
from palprobe.recipe.rigor import BLIND, NO_CONTROL
from palprobe.report.information import information_rows
from palprobe.report.remarks import remarks
from palprobe.report.results import EvalResult
from palprobe.report.rows import Row, headline_metric, one_or_all, row_of, row_order, with_shared_costs
from palprobe.stats import DRAWS, NO_INTERVAL
from palprobe.stats.intervals import metric_interval
from palprobe.types import BLOCK, Interval, Prediction, Score

SHOWN, LONGEST = 3, 80  # differing settings in a message, and characters of one


@dataclass(frozen=True)
class Summary:
    """The one row to show for a cell, metric and part: over all its folds and seeds."""

    row: Row
    seeds: tuple[int, ...]
    folds: tuple[int, ...]


@dataclass(frozen=True)
class Leaderboard:
    """All rows, the one to show for each cell, and sentences about what could not be computed or aggregated."""

    rows: tuple[Row, ...]
    summaries: tuple[Summary, ...]
    notes: tuple[str, ...]


def leaderboard(results: Sequence[EvalResult], *, draws: int = DRAWS) -> Leaderboard:
    """Rows of all results and their aggregates, in an order that does not depend on that of the results.

    Folds are pooled, every item once; then each item is averaged over the seeds.

    Args:
        results: finished evaluations.
        draws: resamples of an aggregate's interval.

    Raises:
        UnfinishedError: no results.
        PalprobeError: two results for the same cell, split, scoring and control; or damaged predictions.
    """
    if not results:
        raise UnfinishedError("There are no results to report. Run `palprobe compare`, or train and eval, first.")
    rows: list[Row] = []
    summaries: list[Summary] = []
    notes: list[str] = []
    listed = [result for result in results if result.split != BLOCK] or results  # unless nothing else is asked for
    tested = {_without_split(result) for result in results if result.split == "test"}
    for _, group in groupby(sorted(listed, key=_order), key=place_of):
        members = list(group)
        _check_distinct(members)
        single = [row for member in members for row in _rows(member)]
        rows += single
        if members[0].split == "validation" and _without_split(members[0]) in tested:
            continue  # what a layer was chosen by; an item can be in the validation sets of several folds
        seeds = tuple(sorted({member.cell.seed for member in members}))
        folds = tuple(sorted({member.cell.fold for member in members if member.cell.fold is not None}))
        if len(members) == 1:
            shown = single
        else:
            shown = aggregate(members, notes, draws=draws)
            rows += shown
            rows += _aggregates_of_seeds(members, draws, notes) if len(seeds) > 1 else []
        summaries += [Summary(row, seeds, folds) for row in shown]
    blind = {_blind_place(row): row.score for row in rows if row.control == BLIND}
    summaries = [replace(summary, row=_with_blind(summary.row, blind)) for summary in summaries]
    bits, gaps = information_rows(results, draws=draws)
    rows, notes = [*rows, *bits], [*notes, *gaps]
    return Leaderboard(
        tuple(sorted((_with_blind(row, blind) for row in rows), key=row_order)),
        tuple(sorted(summaries, key=lambda summary: row_order(summary.row))),
        tuple(dict.fromkeys([*notes, *remarks(listed)])),
    )


def _blind_place(row: Row) -> tuple[Any, ...]:
    """What a row and its blind probe share, as that hears no encoder."""
    model, test = (row.integration, row.llm, row.trainable), (row.task, row.part, row.split, row.scoring, row.metric)
    return (*model, *test, row.fold, row.seed)


def _with_blind(row: Row, blind: Mapping[tuple[Any, ...], float]) -> Row:
    return replace(row, blind=blind.get(_blind_place(row))) if row.control == NO_CONTROL else row


def headlines(summaries: Iterable[Summary]) -> list[Summary]:
    """Those in the one metric that stands for their task, of the whole task and of each part."""
    listed, metrics = list(summaries), defaultdict[str, set[str]](set)
    for summary in listed:
        metrics[summary.row.task].add(summary.row.metric)
    chosen = {task: headline_metric(names) for task, names in metrics.items()}
    return [summary for summary in listed if summary.row.metric == chosen[summary.row.task]]


def single_rows(results: Sequence[EvalResult]) -> list[Row]:
    """The rows of each result alone, in the order given; one cell trained with several settings may be among them."""
    return [row for result in results for row in sorted(_rows(result), key=row_order)]


def place_of(result: EvalResult) -> tuple[str, ...]:
    """What the results share that are aggregated, over folds and seeds, to one row."""
    cell = result.cell
    what = (cell.encoder, cell.layer, cell.integration, cell.llm, cell.trainable, cell.task)
    return (*what, result.split, result.scoring, result.control)


def _without_split(result: EvalResult) -> tuple[str, ...]:
    return place_of(replace(result, split=""))


def _order(result: EvalResult) -> tuple[Any, ...]:
    return (*place_of(result), result.cell.seed, -1 if result.cell.fold is None else result.cell.fold, result.run_id)


def _check_distinct(members: Sequence[EvalResult]) -> None:
    seen: dict[tuple[int | None, int], EvalResult] = {}
    for member in members:
        place = (member.cell.fold, member.cell.seed)
        if place in seen:
            raise PalprobeError(
                f"{seen[place].path} (there) and {member.path} (here) are results for the same encoder, integration, "
                f"LLM, task, fold and seed, trained with other settings{_settings(seen[place], member)}. Name one of "
                "the two runs instead of the folder of both; `palprobe compare --sweep` tells such runs apart, and "
                "`palprobe eval` prints both as CSV rows."
            )
        seen[place] = member


def _settings(one: EvalResult, other: EvalResult) -> str:
    """': train.steps: 100 there, 200 here', of two runs whose folders are whole."""
    if not (one.run_identity and other.run_identity):
        return ""
    lines = differences(one.run_identity, other.run_identity)
    told = [line if len(line) <= LONGEST else line.split(":")[0] for line in lines]  # identities of features are long
    return f": {'; '.join(told[:SHOWN])}{'; …' if len(told) > SHOWN else ''}"


def _rows(result: EvalResult) -> list[Row]:
    return [row_of(result, score, result.cell.fold, result.cell.seed) for score in result.scores]


def _aggregates_of_seeds(members: Sequence[EvalResult], draws: int, notes: list[str]) -> list[Row]:
    """The folds of each seed pooled, where there are several: shows how much a seed moves the score."""
    by_seed = [list(group) for _, group in groupby(members, key=lambda member: member.cell.seed)]
    return [row for folds in by_seed if len(folds) > 1 for row in aggregate(folds, notes, draws=draws)]


def aggregate(
    members: Sequence[EvalResult], notes: list[str], *, draws: int = DRAWS, only: str | None = None
) -> list[Row]:
    """One row per metric and part over several folds or seeds of the same cell.

    Args:
        members: that are aggregated; the first says what the rows are of.
        notes: takes a sentence for each row that could not be made, or not of all items.
        draws: resamples of an interval.
        only: the one metric that is wanted, of the whole task; None: all, of each part too.
    """
    fold = one_or_all({member.cell.fold for member in members})
    seed = one_or_all({member.cell.seed for member in members})
    rows = []
    wanted = dict.fromkeys((score.metric, score.part) for member in members for score in member.scores)
    for metric, part in [(only, None)] if only else wanted:
        first = members[0].cell
        name = f"{first.encoder}, {first.integration}, {first.task}{f':{part}' if part else ''}, {metric}"
        scores = [s for member in members for s in member.scores if (s.metric, s.part) == (metric, part)]
        try:
            runs = _runs(members, part, name, notes)
            interval = _of_the_peer(scores) if metric.startswith(PREFIX) else _interval(metric, runs, draws)
        except (ScoringError, UnknownNameError) as error:
            notes.append(f"{name}: no aggregate. {error}")
            continue
        invalid = sum(not all(item.valid for item in items) for items in zip(*runs, strict=True))
        score = Score(metric, part, interval, len(runs[0]), invalid, _mean_chance(scores))
        rows.append(with_shared_costs(row_of(members[0], score, fold, seed), members))
    return rows


def _of_the_peer(scores: Sequence[Score]) -> Interval:
    """The mean of what was computed for each run: how xares-llm judges a set is not known from predictions alone."""
    return Interval(fmean(score.interval.value for score in scores), math.nan, math.nan, NO_INTERVAL)


def _interval(metric: str, runs: Sequence[Sequence[Prediction]], draws: int) -> Interval:
    """Without an interval, as in the results themselves, where all items are of one group."""
    if len({item.group for item in runs[0]}) == 1:
        return Interval(fmean(METRICS.load(metric)(run) for run in runs), math.nan, math.nan, NO_INTERVAL)
    return metric_interval(metric, runs, draws=draws)


def _runs(members: Sequence[EvalResult], part: str | None, name: str, notes: list[str]) -> list[list[Prediction]]:
    """For each seed the items of all its folds, those that every seed has, in the order of their ids."""
    by_seed: dict[int, dict[str, Prediction]] = {}
    for member in members:
        pooled = by_seed.setdefault(member.cell.seed, {})
        for item in member.predictions:
            if part is not None and item.part != part:
                continue
            if item.id in pooled:
                raise ScoringError(f"Item {item.id!r} is in the test sets of two folds.")
            pooled[item.id] = item
    shared = set.intersection(*(set(pooled) for pooled in by_seed.values()))
    listed = set[str]().union(*by_seed.values())
    if len(shared) < len(listed):
        notes.append(
            f"{name}: some runs are missing; over the {len(shared)} of {len(listed)} items that every seed has."
        )
    return [[pooled[item_id] for item_id in sorted(shared)] for pooled in by_seed.values()]


def _mean_chance(scores: Sequence[Score]) -> float | None:
    """Weighted by items; None if it is unknown anywhere."""
    weighted = [score.chance * score.n for score in scores if score.chance is not None]
    return sum(weighted) / sum(score.n for score in scores) if len(weighted) == len(scores) else None
