"""Splits: which examples train, choose and test; refuses what would make a score mean something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from palprobe.errors import DataError, UsageError
from palprobe.files import digest
from palprobe.recipe import DataSection
from palprobe.types import SPLITS, Example, Split, TaskData, TaskKind

Examples = tuple[Example, ...]


@dataclass(frozen=True)
class Splits:
    """The examples of one run; no group is in two of them."""

    train: Examples
    validation: Examples
    test: Examples
    kind: TaskKind = "classification"
    block: Examples = ()  # where `train` is a portion: what the next larger one adds to it
    later: Examples = ()  # and what comes after that

    @property
    def everything(self) -> Examples:
        """All examples, what is left for later too."""
        return (*self.train, *self.validation, *self.test, *self.block, *self.later)


def split_task(
    data: TaskData, fold: int | None, section: DataSection, *, needs: Collection[Split] = ("train", "test")
) -> Splits:
    """The splits of a task, or of one fold of it: that fold tests, the others train.

    A task without a validation split gives up `validation_fraction` of its training groups, drawn by `split_seed`
    and the fold; the test split has no part in it. `limit` then draws from each split, as evenly over the answers
    as it can, so that a larger limit contains a smaller one. Of a clip with several labels, each is an answer.

    Args:
        data: the whole task.
        fold: one of `data.folds`; None exactly when there are none.
        section: `limit`, `validation_fraction` and `split_seed` are used.
        needs: the splits that must hold examples. A task that is only tested needs no training split, and gives none:
            its probe is trained on other tasks. One that is only trained on keeps its test split, if it has one, apart.

    Raises:
        UsageError: no such fold, or a fold of a task that has none, or none of a task that has some.
        DataError: two examples of one id, a group or clip on both sides, an empty split, or an answer that its
            choices or the training split lack.
    """
    _check_fold(data, fold)
    _check_examples(data)
    if fold is None:
        train, validation, test = (tuple(e for e in data.examples if e.split == split) for split in SPLITS)
    else:
        train = tuple(example for example in data.examples if example.fold != fold)
        validation, test = (), tuple(example for example in data.examples if example.fold == fold)
    if not train and "train" in needs:
        raise DataError(
            f"Task {data.name!r}{_in(fold)}: the train split is empty. If it is for testing only, name tasks to train "
            "on: --train-on TASK,…"
        )
    if not test and "test" in needs:
        raise DataError(f"Task {data.name!r}{_in(fold)}: the test split is empty, so there is nothing to score.")
    if "train" not in needs and "test" in needs:
        train = ()
    if train and test and not validation:
        held = _draw_validation(data, train, fold, section)
        validation = tuple(example for example in train if example.group in held)
        train = tuple(example for example in train if example.group not in held)
    if train:
        _check_answers(data, train, (*validation, *test))
    limited = [_limited(data.kind, examples, section) for examples in (train, validation, test)]
    return Splits(limited[0], limited[1], limited[2], data.kind)


def task_digest_fields(splits: Splits) -> dict[str, list[dict[str, Any]]]:
    """What of a task decides a result, for the run's identity: no path, no licence."""
    sets: dict[tuple[str, ...], str] = {}  # hundreds of classes, in tens of thousands of examples

    def choices(example: Example) -> list[str] | str:
        if splits.kind != "multi-label":
            return list(example.choices)
        if example.choices not in sets:
            sets[example.choices] = digest(list(example.choices))
        return sets[example.choices]

    return {
        split: [
            {
                "id": example.id,
                "group": example.group,
                "prompt": example.prompt,
                "references": list(example.references),
                "choices": choices(example),
                "seconds": [example.start_seconds, example.end_seconds],
                "part": example.part,
                **({} if example.part_share is None else {"part_share": example.part_share}),
            }
            for example in examples
        ]
        for split, examples in (("train", splits.train), ("validation", splits.validation), ("test", splits.test))
    }


def _in(fold: int | None) -> str:
    return "" if fold is None else f", fold {fold}"


def _check_fold(data: TaskData, fold: int | None) -> None:
    known = ", ".join(map(str, data.folds))
    if fold is not None and not data.folds:
        raise UsageError(f"Task {data.name!r} has no folds but fixed splits; leave fold {fold} out.")
    if fold is None and data.folds:
        raise UsageError(f"Task {data.name!r} is tested fold by fold: name one of {known}.")
    if fold is not None and fold not in data.folds:
        raise UsageError(f"Task {data.name!r} has no fold {fold}. Its folds: {known}.")


def _check_examples(data: TaskData) -> None:
    ids = Counter(example.id for example in data.examples)
    if len(ids) < len(data.examples):
        twice = next(name for name, count in ids.items() if count > 1)
        raise DataError(f"Task {data.name!r}: id {twice!r} stands {ids[twice]} times; ids must differ.")
    for example in data.examples:
        if example.split is None and example.fold is None:
            raise DataError(f"Task {data.name!r}: {example.id!r} has neither a split nor a fold.")
        strangers = [answer for answer in example.references if answer not in example.choices]
        if not example.references or (example.choices and strangers):
            raise DataError(
                f"Task {data.name!r}: {example.id!r} has the answers {list(example.references)}, "
                f"which must be among its choices {list(example.choices)}."
            )
    _check_apart(data, "group", lambda example: example.group)
    _check_apart(data, "clip", lambda example: (str(example.audio), example.start_seconds, example.end_seconds))


def _check_apart(data: TaskData, noun: str, key: Callable[[Example], Hashable]) -> None:
    """Training on what is tested makes any score look good."""
    places: dict[Hashable, str] = {}
    for example in data.examples:
        here = f"split {example.split}" if example.fold is None else f"fold {example.fold}"
        there = places.setdefault(key(example), here)
        if there != here:
            raise DataError(
                f"Task {data.name!r}: {noun} {key(example)!r} is both in {there} and in {here}. "
                "Keep each recording or speaker on one side."
            )


def shared_parts(examples: Iterable[Example]) -> set[str | None]:
    """The parts that are classifications: one set of choices for all their examples."""
    choices: dict[str | None, set[tuple[str, ...]]] = {}
    for example in examples:
        choices.setdefault(example.part, set()).add(example.choices)
    return {part for part, found in choices.items() if len({tuple(sorted(c)) for c in found}) == 1 and found != {()}}


def _answers(kind: TaskKind, example: Example) -> list[tuple[str | None, str]]:
    """What of an example must be trained, held out and limited evenly: its labels, or its one answer."""
    told = example.references if kind == "multi-label" else example.references[:1]
    return [(example.part, answer) for answer in told]


def _check_answers(data: TaskData, train: Examples, later: Examples) -> None:
    shared = shared_parts((*train, *later))
    trained = {answer for example in train for answer in _answers(data.kind, example)}
    for example in later:
        if example.part in shared and not any((example.part, answer) in trained for answer in example.references):
            answers = " or ".join(map(repr, example.references))
            raise DataError(
                f"Task {data.name!r}: {example.id!r} has the answer {answers}, which no training example has. "
                "Give it training examples or take it out."
            )


def _draw_validation(data: TaskData, train: Sequence[Example], fold: int | None, section: DataSection) -> set[str]:
    """Groups for validation in a seeded order, passing over those that hold the last training examples of an answer."""
    shared = shared_parts(train)
    answers: dict[str, Counter[tuple[str | None, str]]] = {}  # of each group
    for example in train:
        counts = answers.setdefault(example.group, Counter())
        if example.part in shared:
            counts.update(_answers(data.kind, example))
    left: Counter[tuple[str | None, str]] = Counter()
    for counts in answers.values():
        left.update(counts)
    wanted = max(1, round(section.validation_fraction * len(answers)))
    held: set[str] = set()
    for group in sorted(answers, key=lambda group: digest([section.split_seed, fold, group])):
        if len(held) == wanted or len(held) == len(answers) - 1:
            break
        if all(left[answer] > count for answer, count in answers[group].items()):
            left.subtract(answers[group])
            held.add(group)
    if not held:
        raise DataError(
            f"Task {data.name!r}: none of its {len(answers)} training groups can be spared for validation without "
            "losing an answer. Add groups, or a validation split."
        )
    return held


def _limited(kind: TaskKind, examples: Examples, section: DataSection) -> Examples:
    """At most `limit` examples, in turn from each answer; the answers take turns in one order in every split.

    A clip with several labels takes the turn of the one that has had the fewest.
    """
    limit, seed = section.limit, section.split_seed
    if limit is None or len(examples) <= limit:
        return examples
    turns: Counter[tuple[str | None, str]] = Counter()
    ranked: list[tuple[int, str, str]] = []
    for example in sorted(examples, key=lambda example: digest([seed, example.id])):
        turn, order, answer = min((turns[told], digest([seed, *told]), told) for told in _answers(kind, example))
        ranked.append((turn, order, example.id))
        turns[answer] += 1
    chosen = {name for _, _, name in sorted(ranked)[:limit]}
    return tuple(example for example in examples if example.id in chosen)
