"""Too little memory: how torch and Python say so, and what to lower."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from palprobe.errors import PalprobeError
from palprobe.recipe.training import TrainSection

# How allocators say it where they raise a plain RuntimeError: of the CPU, cuBLAS and cuDNN, and mps.
SIGNS = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


@contextmanager
def when_out_of_memory(told: Callable[[], PalprobeError]) -> Iterator[None]:
    """Inside, an allocation that fails becomes the error that `told` makes; any other goes through."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(sign in str(error) for sign in SIGNS):
            raise told() from error
        raise


def advice(section: TrainSection) -> str:
    """What would take less memory in training, that which changes least first; only what is not done already."""
    changes = []
    if section.accumulate < section.batch_size:
        changes.append(f"train.accumulate={min(2 * section.accumulate, section.batch_size)} (same step in more pieces)")
    if not section.checkpointing:
        changes.append("train.checkpointing=true (same result, slower)")
    if section.precision == "float32":
        changes.append("train.precision=bfloat16")
    changes.append("integration.pool=time:2 or more (fewer audio tokens)")
    if section.batch_size > 1:
        changes.append(f"train.batch_size={section.batch_size // 2}")
    return f"Lower what it needs with --set {', or --set '.join(changes)}."
