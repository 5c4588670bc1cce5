"""Swapping whole groups: every way where there are few, draws where there are many."""

import numpy as np
import pytest
import scipy.stats

from palprobe.stats.flips import flip_p
from palprobe.stats.measures import Sums, ratio


def sums(values: np.ndarray) -> Sums:
    """(S, G) of groups of one item each."""
    return Sums(np.stack([values, np.ones_like(values)], axis=2), ratio, False)


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_every_way_agrees_with_scipy(num_seeds):
    """Twelve groups: scipy's exact test of the groups' means over the seeds."""
    rng = np.random.default_rng(num_seeds)
    first, second = rng.normal(0.4, size=(num_seeds, 12)), rng.normal(size=(num_seeds, 12))
    oracle = scipy.stats.permutation_test(
        (first.mean(axis=0), second.mean(axis=0)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    found = flip_p(sums(first), sums(second), draws=10_000)
    assert found.p == pytest.approx(oracle.pvalue) and found.draws is None


def test_more_ways_than_draws_are_drawn():
    """Thirty groups: the draws' p is near the exact one, never 0, and the same again for the same seed."""
    rng = np.random.default_rng(5)
    first, second = rng.integers(2, size=(1, 30)) * 1.0, rng.integers(2, size=(1, 30)) * 1.0
    wins, losses = int((first > second).sum()), int((first < second).sum())
    found = flip_p(sums(first), sums(second), draws=500, seed=1)
    exact = flip_p(sums(first), sums(second), draws=1 << 20)
    oracle = scipy.stats.binomtest(wins, wins + losses).pvalue
    assert exact.p == pytest.approx(oracle) and exact.draws is None
    assert found.p == pytest.approx(oracle, abs=0.09) and found.draws == 500
    assert found == flip_p(sums(first), sums(second), draws=500, seed=1)
    far = flip_p(sums(np.ones((1, 40))), sums(np.zeros((1, 40))), draws=99)
    assert far.p == 1 / 100


def test_groups_that_do_not_differ_are_not_swapped():
    """Of a thousand groups three differ: eight ways, all looked at; of none, p is 1."""
    first = np.zeros((1, 1000))
    second = first.copy()
    first[0, :3] = 1
    found = flip_p(sums(first), sums(second), draws=100)
    assert (found.p, found.draws) == (2 / 8, None)
    assert flip_p(sums(second), sums(second), draws=100).p == 1.0
