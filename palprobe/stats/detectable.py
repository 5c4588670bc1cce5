"""What a test set can resolve: the smallest difference that two probes on it would show, known before any work."""

from __future__ import annotations

import math
from statistics import NormalDist

from palprobe.errors import ScoringError

LEVEL = 0.05


def detectable_difference(groups: int, *, disagreeing: float = 0.2, power: float = 0.8) -> float:
    """Smallest difference of accuracy that a paired test at 0.05 finds with that power.

    Args:
        groups: independent recordings or speakers; items, where each is its own group.
        disagreeing: share of them on which just one of the two probes is right.
        power: chance of finding a difference that is there.

    Returns:
        A share, 0.028 for 2.8 points; 1.0 at most, which says that nothing can be shown.

    Raises:
        ScoringError: no groups, or a share that is none.

    Source: the normal approximation to McNemar's test, Connor (1987), with all disagreement under the null.
    """
    if groups < 1 or not 0 < disagreeing <= 1 or not 0.5 <= power < 1:
        raise ScoringError(
            "What a test set can resolve needs 1 group or more, a disagreeing share in (0, 1] and a power in [0.5, 1); "
            f"got {groups}, {disagreeing} and {power}."
        )
    normal = NormalDist()
    return min(1.0, (normal.inv_cdf(1 - LEVEL / 2) + normal.inv_cdf(power)) * math.sqrt(disagreeing / groups))
