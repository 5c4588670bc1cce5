"""Which of several things nothing else beats in score and in every cost at once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


def frontier(scores: Mapping[Name, float], costs: Mapping[Name, Sequence[float]]) -> tuple[Name, ...]:
    """Those that no other matches at no higher cost and surpasses in something; the best score first.

    Two that are alike in all are both on it.

    Args:
        scores: higher is better.
        costs: of the same names (one without a known cost is left out of both); one number or more, lower is better.
    """
    known = [name for name in scores if name in costs]
    kept = [name for name in known if not any(_dominates(other, name, scores, costs) for other in known)]
    return tuple(sorted(kept, key=lambda name: (-scores[name], tuple(costs[name]))))


def _dominates(one: Name, other: Name, scores: Mapping[Name, float], costs: Mapping[Name, Sequence[float]]) -> bool:
    paired = list(zip(costs[one], costs[other], strict=True))
    at_least = scores[one] >= scores[other] and all(mine <= theirs for mine, theirs in paired)
    return at_least and (scores[one] > scores[other] or any(mine < theirs for mine, theirs in paired))
