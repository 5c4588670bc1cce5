"""Pairs of rows, tested item by item: which is better, and why it is not said where it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from palprobe.errors import ScoringError, UnknownNameError
from palprobe.metrics import LOWER_IS_BETTER
from palprobe.report.contest import Axis, Gap, Verdict
from palprobe.report.sides import Side
from palprobe.stats.differences import ALPHA, Difference, difference
from palprobe.stats.paired import holm
from palprobe.types import Prediction

SAME_ANSWERS = "they answer every item alike"
ONE_SEED = "one seed: no claim beyond these items"
CHANCE = "it may be chance"
Compared = tuple[Side, Side, Difference]


def gaps_of(axis: Axis, pairs: Sequence[tuple[Side, Side]], *, draws: int) -> list[Gap]:
    """Each pair tested, Holm over all of them, since the best one is chosen by looking at all.

    Args:
        axis: what the two of each pair differ in.
        pairs: rows of one task, split and scoring.
        draws: of a test that is not exact.
    """
    compared: list[Compared] = []
    gaps: list[Gap] = []
    for one, other in pairs:
        try:
            found = difference(one.row.metric, one.runs, other.runs, draws=draws)
        except (ScoringError, UnknownNameError) as error:
            gaps.append(Gap(axis, one.row, other.row, None, None, "not compared", str(error)))
            continue
        compared.append(_better_first(one, other, found))
    adjusted = holm([found.p for _, _, found in compared])
    gaps += [_gap(axis, *pair, p) for pair, p in zip(compared, adjusted, strict=True)]
    return sorted(gaps, key=_order)


def _better_first(one: Side, other: Side, found: Difference) -> Compared:
    """The pair turned so that the first is the better; by the rows' own scores where the shared items tie."""
    sign = -1 if one.row.metric in LOWER_IS_BETTER else 1
    ahead = sign * found.value or sign * (one.row.score - other.row.score)
    return (one, other, found) if ahead >= 0 else (other, one, _turned(found))


def _turned(found: Difference) -> Difference:
    """The same, second less first."""
    by_seed = tuple(0.0 - value for value in found.by_seed)  # 0.0 -: no negative zero
    return replace(found, value=0.0 - found.value, low=0.0 - found.high, high=0.0 - found.low, by_seed=by_seed)


def _gap(axis: Axis, better: Side, worse: Side, found: Difference, p: float) -> Gap:
    verdict, reason = _verdict(better, worse, found, p)
    return Gap(axis, better.row, worse.row, found, p, verdict, reason)


def _verdict(better: Side, worse: Side, found: Difference, p: float) -> tuple[Verdict, str]:
    """What may be said of a pair; the first reason that stands against more."""
    verdict: Verdict = "one seed" if len(found.by_seed) == 1 else "tied"
    if not any(found.by_seed) and _alike(better.runs, worse.runs):
        return verdict, SAME_ANSWERS
    if len(found.by_seed) == 1:
        return verdict, ONE_SEED
    if 2.0 ** (1 - found.groups) >= ALPHA:
        return verdict, f"{found.groups} recordings or speakers are too few to show any difference"
    if p >= ALPHA:
        return verdict, CHANCE
    if not found.seeds_agree:
        return verdict, "the seeds disagree"
    if not found.holds(p):
        return verdict, "another seed may turn it round"
    return "better", ""


def _alike(one: Mapping[int, Mapping[str, Prediction]], other: Mapping[int, Mapping[str, Prediction]]) -> bool:
    """Whether the answers to all shared items are the same, under every shared seed."""
    return all(
        one[seed][item].prediction == other[seed][item].prediction
        for seed in one.keys() & other.keys()
        for item in one[seed].keys() & other[seed].keys()
    )


def _order(gap: Gap) -> tuple[Any, ...]:
    """The best rows first, whatever the order of the pairs."""
    sign = 1 if gap.better.metric in LOWER_IS_BETTER else -1
    sides = (gap.better, gap.worse)
    names = [(side.encoder, side.integration, side.control) for side in sides]
    return (*(sign * side.score for side in sides), *names)
