"""One line of cost.csv as a value: a cell's measurements, and what they are beside PLITS and beside the bound."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

MEASURED = "measured"  # of a row's status; the others give a reason
FAILED = "failed: "
NO_TIME = "not measured: time limit"


@dataclass(frozen=True)
class CostRow:
    """A cell; empty where something was not measured or has no meaning. A speed-up is PLITS' seconds over its own."""

    llm: str
    device: str
    dtype: str
    threads: int | None
    machine: str  # its processor with the threads, or its GPU
    trainable: str
    audio_tokens: int  # of the encoder, per clip
    text_tokens: int  # prompt and answer
    batch: int  # clips
    integration: str
    status: str
    rounds: int  # timed, after a first one that is not
    train_seconds: float | None = None  # of a step, median
    train_speedup: float | None = None  # median over the rounds in which both took their turn
    train_bound: float | None = None  # ratio of floating point operations
    train_reached: float | None = None  # speed-up over bound
    train_gflops: float | None = None  # operations of the bound, in 10⁹ a second
    prefill_seconds: float | None = None  # from features to the first token
    prefill_speedup: float | None = None
    prefill_bound: float | None = None
    decode_seconds: float | None = None  # of each further token
    peak_memory_bytes: int | None = None  # of the process in a training step
    step_memory_bytes: int | None = None  # without what was resident before the step
    step_memory_share: float | None = None  # of PLITS'
    saved_bytes: int | None = None  # for the backward pass
    saved_share: float | None = None  # of PLITS'
    inference_memory_bytes: int | None = None  # peak of the process
    cache_bytes: int | None = None  # keys and values kept for decoding, counted
    bypassed_counted: float | None = None  # feed-forward and projections in the operations saved, a share
    bypassed_measured: float | None = None  # the same in the seconds saved; the rest is audio-audio attention
    encoder: str = ""  # whose time the columns below include
    audio_seconds: float | None = None  # of sound in a clip
    encode_seconds: float | None = None  # of the batch
    system_train_speedup: float | None = None  # where every step encodes anew
    system_prefill_speedup: float | None = None

    @property
    def measured(self) -> bool:
        return self.status == MEASURED

    @property
    def failed(self) -> bool:
        return self.status.startswith(FAILED)


COLUMNS = tuple(field.name for field in fields(CostRow))


def csv_text(rows: Sequence[CostRow]) -> str:
    """cost.csv: floats that read back exactly, empty for what is not known."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([COLUMNS, *(asdict(row).values() for row in rows)])
    return buffer.getvalue()


def json_text(rows: Sequence[CostRow]) -> str:
    return json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False, allow_nan=False) + "\n"
