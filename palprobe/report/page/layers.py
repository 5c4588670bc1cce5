"""The heat map of a layer sweep: layers across, tasks down, and the layer that was chosen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from palprobe.metrics import LOWER_IS_BETTER
from palprobe.report.leaderboard import Leaderboard
from palprobe.report.rows import NO_CONTROL, Row
from palprobe.report.tables import headline
from palprobe.report.text import score_text

SHADES = 10


@dataclass(frozen=True)
class HeatCell:
    """The score of one layer."""

    score: float | None
    shade: int  # 0 the worst layer of its task, 9 the best; of the test scores
    chosen: bool
    told: str  # the score with its interval


@dataclass(frozen=True)
class HeatLine:
    """One task: a cell a layer, and what the choice came to."""

    task: str
    metric: str
    cells: tuple[HeatCell, ...]
    chosen: str


@dataclass(frozen=True)
class HeatMap:
    """One encoder through one integration."""

    title: str
    layers: tuple[int, ...]
    lines: tuple[HeatLine, ...]


def heat_maps(board: Leaderboard) -> list[HeatMap]:
    """For each encoder, integration and LLM with two layers or more."""
    families: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in (summary.row for summary in headline(board)):
        if row.layer.isdigit() and row.control == NO_CONTROL:
            base = row.encoder.rpartition("@")[0] or row.encoder
            families[base, row.integration, row.llm, row.trainable, row.scoring].append(row)
    maps = []
    for (encoder, integration, llm, trainable, scoring), rows in sorted(families.items()):
        layers = sorted({int(row.layer) for row in rows})
        if len(layers) > 1:
            title = f"{encoder}, {integration}, {llm}, {trainable}, {scoring}"
            tasks = sorted({row.task for row in rows})
            maps.append(HeatMap(title, tuple(layers), tuple(_line(task, layers, rows) for task in tasks)))
    return maps


def _line(task: str, layers: Sequence[int], rows: Sequence[Row]) -> HeatLine:
    by_split: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        if row.task == task:
            by_split[row.split][int(row.layer)] = row
    test = by_split.get("test") or next(iter(by_split.values()))
    metric = next(iter(test.values())).metric
    sign = -1 if metric in LOWER_IS_BETTER else 1
    validation = by_split.get("validation", {})
    judged = validation or test
    best = min(judged, key=lambda layer: (-sign * judged[layer].score, layer))
    scores = [sign * row.score for row in test.values()]
    cells = tuple(_cell(test.get(layer), layer == best, sign, min(scores), max(scores)) for layer in layers)
    where = "chosen on validation" if validation else "the best on these very items, so too high"
    chosen = f"layer {best}: {_told(test.get(best))} ({where})"
    return HeatLine(task, metric, cells, chosen)


def _cell(row: Row | None, chosen: bool, sign: int, worst: float, best: float) -> HeatCell:
    if row is None:
        return HeatCell(None, 0, chosen, "not run")
    share = (sign * row.score - worst) / (best - worst) if best > worst else 0.5
    return HeatCell(row.score, min(SHADES - 1, int(share * SHADES)), chosen, _told(row))


def _told(row: Row | None) -> str:
    return "not run" if row is None else score_text(row.score, row.ci_low, row.ci_high)
