"""The heat map of a layer sweep: layers down, tasks across, and what validation chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from palprobe.metrics import LOWER_IS_BETTER
from palprobe.report.layer_sweep import LayerSweep
from palprobe.report.rows import Row
from palprobe.report.text import UNKNOWN, score_text

SHADES = 10


@dataclass(frozen=True)
class HeatCell:
    """The score of one layer on one task."""

    text: str
    shade: int  # 0: the worst layer on its task, 9: the best
    chosen: str  # "3 of 5 folds" where validation chose it, "" where it did not
    told: str  # with its interval


@dataclass(frozen=True)
class HeatMap:
    """One encoder through one integration."""

    title: str
    tasks: tuple[str, ...]
    lines: tuple[tuple[str, tuple[HeatCell, ...]], ...]  # layer → a cell for each task
    chosen: tuple[str, ...]  # for each task what the choice scores on test; () where nothing was chosen


def heat_map(sweep: LayerSweep) -> HeatMap:
    """A colour is relative to its own task; the numbers are the scores on test."""
    columns = [_column(sweep, task) for task in sweep.tasks]
    lines = tuple((layer, tuple(column[layer] for column in columns)) for layer in sweep.layers)
    chosen = tuple(_told(sweep.chosen.get(task)) for task in sweep.tasks) if sweep.chosen else ()
    return HeatMap(sweep.title, tuple(_head(sweep, task) for task in sweep.tasks), lines, chosen)


def _column(sweep: LayerSweep, task: str) -> Mapping[str, HeatCell]:
    rows = {layer: sweep.scores.get((layer, task)) for layer in sweep.layers}
    known = [row.score for row in rows.values() if row is not None]
    low, high = min(known), max(known)
    picks = sweep.picks.get(task, {})
    folds = sum(picks.values())
    return {layer: _cell(row, low, high, picks.get(layer, 0), folds) for layer, row in rows.items()}


def _cell(row: Row | None, low: float, high: float, picks: int, folds: int) -> HeatCell:
    if row is None:
        return HeatCell(UNKNOWN, 0, "", "not run")
    share = (row.score - low) / (high - low) if high > low else 0.5
    share = 1 - share if row.metric in LOWER_IS_BETTER else share
    chosen = "" if not picks else "chosen" if folds == 1 else f"chosen in {picks} of {folds} folds"
    return HeatCell(f"{row.score:.3f}", round(share * (SHADES - 1)), chosen, _told(row))


def _head(sweep: LayerSweep, task: str) -> str:
    metric = next(row.metric for (_, name), row in sweep.scores.items() if name == task)
    return f"{task} {metric}"


def _told(row: Row | None) -> str:
    return UNKNOWN if row is None else score_text(row.score, row.ci_low, row.ci_high)
