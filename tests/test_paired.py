"""The exact test of paired answers against scipy and brute force, and Holm's correction against statsmodels."""

import itertools

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from palprobe.stats.paired import holm, sign_flip_p


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (9, 2), (40, 25), (400, 333)])
def test_independent_items_give_the_binomial_test(wins, losses):
    """With one seed and every item its own group p is McNemar's exact one, as scipy has it."""
    oracle = scipy.stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert sign_flip_p([1] * wins + [-1] * losses + [0] * 5) == pytest.approx(oracle, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_flipped_whole(seed):
    """Unequal groups: every one of the 2^G signs, by brute force and by scipy's exact permutation test."""
    sums = np.random.default_rng(seed).integers(-4, 6, size=10)
    flipped = [abs(np.dot(signs, sums)) for signs in itertools.product((1, -1), repeat=len(sums))]
    slow = np.mean(np.array(flipped) >= abs(sums.sum()))
    oracle = scipy.stats.permutation_test(
        (sums, np.zeros_like(sums)), lambda x, y: np.sum(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p(sums.tolist()) == pytest.approx(slow) == pytest.approx(oracle.pvalue)


def test_holm_agrees_with_statsmodels():
    """Step-down adjusted p in the order given, ties and ones included; none of none."""
    p_values = [0.01, 0.04, 0.03, 0.005, 0.04, 1.0, 0.6]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
    assert holm([]) == []
