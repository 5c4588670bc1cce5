"""A lesson: one stage of training, with its examples, what of the LLM moves, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from palprobe.files import digest
from palprobe.recipe.training import Trainable, TrainSection
from palprobe.training.batches import plan_steps
from palprobe.training.examples import TrainingSet, sort_keys
from palprobe.training.probe import Probe


@dataclass(frozen=True, eq=False)
class Lesson:
    """One stage; a probe that is trained in a single one has a single lesson."""

    data: TrainingSet
    section: TrainSection  # its own steps, rate and batch size
    trainable: Trainable | None = None  # None: what is marked so already


def plan_lesson(probe: Probe, lesson: Lesson, *, number: int, seed: int) -> list[np.ndarray]:
    """The example numbers of each of its steps.

    Args:
        probe: knows what a batch should have alike.
        lesson: to be planned.
        number: of the lesson, from 0; two lessons on the same examples take them in another order.
        seed: of the run.
    """
    data, section = lesson.data, lesson.section
    return plan_steps(
        sort_keys(probe, data),
        batch_size=section.batch_size,
        steps=section.steps,
        seed=seed if number == 0 else int(digest([seed, number])[:15], 16),
        clips=data.clips if data.shares_clips else None,
        mix=data.mix,
    )


def learning_rate(step: int, section: TrainSection) -> float:
    """Linear warm-up to the peak, then half a cosine, or a line, to zero one step after the last of the lesson."""
    warmup = max(1, round(section.warmup_fraction * section.steps))
    if step < warmup:
        return section.learning_rate * (step + 1) / warmup
    share = (step - warmup + 1) / (section.steps - warmup + 1)
    if section.schedule == "linear":
        return section.learning_rate * (1 - share)
    return section.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
