"""What is better than what: contests of each task, and the order over all tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from palprobe.report.contest import Contest
from palprobe.types import Interval


@dataclass(frozen=True, eq=False)
class Overall:
    """Encoders over several tasks, through one integration into one LLM."""

    integration: str
    llm: str
    trainable: str
    names: tuple[str, ...]  # encoders, the best headline first
    headline: Mapping[str, Interval]  # mean over tasks of the score, less blind's, of what is above chance
    rank: Mapping[str, tuple[int, int]]  # 95 % interval of the rank by the headline; 1 is the best
    average_rank: Mapping[str, float]  # over the tasks that all have
    strength: Mapping[str, float]  # Bradley-Terry, in logits, mean 0
    critical_difference: float | None  # Nemenyi, of average ranks; None where tasks or encoders are too few
    tasks: tuple[str, ...]
    left_out: tuple[str, ...]  # sentences: tasks or encoders that are not in it, and why


@dataclass(frozen=True, eq=False)
class Standings:
    """All that reports say in words about which is better."""

    contests: tuple[Contest, ...]
    overall: tuple[Overall, ...]
