"""Intervals about new items and new seeds: both are drawn from more than were tested.

Shape letters: S seeds, G groups, E items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from palprobe.types import Interval

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Standard error of a mean over seeds and groups, and the degrees of freedom of its t distribution."""

    error: float
    freedom: float


def spread(values: Floats) -> Spread:
    """How far a mean over seeds and groups may be off, were both drawn anew.

    Args:
        values: (S, G) of each seed and group; with one seed it is about new groups alone.

    Source: variance components of a two-way layout, degrees of freedom by Satterthwaite (1946).
    """
    raise NotImplementedError


def seeded_mean(values: Floats, groups: Sequence[str]) -> Interval:
    """95 % interval of the mean of (S, E) values of any unit, about new groups and new seeds.

    Raises:
        ScoringError: fewer than two groups, or a value that is not finite.
    """
    raise NotImplementedError
