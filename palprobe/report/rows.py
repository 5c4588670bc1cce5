"""One line of leaderboard.csv as a value."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, TypeVar

from palprobe.metrics import METRICS
from palprobe.report.results import EvalResult
from palprobe.types import Score

ALL = "all"  # in the fold or seed column: an aggregate
HEADLINE_METRIC = "accuracy"  # the headline that needs no word beside it

N = TypeVar("N", int, float)
Place = TypeVar("Place", int, int | None)


@dataclass(frozen=True)
class Row:
    """One line of leaderboard.csv; the fields are its columns, but for `part`, which is written into `task`."""

    encoder: str
    layer: str
    integration: str
    llm: str
    trainable: str
    task: str
    part: str | None
    split: str
    fold: int | str | None
    seed: int | str
    scoring: str
    control: str
    metric: str
    score: float
    ci_low: float | None
    ci_high: float | None
    ci_method: str
    n: int
    n_found: int
    n_missing: int
    n_dropped: int
    n_invalid: int
    chance: float | None
    blind: float | None
    audio_tokens: float | None
    tokens_per_second: float | None
    trainable_parameters: int | None
    train_seconds: float | None
    peak_memory_bytes: int | None
    run_id: str

    def columns(self) -> dict[str, Any]:
        """Values by column name, in the order of the CSV."""
        values = asdict(self)
        part = values.pop("part")
        return values | ({"task": f"{self.task}:{part}"} if part is not None else {})


COLUMNS = tuple(name for name in Row.__dataclass_fields__ if name != "part")


def row_of(result: EvalResult, score: Score, fold: int | str | None, seed: int | str) -> Row:
    """The row of one score; fold and seed apart, since an aggregate has others than the result."""
    cell, counts, cost, interval = result.cell, result.counts, result.cost, score.interval
    return Row(
        encoder=cell.encoder,
        layer=cell.layer,
        integration=cell.integration,
        llm=cell.llm,
        trainable=cell.trainable,
        task=cell.task,
        part=score.part,
        split=result.split,
        fold=fold,
        seed=seed,
        scoring=result.scoring,
        control=result.control,
        metric=score.metric,
        score=interval.value,
        ci_low=_finite(interval.low),
        ci_high=_finite(interval.high),
        ci_method=interval.method,
        n=score.n,
        n_found=counts.found,
        n_missing=counts.missing,
        n_dropped=counts.dropped,
        n_invalid=score.n_invalid,
        chance=score.chance,
        blind=None,
        audio_tokens=cost.audio_tokens,
        tokens_per_second=cost.tokens_per_second,
        trainable_parameters=cost.trainable_parameters,
        train_seconds=cost.train_seconds,
        peak_memory_bytes=cost.peak_memory_bytes,
        run_id=result.run_id,
    )


def one_or_all(values: set[Place]) -> Place | str:
    """The fold or seed of a row that is made of several results."""
    return next(iter(values)) if len(values) == 1 else ALL


def with_shared_costs(row: Row, members: Sequence[EvalResult]) -> Row:
    """Counts over the folds of one seed, costs of one run (mean; memory: the largest); no single run id."""
    folds = {member.cell.fold: member.counts for member in members}.values()
    costs = [member.cost for member in members]
    return replace(
        row,
        n_found=sum(counts.found for counts in folds),
        n_missing=max(counts.missing for counts in folds),  # what a task lacks is not known by fold
        n_dropped=sum(counts.dropped for counts in folds),
        audio_tokens=_over_all(fmean, [cost.audio_tokens for cost in costs]),
        tokens_per_second=_over_all(fmean, [cost.tokens_per_second for cost in costs]),
        trainable_parameters=_over_all(max, [cost.trainable_parameters for cost in costs]),
        train_seconds=_over_all(fmean, [cost.train_seconds for cost in costs]),
        peak_memory_bytes=_over_all(max, [cost.peak_memory_bytes for cost in costs]),
        run_id="",
    )


def _over_all(combine: Callable[[list[N]], N], values: Sequence[N | None]) -> N | None:
    """One value for many; None where one of them was not measured."""
    known = [value for value in values if value is not None]
    return combine(known) if len(known) == len(values) else None


def headline_metric(names: Collection[str]) -> str:
    """The metric to show of those that a task has: the first in the order of METRICS; unknown ones come last."""
    order = {name: number for number, name in enumerate(METRICS.parts)}
    return min(names, key=lambda name: (order.get(name, len(order)), name))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def row_order(row: Row) -> tuple[Any, ...]:
    """Sorts rows by what was compared; aggregates come after what they are made of."""

    def last(value: int | str | None) -> tuple[bool, int]:
        return (value == ALL, value if isinstance(value, int) else -1)

    what = (row.encoder, row.layer, row.integration, row.llm, row.trainable, row.task, row.part or "")
    return (*what, row.split, row.scoring, row.control, row.metric, last(row.seed), last(row.fold), row.run_id)
