"""From measurements to rows: medians, ratios to PLITS, the bounds beside them, and where LAL's saving comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from palprobe.bench.bound import cached_numbers, prefill, training
from palprobe.bench.grid import FEATURE_SIZE, Grid, Group
from palprobe.bench.measure import Measurement
from palprobe.bench.rows import CostRow
from palprobe.bench.ways import APART, BASELINE, LAL, Load, load_of, parse_way
from palprobe.recipe.training import Trainable

NUMBER_BYTES = {"float32": 4, "bfloat16": 2}
DIGITS = 5  # significant, of measured seconds and ratios


def cost_rows(grid: Grid, found: Sequence[Measurement]) -> list[CostRow]:
    """A row for each cell in the order asked for, and one more for each encoder whose time is added."""
    rows = []
    for group in grid.groups:
        cells = {one.name: one for one in found if one.group == group and one.job.kind == "llm"}
        for cell in cells.values():
            row = _row(grid, group, cell, cells)
            encodings = _encodings(group, found) if cell.measured else []
            rows += [row, *(_with_encoder(row, cell, cells, one) for one in encodings)]
    return rows


def _row(grid: Grid, group: Group, cell: Measurement, cells: dict[str, Measurement]) -> CostRow:
    bounds = _Bounds(group, grid.trainable)
    row = CostRow(
        llm=group.shape.name,
        device=grid.device,
        dtype=grid.dtype,
        threads=cell.prepared.get("threads"),
        machine=cell.prepared.get("machine", ""),
        trainable=grid.trainable,
        audio_tokens=group.audio_tokens,
        text_tokens=group.text_tokens,
        batch=group.batch,
        integration=cell.name,
        status=cell.status,
        rounds=len(cell.rounds),
        train_bound=_rounded(bounds.training(BASELINE) / bounds.training(cell.name)),
        prefill_bound=None if cell.name == APART else _rounded(bounds.prefill(BASELINE) / bounds.prefill(cell.name)),
        cache_bytes=None if cell.name == APART else bounds.cached(cell.name) * NUMBER_BYTES[grid.dtype],
        bypassed_counted=bounds.bypassed() if cell.name == LAL else None,
    )
    return _timed(row, cell, cells, bounds) if cell.measured else row


def _timed(row: CostRow, cell: Measurement, cells: dict[str, Measurement], bounds: _Bounds) -> CostRow:
    seconds, base = _median(cell, "train_seconds"), cells[BASELINE]
    speedup = _speedup(base, cell, "train_seconds")
    return replace(
        row,
        train_seconds=_rounded(seconds),
        train_speedup=_rounded(speedup),
        train_reached=None if speedup is None or row.train_bound is None else _rounded(speedup / row.train_bound),
        train_gflops=None if seconds is None else _rounded(bounds.training(cell.name) / seconds / 1e9),
        prefill_seconds=_rounded(_median(cell, "prefill_seconds")),
        prefill_speedup=_rounded(_speedup(base, cell, "prefill_seconds")),
        decode_seconds=_rounded(_median(cell, "decode_seconds")),
        peak_memory_bytes=cell.prepared["peak_bytes"],
        step_memory_bytes=cell.prepared["step_bytes"],
        step_memory_share=_share(cell, base, "step_bytes"),
        saved_bytes=cell.prepared["saved_bytes"],
        saved_share=_share(cell, base, "saved_bytes"),
        inference_memory_bytes=cell.prepared["inference_peak_bytes"],
        bypassed_measured=_bypassed_measured(cells) if cell.name == LAL else None,
    )


class _Bounds:
    """Operations and bytes of a group's batch under each way."""

    def __init__(self, group: Group, trainable: Trainable) -> None:
        self._group, self._trainable = group, trainable

    def _load(self, name: str) -> Load:
        return load_of(parse_way(name), self._group.shape, audio_tokens=self._group.audio_tokens, dim=FEATURE_SIZE)

    def training(self, name: str) -> float:
        return self._parts(name)[2]

    def _parts(self, name: str) -> tuple[float, float, float]:
        """Linear layers, attention, and everything."""
        group = self._group
        one = training(
            group.shape,
            self._load(name),
            text_tokens=group.text_tokens,
            answer_tokens=group.answer_tokens,
            trainable=self._trainable,
        )
        return group.batch * one.linears, group.batch * one.attention, group.batch * one.total

    def prefill(self, name: str) -> float:
        group = self._group
        return group.batch * prefill(group.shape, self._load(name), text_tokens=group.text_tokens).total

    def cached(self, name: str) -> int:
        return self._group.batch * cached_numbers(
            self._group.shape, self._load(name), text_tokens=self._group.text_tokens
        )

    def bypassed(self) -> float:
        """Of the operations that LAL saves in a step, the share of linear layers; the rest is attention."""
        plits, lal = self._parts(BASELINE), self._parts(LAL)
        return float(_rounded((plits[0] - lal[0]) / (plits[0] - lal[0] + plits[1] - lal[1])) or 0.0)


def _bypassed_measured(cells: dict[str, Measurement]) -> float | None:
    """The same in seconds: audio rows that no longer attend to each other save the rest."""
    if APART not in cells or not (cells[APART].measured and cells[BASELINE].measured):
        return None
    whole, apart, lal = (_median(cells[name], "train_seconds") for name in (BASELINE, APART, LAL))
    if whole is None or apart is None or lal is None or whole <= lal:
        return None
    return _rounded((apart - lal) / (whole - lal))


def _encodings(group: Group, found: Sequence[Measurement]) -> list[Measurement]:
    size = (group.audio_tokens, group.batch)
    return [one for one in found if one.job.kind == "encoder" and (one.group.audio_tokens, one.group.batch) == size]


def _with_encoder(row: CostRow, cell: Measurement, cells: dict[str, Measurement], encoding: Measurement) -> CostRow:
    """The cell once more, with the time of encoding its batch in every step."""
    added = _median(encoding, "encode_seconds")
    return replace(
        row,
        status=encoding.status,
        encoder=encoding.name,
        audio_seconds=_rounded(encoding.prepared.get("audio_seconds")),
        encode_seconds=_rounded(added),
        system_train_speedup=_with(cells[BASELINE], cell, "train_seconds", added),
        system_prefill_speedup=_with(cells[BASELINE], cell, "prefill_seconds", added),
    )


def _with(base: Measurement, cell: Measurement, key: str, added: float | None) -> float | None:
    return None if added is None else _rounded(_speedup(base, cell, key, added))


def _speedup(base: Measurement, cell: Measurement, key: str, added: float = 0.0) -> float | None:
    """The median over rounds that both took part in; of another sitting, the ratio of the medians.

    Args:
        base: PLITS.
        cell: measured.
        key: of the seconds.
        added: seconds that both take besides.
    """
    if not base.measured:
        return None
    if cell is base:
        return 1.0 if base.seconds(key) else None
    if base.sitting == cell.sitting:
        pairs = list(zip(base.seconds(key), cell.seconds(key), strict=False))
        return median((one + added) / (other + added) for one, other in pairs) if pairs else None
    whole, own = _median(base, key), _median(cell, key)
    return None if whole is None or own is None else (whole + added) / (own + added)


def _median(cell: Measurement, key: str) -> float | None:
    return median(cell.seconds(key)) if cell.measured and cell.seconds(key) else None


def _share(cell: Measurement, base: Measurement, key: str) -> float | None:
    return _rounded(cell.prepared[key] / base.prepared[key]) if base.measured and base.prepared[key] else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")
