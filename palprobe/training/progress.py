"""What a progress bar shows of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """The state after a step."""

    step: int
    steps: int
    loss: float
    questions: int  # trained on so far, over all steps


Progress = Callable[[Report], None]
