"""Letter groups: two share a letter if, and only if, they do not differ."""

from itertools import combinations

import numpy as np
import pytest

from palprobe.stats.letters import letters


def pairs(*names: str) -> set[frozenset[str]]:
    return {frozenset(name) for name in names}


def test_by_hand():
    """The best differs from the last alone, and the middle from nobody: a, ab, b."""
    assert letters("xyz", pairs("xz")) == {"x": "a", "y": "ab", "z": "b"}
    assert letters("xyz", pairs("xy", "xz", "yz")) == {"x": "a", "y": "b", "z": "c"}
    assert letters("xyz", set()) == {"x": "a", "y": "a", "z": "a"}
    assert letters("x", set()) == {"x": "a"} and letters("", set()) == {}


def test_eight_by_hand():
    """Ten pairs of eight differ; 1236, 1456 and 45678 are the largest sets that hold none: the letters."""
    found = letters("12345678", pairs("17", "18", "24", "25", "27", "28", "34", "35", "37", "38"))
    assert found == dict(zip("12345678", ["ab", "a", "a", "bc", "bc", "abc", "c", "c"], strict=True))


def assert_right(order: str, differ: set[frozenset[str]], found: dict[str, str]) -> None:
    for one, other in combinations(order, 2):
        assert bool(set(found[one]) & set(found[other])) == (frozenset((one, other)) not in differ)


@pytest.mark.parametrize("seed", range(30))
def test_any_relation_is_shown_as_it_is(seed):
    """Whatever differs, even where it is not transitive; no letter says what another says already; the best has a."""
    rng = np.random.default_rng(seed)
    order = "abcdefgh"[: rng.integers(2, 9)]
    differ = {frozenset(pair) for pair in combinations(order, 2) if rng.random() < rng.choice([0.2, 0.5, 0.8])}
    found = letters(order, differ)
    assert_right(order, differ, found)
    columns = [{name for name in order if letter in found[name]} for letter in sorted(set("".join(found.values())))]
    assert not any(one <= other for one in columns for other in columns if one is not other)
    assert found[order[0]][0] == "a"
    assert found == letters(order, sorted(differ, key=sorted, reverse=True))
