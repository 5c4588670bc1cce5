"""Measuring a grid: a fresh process for each cell; the cells of a group take turns, so that noise meets all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from palprobe.bench.grid import FEATURE_SIZE, NEW_TOKENS, Grid, Group
from palprobe.bench.job import Job
from palprobe.bench.rows import FAILED, MEASURED, NO_TIME
from palprobe.bench.ways import Way
from palprobe.bench.worker import OutOfTime, Worker
from palprobe.doctor.machine import memory_bytes
from palprobe.errors import BenchError

FEWEST_ROUNDS, MOST_ROUNDS, ROUND_SECONDS = 3, 9, 12.0  # short steps are repeated until their rounds took so long
SLOW_ROUNDS, SLOW_SECONDS = 2, 60.0  # rounds that are enough once they took so long
HEADROOM = 1.2  # free memory for another process, over the largest peak so far

Progress = Callable[[int, str], None]  # groups done, and what is next


@dataclass
class Measurement:
    """What became of one cell, or of one encoder at one length."""

    name: str  # of the way, or the encoder's spec
    group: Group
    job: Job
    status: str = NO_TIME
    sitting: int = 0  # cells of one sitting took turns
    prepared: dict[str, Any] = field(default_factory=dict)
    rounds: list[dict[str, float]] = field(default_factory=list)

    @property
    def measured(self) -> bool:
        return self.status == MEASURED

    def seconds(self, key: str) -> list[float]:
        """Of every round, where that was measured."""
        return [values[key] for values in self.rounds if key in values]


def measure(grid: Grid, progress: Progress) -> list[Measurement]:
    """Every cell and every encoder of the grid, the quickest groups first, so that a time limit leaves whole ones.

    A cell that fails, or whose process is killed, says so in its status, and the rest goes on.
    """
    deadline = None if grid.time_limit is None else time.monotonic() + grid.time_limit
    order = sorted(grid.groups, key=lambda group: _rows(group) * group.shape.layer_weights * group.shape.num_layers)
    found: list[Measurement] = []
    for number, group in enumerate(order):
        progress(number, group.name)
        cells = [Measurement(way.name, group, _job(grid, group, way)) for way in grid.ways]
        _in_sittings(cells, deadline)
        encoders = [] if _known(found, group) else [_encoder(grid, group, spec) for spec in grid.encoders]
        for encoder in encoders:
            _in_sittings([encoder], deadline)
        found += [*cells, *encoders]
    progress(len(order), "")
    return found


def _rows(group: Group) -> int:
    return group.batch * (group.audio_tokens + group.text_tokens)


def _known(found: Sequence[Measurement], group: Group) -> bool:
    """Whether encoders were measured at that length and batch, with another text or LLM."""
    size = (group.audio_tokens, group.batch)
    return any(one.job.kind == "encoder" and (one.job.audio_tokens, one.job.batch) == size for one in found)


def _job(grid: Grid, group: Group, way: Way) -> Job:
    return Job(
        "llm",
        audio_tokens=group.audio_tokens,
        batch=group.batch,
        device=grid.device,
        way=way.name,
        config=dict(group.shape.config),
        text_tokens=group.text_tokens,
        answer_tokens=group.answer_tokens,
        new_tokens=NEW_TOKENS,
        dim=FEATURE_SIZE,
        trainable=grid.trainable,
        dtype=grid.dtype,
    )


def _encoder(grid: Grid, group: Group, spec: str) -> Measurement:
    job = Job("encoder", group.audio_tokens, group.batch, grid.device, encoder=spec)
    return Measurement(spec, group, job)


def _in_sittings(cells: Sequence[Measurement], deadline: float | None) -> None:
    """Measures all cells, as many at a time as the memory holds."""
    waiting, sitting = list(cells), 0
    while waiting:
        with ExitStack() as closing:
            seated = _seat(waiting, deadline, closing)
            for cell, _ in seated:
                cell.sitting = sitting
            _take_turns(seated)
        sitting += 1


def _seat(waiting: list[Measurement], deadline: float | None, closing: ExitStack) -> list[tuple[Measurement, Worker]]:
    """Starts processes one after the other, takes their cells from the list, and stops before the memory is full."""
    seated: list[tuple[Measurement, Worker]] = []
    largest = 0
    while waiting and (not seated or _room_for(largest, waiting[0].job.device)):
        cell = waiting.pop(0)
        if deadline is not None and time.monotonic() >= deadline:
            continue
        try:
            worker = Worker(cell.job, deadline)
        except BenchError as error:
            cell.status = f"{FAILED}{error}"
        except OutOfTime:
            pass
        else:
            closing.callback(worker.close)
            cell.prepared = worker.prepared
            largest = max(largest, worker.prepared.get("peak_bytes", 0))
            seated.append((cell, worker))
    return seated


def _room_for(peak_bytes: int, device: str) -> bool:
    """Whether another process as large as the largest so far can run beside them; on a GPU none does."""
    _, available = memory_bytes()
    return device == "cpu" and available is not None and available > HEADROOM * peak_bytes


def _take_turns(seated: Sequence[tuple[Measurement, Worker]]) -> None:
    """Rounds in which every process makes each of its measurements once; one cut short by the deadline is dropped."""
    start, playing = time.monotonic(), list(seated)
    for number in range(MOST_ROUNDS):
        elapsed = time.monotonic() - start
        if (number >= FEWEST_ROUNDS and elapsed >= ROUND_SECONDS) or (
            number >= SLOW_ROUNDS and elapsed >= SLOW_SECONDS
        ):
            break
        values: dict[int, dict[str, float]] = {id(cell): {} for cell, _ in playing}
        try:
            for measurement in ("train", "infer", "encode"):
                for cell, worker in list(playing):
                    if measurement in cell.job.measurements:
                        _ask(cell, worker, measurement, values, playing)
        except OutOfTime:
            break
        for cell, _ in playing:
            cell.rounds.append(values[id(cell)])
            cell.status = MEASURED


def _ask(
    cell: Measurement,
    worker: Worker,
    measurement: str,
    values: dict[int, dict[str, float]],
    playing: list[tuple[Measurement, Worker]],
) -> None:
    try:
        values[id(cell)] |= worker.ask(measurement)
    except BenchError as error:
        cell.status = f"{FAILED}{error}"
        playing.remove((cell, worker))
