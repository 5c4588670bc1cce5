"""Parts of a training split, each inside the next: for how a probe gets better with more examples, and in how few bits.

A portion is so many of the split's groups; what the next larger one adds is its block, which a probe that was trained
on the portion has not seen. Classes are in every portion as they are in the whole, as far as that goes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise

from palprobe.files import digest
from palprobe.tasks.splits import Examples, Splits, shared_parts
from palprobe.types import Example

SHARES = (0.0625, 0.125, 0.25, 0.5)  # the last of the blocks of Voita and Titov (2020); the whole follows
PREFIX = "portion "  # of the control's name: "portion 0.0625"

Stratum = tuple[str | None, str] | None  # part and answer; None where questions are open


def portion_name(share: float) -> str:
    """The control of a run that is trained on that share."""
    return f"{PREFIX}{share:g}"


def share_of(control: str) -> float | None:
    """The share of a portion's name; None of another control."""
    return float(control.removeprefix(PREFIX)) if control.startswith(PREFIX) else None


def portion_shares(splits: Splits) -> tuple[float, ...]:
    """The shares that give portions of their own, smallest first: of few groups some come to the same."""
    groups = len({example.group for example in splits.train})
    counts = [(_count(share, groups), share) for share in (*SHARES, 1.0)]
    return tuple(share for (count, share), (larger, _) in pairwise(counts) if 0 < count < larger)


def portion(splits: Splits, share: float, *, seed: int) -> Splits:
    """The splits with a part of the training groups alone; `block` and `later` hold the rest.

    A smaller share is always within a larger one, and the order of examples is that of the split.

    Args:
        splits: of the task.
        share: of the training groups, above 0 and below 1.
        seed: of the order in which groups are taken, the same for every share.
    """
    order = _order(splits.train, seed)
    count = max(1, _count(share, len(order)))
    ends = [_count(larger, len(order)) for larger in (*SHARES, 1.0) if larger > share]
    end = next(found for found in ends if found > count or found == len(order))
    place = {group: number for number, group in enumerate(order)}

    def among(first: int, last: int) -> Examples:
        return tuple(example for example in splits.train if first <= place[example.group] < last)

    return replace(splits, train=among(0, count), block=among(count, end), later=among(end, len(order)))


def _count(share: float, groups: int) -> int:
    return int(share * groups + 0.5)


def _order(examples: Examples, seed: int) -> list[str]:
    """The groups, each beginning of the order with about the shares of classes that all have.

    Of each class the groups are spread evenly over the order, from an offset of its own.
    """
    strata: dict[Stratum, list[str]] = defaultdict(list)
    for group, stratum in _strata(examples).items():
        strata[stratum].append(group)
    places: dict[str, tuple[float, str]] = {}
    for stratum, groups in strata.items():
        offset = int(digest([seed, "offset", stratum])[:8], 16) / 16**8
        shuffled = sorted(groups, key=lambda group: digest([seed, group]))
        places |= {group: ((rank + offset) / len(groups), digest([seed, group])) for rank, group in enumerate(shuffled)}
    return sorted(places, key=places.__getitem__)


def _strata(examples: Examples) -> dict[str, Stratum]:
    """For each group the rarest of its answers; where answers are not shared, all groups are alike."""
    shared = shared_parts(examples)
    answers: dict[str, list[tuple[str | None, str]]] = {}
    for example in examples:
        answers.setdefault(example.group, []).extend(_answers(example) if example.part in shared else [])
    counts = Counter(answer for listed in answers.values() for answer in set(listed))

    def rarity(answer: tuple[str | None, str]) -> tuple[int, str]:
        return counts[answer], digest(list(answer))

    return {group: min(listed, key=rarity) if listed else None for group, listed in answers.items()}


def _answers(example: Example) -> list[tuple[str | None, str]]:
    return [(example.part, answer) for answer in example.references]
