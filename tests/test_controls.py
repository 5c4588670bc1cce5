"""Controls of training: classes under each other's names, in training and test alike."""

from dataclasses import replace

import pytest

from palprobe.errors import UsageError
from palprobe.recipe import DataSection
from palprobe.tasks.controls import controlled, not_applicable
from palprobe.tasks.splits import Splits
from palprobe.types import Example


def examples(*rows, choices=("cat", "dog", "cow")):
    """Examples of (id, references, part) rows."""
    return tuple(Example(name, name, name, "?", references, choices, part=part) for name, references, part in rows)


SECTION = DataSection()
PLAIN = Splits(
    examples(*((f"t{n}", (("cat", "dog", "cow")[n % 3],), None) for n in range(9))),
    examples(("v", ("dog",), None)),
    examples(*((f"e{n}", (("cat", "dog", "cow")[n % 3],), None) for n in range(6))),
)


def test_the_partition_is_kept_and_no_class_keeps_its_name():
    """Items of a class stay together under one other name, the same in all three splits; all names are used, and
    nothing else of an item changes."""
    found = controlled(PLAIN, "verbaliser", SECTION, seed=0)
    names = {}
    for split in ("train", "validation", "test"):
        for before, after in zip(getattr(PLAIN, split), getattr(found, split), strict=True):
            assert names.setdefault(before.references[0], after.references[0]) == after.references[0]
            assert replace(after, references=before.references) == before
    assert sorted(names) == sorted(names.values())
    assert all(name != other for name, other in names.items())


def test_the_seed_decides_the_names():
    """Of four classes there are several ways; the same seed takes the same."""
    choices = ("a", "b", "c", "d")
    splits = Splits(examples(*((name, (name,), None) for name in choices), choices=choices), (), ())
    found = [controlled(splits, "verbaliser", SECTION, seed=seed).train for seed in range(9)]
    ways = [tuple(each.references for each in train) for train in found]
    assert len(set(ways)) > 1
    assert ways[3] == tuple(each.references for each in controlled(splits, "verbaliser", SECTION, seed=3).train)


def test_question_types_and_labels_keep_to_themselves():
    """Names are exchanged within a type of question; every label of a clip is renamed."""
    mixed = Splits(
        (
            *examples(("a", ("up",), "x"), ("b", ("down",), "x"), choices=("up", "down")),
            *examples(("c", ("cat",), "y")),
        ),
        (),
        (),
    )
    up, down, cat = controlled(mixed, "verbaliser", SECTION, seed=0).train
    assert (up.references, down.references) == (("down",), ("up",)) and cat.references[0] in ("dog", "cow")
    several = Splits(examples(("a", ("cat", "dog"), None)), (), (), "multi-label")
    (clip,) = controlled(several, "verbaliser", SECTION, seed=1).train
    assert len(set(clip.references)) == 2 and clip.references != ("cat", "dog")


def test_where_it_means_nothing_it_says_so():
    """No classification, choices of each item's own, and a single class."""
    questions = replace(PLAIN, kind="multiple-choice")
    own = Splits((*PLAIN.train, *examples(("z", ("hen",), None), choices=("hen", "fox"))), (), PLAIN.test)
    one = Splits(examples(("a", ("cat",), None), choices=("cat",)), (), ())
    for splits, reason in ((questions, "no classification"), (own, "one set of choices"), (one, "one class alone")):
        assert reason in not_applicable(splits, "verbaliser")
        with pytest.raises(UsageError, match=f"verbaliser does not apply: .*{reason}"):
            controlled(splits, "verbaliser", SECTION, seed=0)
    assert all(controlled(PLAIN, name, SECTION, seed=0) is PLAIN for name in ("none", "blind"))
