"""Splits: who trains, chooses and tests, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from palprobe.errors import DataError, UsageError
from palprobe.files import digest
from palprobe.recipe import DataSection
from palprobe.tasks.splits import Splits, split_task, task_digest_fields
from palprobe.types import Example, Split, TaskData

LABELS = ("cat", "dog", "frog")


def example(name: str, label: str = "cat", *, split: Split | None = None, fold: int | None = None) -> Example:
    return Example(name, f"group of {name}", Path(f"{name}.wav"), "?", (label,), LABELS, split=split, fold=fold)


def folds(groups_per_label: int = 10, clips: int = 2) -> TaskData:
    """Five folds; each label has that many groups in each fold, each with so many clips."""
    return TaskData(
        "toy",
        tuple(
            replace(example(f"{label}{fold}.{group}.{clip}", label, fold=fold), group=f"{label}{fold}.{group}")
            for fold in range(1, 6)
            for label in LABELS
            for group in range(groups_per_label)
            for clip in range(clips)
        ),
    )


def fixed(train: int, test: int, *, validation: int = 0, labels: tuple[str, ...] = LABELS) -> TaskData:
    """So many examples of each label in each split."""
    counts: dict[Split, int] = {"train": train, "validation": validation, "test": test}
    return TaskData(
        "toy",
        tuple(
            example(f"{split}.{label}.{n}", label, split=split)
            for split, count in counts.items()
            for label in labels
            for n in range(count)
        ),
    )


def groups(examples: tuple[Example, ...]) -> set[str]:
    return {example.group for example in examples}


def test_fold_tests_and_validation_never_leaks() -> None:
    """The fold tests, 10 % of the other groups validate with all their clips, and nothing is lost or shared."""
    data = folds()
    splits = split_task(data, 2, DataSection())
    assert {e.fold for e in splits.test} == {2}
    assert 2 not in {e.fold for e in (*splits.train, *splits.validation)}
    assert len(groups(splits.validation)) == 12  # 10 % of 3 labels x 10 groups x 4 folds
    assert not groups(splits.train) & groups(splits.validation)
    assert sorted(e.id for part in (splits.train, splits.validation, splits.test) for e in part) == sorted(
        e.id for e in data.examples
    )


def test_validation_draw_is_seeded() -> None:
    """The draw depends on the seed and the fold, not on the order of the examples."""
    data = folds()
    drawn = groups(split_task(data, 1, DataSection()).validation)
    turned = replace(data, examples=data.examples[::-1])
    assert groups(split_task(turned, 1, DataSection()).validation) == drawn
    assert groups(split_task(data, 1, DataSection(split_seed=1)).validation) != drawn
    assert groups(split_task(data, 2, DataSection()).validation) != drawn


def test_validation_leaves_every_label_in_training() -> None:
    """However the draw falls, a label's last training group is not taken away."""
    data = fixed(2, 1)
    for seed in range(30):
        splits = split_task(data, None, DataSection(validation_fraction=0.49, split_seed=seed))
        assert {e.references[0] for e in splits.train} == set(LABELS)
        assert len(splits.validation) == 3


def test_fixed_splits_are_kept() -> None:
    """A given validation split is used as it is."""
    data = fixed(3, 2, validation=1)
    splits = split_task(data, None, DataSection())
    for name, part in (("train", splits.train), ("validation", splits.validation), ("test", splits.test)):
        assert part == tuple(e for e in data.examples if e.split == name)


def test_limit_is_balanced_nested_and_ignores_order() -> None:
    """A limit takes answers in turn, a larger one contains a smaller one, and the order of the rows is no matter."""
    data = fixed(50, 40, validation=20)
    splits = split_task(data, None, DataSection(limit=7))
    for part in (splits.train, splits.validation, splits.test):
        assert sorted(Counter(e.references[0] for e in part).values()) == [2, 2, 3]
    ids = {e.id for e in splits.train}
    assert ids < {e.id for e in split_task(data, None, DataSection(limit=20)).train}
    turned = replace(data, examples=data.examples[::-1])
    assert {e.id for e in split_task(turned, None, DataSection(limit=7)).train} == ids
    assert {e.id for e in split_task(data, None, DataSection(limit=7, split_seed=1)).train} != ids
    assert split_task(data, None, DataSection(limit=1000)) == split_task(data, None, DataSection())


@pytest.mark.parametrize("limit", [1, 2])
def test_limit_below_the_number_of_labels(limit: int) -> None:
    """A limit too small for all labels keeps the same ones in every split, so that what is tested was trained."""
    splits = split_task(fixed(20, 20), None, DataSection(limit=limit))
    kept = [{e.references[0] for e in part} for part in (splits.train, splits.validation, splits.test)]
    assert len(kept[0]) == limit
    assert kept[0] == kept[2]


def test_folds_named() -> None:
    """A wrong, absent or needless fold is a usage error that names those there are."""
    with pytest.raises(UsageError, match=r"no fold 6.*1, 2, 3, 4, 5"):
        split_task(folds(), 6, DataSection())
    with pytest.raises(UsageError, match="name one of 1, 2, 3, 4, 5"):
        split_task(folds(), None, DataSection())
    with pytest.raises(UsageError, match="no folds"):
        split_task(fixed(2, 1), 1, DataSection())


def with_last(data: TaskData, **changes: object) -> TaskData:
    return replace(data, examples=(*data.examples[:-1], replace(data.examples[-1], **changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (with_last(fixed(3, 1), id="train.cat.0"), "id 'train.cat.0' stands 2 times"),
        (with_last(fixed(3, 1), group="group of train.cat.0"), "group 'group of train.cat.0' is both in split train"),
        (with_last(fixed(3, 1), audio=Path("train.cat.0.wav")), "clip .*train.cat.0.wav.* is both in split train and"),
        (with_last(fixed(3, 1), references=("bird",)), r"answers \['bird'\], which must be among its choices"),
        (with_last(fixed(3, 1), references=()), r"answers \[\]"),
        (with_last(fixed(3, 1), split=None), "neither a split nor a fold"),
        (fixed(0, 3), "the train split is empty"),
        (fixed(3, 0), "the test split is empty"),
        (with_last(fixed(3, 1, labels=("cat", "dog")), references=("frog",)), "answer 'frog', which no training"),
        (fixed(1, 1), "none of its 3 training groups can be spared"),
    ],
)
def test_refused(data: TaskData, words: str) -> None:
    """Leaks, empty splits and answers that cannot be learnt are refused, with the culprit named."""
    with pytest.raises(DataError, match=words) as caught:
        split_task(data, None, DataSection())
    assert "\n" not in str(caught.value)


def test_group_in_two_folds() -> None:
    """A group in two folds is a leak whichever fold is tested."""
    with pytest.raises(DataError, match=r"group 'cat1\.0' is both in fold 1 and in fold 5"):
        split_task(with_last(folds(), group="cat1.0"), 3, DataSection())


def test_open_and_multiple_choice_answers_need_no_training_example() -> None:
    """Only where all share one set of choices must a tested answer be trained."""
    data = fixed(5, 2)
    opened = tuple(replace(e, references=(e.id,), choices=()) for e in data.examples)
    chosen = tuple(replace(e, references=(e.id,), choices=(e.id, "other")) for e in data.examples)
    for examples in (opened, chosen):
        splits = split_task(replace(data, examples=examples), None, DataSection())
        assert (len(splits.train), len(splits.validation), len(splits.test)) == (13, 2, 6)


def test_identity_of_a_task() -> None:
    """The digest changes with what decides a result and not with where the files are."""
    splits = split_task(fixed(3, 2), None, DataSection())
    base = digest(task_digest_fields(splits))
    assert json.loads(json.dumps(task_digest_fields(splits))) == task_digest_fields(splits)

    def changed(**changes: object) -> str:
        test = (replace(splits.test[0], **changes), *splits.test[1:])  # type: ignore[arg-type]
        return digest(task_digest_fields(replace(splits, test=test)))

    assert changed(audio=Path("/elsewhere.wav")) == base
    for change in ({"prompt": "!"}, {"group": "g"}, {"references": ("dog",)}, {"choices": ()}, {"id": "i"}):
        assert changed(**change) != base
    moved = Splits(splits.train[1:], (*splits.validation, splits.train[0]), splits.test)
    assert digest(task_digest_fields(moved)) != base


def labelled(*rows: tuple[str, Split, tuple[str, ...]]) -> TaskData:
    """A multi-label task of clips with those names, splits and labels."""
    return TaskData(
        "toy",
        tuple(replace(example(name, split=split), references=labels) for name, split, labels in rows),
        kind="multi-label",
    )


def test_one_trained_label_of_several_is_enough() -> None:
    """A clip is tested if training has any of its labels, in any place; with none of them it is refused."""
    rows: list[tuple[str, Split, tuple[str, ...]]] = [
        ("a", "train", ("cat", "dog")),
        ("b", "validation", ("dog",)),
        ("c", "test", ("frog", "dog")),
    ]
    assert len(split_task(labelled(*rows), None, DataSection()).test) == 1
    with pytest.raises(DataError, match="'c' has the answer 'frog' or 'frog two', which no training example has"):
        examples = labelled(*rows[:2], ("c", "test", ("frog", "frog two"))).examples
        choices = (*LABELS, "frog two")
        split_task(
            TaskData("toy", tuple(replace(e, choices=choices) for e in examples), kind="multi-label"),
            None,
            DataSection(),
        )


def test_validation_leaves_every_label_of_several_in_training() -> None:
    """A group that holds the last clip with a label, be it a second one, is passed over."""
    rows: list[tuple[str, Split, tuple[str, ...]]] = [(f"t{n}", "train", ("cat",)) for n in range(9)]
    rows += [("rare", "train", ("cat", "frog")), ("tested", "test", ("frog",))]
    for seed in range(20):
        section = DataSection(validation_fraction=0.49, split_seed=seed)
        assert "rare" in {e.id for e in split_task(labelled(*rows), None, section).train}


def test_limit_takes_labels_in_turn() -> None:
    """Of 40 clips with cat, four of them with frog too, a limit of 8 takes those four: a rare label is not lost."""
    rows: list[tuple[str, Split, tuple[str, ...]]] = [
        (f"{split}{n}", split, ("cat", "frog") if n % 10 == 0 else ("cat",))
        for split in ("train", "validation", "test")
        for n in range(40)
    ]
    data = labelled(*rows)
    splits = split_task(data, None, DataSection(limit=8))
    for part in (splits.train, splits.validation, splits.test):
        assert sorted(len(e.references) for e in part) == [1] * 4 + [2] * 4
    larger = {e.id for e in split_task(data, None, DataSection(limit=20)).train}
    assert {e.id for e in splits.train} < larger
    turned = replace(data, examples=data.examples[::-1])
    assert {e.id for e in split_task(turned, None, DataSection(limit=8)).train} == {e.id for e in splits.train}


def test_the_identity_of_several_labels_names_the_set_of_choices_once() -> None:
    """Hundreds of classes in each of many clips are a digest, which another class changes."""
    data = labelled(("a", "train", ("cat",)), ("b", "validation", ("cat",)), ("c", "test", ("cat", "dog")))
    splits = split_task(data, None, DataSection())
    (found,) = {line["choices"] for lines in task_digest_fields(splits).values() for line in lines}
    assert found == digest(list(LABELS))
    assert json.loads(json.dumps(task_digest_fields(splits))) == task_digest_fields(splits)
