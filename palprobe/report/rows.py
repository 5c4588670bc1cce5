"""One line of leaderboard.csv as a value."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from palprobe.metrics import METRICS
from palprobe.report.results import EvalResult
from palprobe.types import Score

ALL = "all"  # in the fold or seed column: an aggregate
NO_CONTROL = "none"  # in the control column: the probe with its own audio
BLIND = "blind"  # in the control column: the probe that was trained without audio, one for all encoders
HEADLINE_METRIC = "accuracy"  # the headline that needs no word beside it


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
