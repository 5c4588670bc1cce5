"""Controls that change what is trained on: the classes' names, or how much of the training split."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from palprobe.errors import UsageError
from palprobe.files import digest
from palprobe.recipe import DataSection
from palprobe.recipe.rigor import BLIND, NO_CONTROL, PORTIONS, VERBALISER
from palprobe.tasks.portions import portion, portion_shares, share_of
from palprobe.tasks.splits import Examples, Splits
from palprobe.types import Example

Names = dict[tuple[str | None, str], str]  # (part, class) -> the class under whose name it goes


def controlled(splits: Splits, control: str, section: DataSection, *, seed: int) -> Splits:
    """The splits as a run with that control is trained and tested on them.

    Args:
        splits: of the task.
        control: of the cell.
        section: `split_seed` draws portions, the same ones for all seeds of training.
        seed: of the run.

    Raises:
        UsageError: the control means nothing for this task.
    """
    if control in (NO_CONTROL, BLIND):
        return splits
    if reason := not_applicable(splits, control):
        raise UsageError(f"The control {control} {reason}")
    if share := share_of(control):
        return portion(splits, share, seed=section.split_seed)
    return _renamed(splits, _deranged_names(splits, seed))


def not_applicable(splits: Splits, control: str) -> str | None:
    """Why a control means nothing for a task; None where it does."""
    if control == PORTIONS:
        return None if portion_shares(splits) else "does not apply: the training split is one group."
    if share := share_of(control):
        rest = portion(splits, share, seed=0).block
        return None if rest else "does not apply: of so few training groups it leaves none for later."
    if control != VERBALISER:
        return None
    if splits.kind not in ("classification", "multi-label"):
        return f"does not apply: it exchanges the names of classes, and this is no classification but {splits.kind}."
    if any(len(found) > 1 for found in _choices(splits).values()):
        return "does not apply: it exchanges the names of classes, and the items do not share one set of choices."
    if any(len(names) < 2 for found in _choices(splits).values() for names in found):
        return "does not apply: there is one class alone."
    return None


def _all(splits: Splits) -> Examples:
    return (*splits.train, *splits.validation, *splits.test)


def _choices(splits: Splits) -> dict[str | None, set[frozenset[str]]]:
    """The different sets of choices of each part."""
    found: dict[str | None, set[frozenset[str]]] = {}
    for example in _all(splits):
        found.setdefault(example.part, set()).add(frozenset(example.choices))
    return found


def _deranged_names(splits: Splits, seed: int) -> Names:
    """For each part, every class's name given to the next one in a seeded order: none keeps its own."""
    names: Names = {}
    for part, (choices,) in _choices(splits).items():
        order = sorted(choices)
        Random(digest([VERBALISER, seed, part])).shuffle(order)  # noqa: S311 - no secret
        names |= {(part, name): other for name, other in zip(order, [*order[1:], order[0]], strict=True)}
    return names


def _renamed(splits: Splits, names: Names) -> Splits:
    def renamed(example: Example) -> Example:
        return replace(example, references=tuple(names[example.part, name] for name in example.references))

    train, validation, test = (
        tuple(map(renamed, examples)) for examples in (splits.train, splits.validation, splits.test)
    )
    return Splits(train, validation, test, splits.kind)
