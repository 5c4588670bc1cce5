"""Portions of a training split: nested, stratified, of whole groups, and the same for every seed of training."""

from collections import Counter
from pathlib import Path

import pytest

from palprobe.tasks.portions import SHARES, portion, portion_name, portion_shares, share_of
from palprobe.tasks.splits import Splits
from palprobe.types import Example


def example(number: int, answer: str, group: str | None = None, **more) -> Example:
    choices = more.pop("choices", ("a", "b", "c"))
    return Example(str(number), group or str(number), Path(f"{number}.wav"), "?", (answer,), choices, **more)


def splits_of(examples) -> Splits:
    test = (example(10_000, "a"),)
    return Splits(tuple(examples), (), test)


CLASSES = splits_of(example(number, "aab"[number % 3] if number % 16 else "c") for number in range(320))


def test_portions_are_nested_and_blocks_join_them():
    """A portion and its block are the next portion; with what is later, they are the whole; test stays as it is."""
    found = [portion(CLASSES, share, seed=0) for share in SHARES]
    for one, larger in zip(found, [*(each.train for each in found[1:]), CLASSES.train], strict=True):
        assert {e.id for e in (*one.train, *one.block)} == {e.id for e in larger}
        assert len(one.train) + len(one.block) == len(larger)
        everything = (*one.train, *one.block, *one.later)
        assert sorted(e.id for e in everything) == sorted(e.id for e in CLASSES.train)
        assert (one.test, one.validation) == (CLASSES.test, ())
    assert [len(one.train) for one in found] == [20, 40, 80, 160]


def test_every_portion_has_the_classes_in_the_whole_sets_shares():
    """By hand: of 320 a sixteenth is c, and the others as they are; each portion is off by at most one example."""
    whole = Counter(e.references[0] for e in CLASSES.train)
    assert whole["c"] == 20
    for share in SHARES:
        found = Counter(e.references[0] for e in portion(CLASSES, share, seed=3).train)
        assert all(abs(found[answer] - share * count) <= 1 for answer, count in whole.items()), share


def test_groups_stay_whole_and_are_what_is_counted():
    """Recordings of ten items each: no recording is on both sides, and half the recordings are a half."""
    whole = splits_of(example(number, "abc"[number // 10 % 3], f"tape {number // 10}") for number in range(240))
    half = portion(whole, 0.5, seed=0)
    assert {e.group for e in half.train}.isdisjoint({e.group for e in half.block})
    assert len({e.group for e in half.train}) == 12
    assert not half.later


def test_the_order_depends_on_the_seed_of_the_splits_alone():
    """Another seed takes other examples; the order in which a split lists them does not matter."""
    one, other = (portion(CLASSES, 0.25, seed=seed).train for seed in (0, 1))
    assert {e.id for e in one} != {e.id for e in other}
    turned = splits_of(reversed(CLASSES.train))
    assert {e.id for e in portion(turned, 0.25, seed=0).train} == {e.id for e in one}


def test_examples_keep_their_order():
    """A portion lists its examples as the split does."""
    ids = [int(e.id) for e in portion(CLASSES, 0.5, seed=0).train]
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("groups", "shares"),
    [(1, ()), (2, (0.5,)), (3, (0.25, 0.5)), (6, (0.125, 0.25, 0.5)), (16, SHARES), (1000, SHARES)],
)
def test_few_groups_have_few_portions(groups, shares):
    """Counted by hand, halves rounded up: shares that come to no group, or to as many as the next one, are left out."""
    whole = splits_of(example(number, "ab"[number % 2]) for number in range(groups))
    assert portion_shares(whole) == shares
    for share in shares:
        found = portion(whole, share, seed=0)
        assert found.train
        assert found.block


def test_open_questions_and_options_of_their_own_are_one_stratum():
    """Without shared answers groups are only shuffled: there is a portion all the same."""
    whole = splits_of(example(number, f"text {number}", choices=()) for number in range(32))
    assert len(portion(whole, 0.25, seed=0).train) == 8
    own = splits_of(example(number, f"{number}", choices=(f"{number}", "x")) for number in range(32))
    assert len(portion(own, 0.25, seed=0).train) == 8


def test_parts_are_strata_of_their_own():
    """Two question types of 32 items with the same answers: a quarter has eight of each, give or take one."""
    whole = splits_of(example(number, "ab"[number // 2 % 2], part="xy"[number % 2]) for number in range(64))
    found = Counter(e.part for e in portion(whole, 0.25, seed=0).train)
    assert abs(found["x"] - 8) <= 1


def test_names_are_read_back():
    """The name that tables show holds the share."""
    assert [portion_name(share) for share in SHARES[:2]] == ["portion 0.0625", "portion 0.125"]
    assert [share_of(portion_name(share)) for share in SHARES] == list(SHARES)
    assert share_of("blind") is None
