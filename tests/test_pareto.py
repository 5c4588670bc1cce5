"""The frontier of score against costs."""

import numpy as np
import pytest

from palprobe.stats.pareto import frontier


def test_by_hand():
    """b costs as much as a and scores less; c is cheapest; d is worst in everything; e has no known cost."""
    scores = {"a": 0.9, "b": 0.8, "c": 0.5, "d": 0.4, "e": 1.0}
    assert frontier(scores, {"a": [10], "b": [10], "c": [1], "d": [20]}) == ("a", "c")


def test_a_second_cost_can_save_one():
    """b is slower and worse than a, but needs less memory."""
    scores = {"a": 0.9, "b": 0.8, "c": 0.7}
    assert frontier(scores, {"a": [10, 500], "b": [12, 100], "c": [12, 100]}) == ("a", "b")


def test_equals_are_both_on_it():
    """Neither surpasses the other."""
    assert set(frontier({"a": 0.5, "b": 0.5}, {"a": [1], "b": [1]})) == {"a", "b"}
    assert frontier({}, {}) == ()


@pytest.mark.parametrize("seed", range(5))
def test_everyone_else_is_surpassed(seed):
    """At random: nobody on the frontier is dominated, and everybody else is."""
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 6, size=(20, 3)).tolist()
    found = frontier({n: row[0] for n, row in enumerate(table)}, {n: row[1:] for n, row in enumerate(table)})
    for n, (score, *costs) in enumerate(table):
        beaten = any(
            other[0] >= score and all(np.array(other[1:]) <= costs) and other != [score, *costs] for other in table
        )
        assert (n in found) != beaten
