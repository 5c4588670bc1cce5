"""BCa intervals against scipy, from the same draws and from draws of their own."""

import math

import numpy as np
import pytest
import scipy.stats

from palprobe.stats.bca import bca, bca_of_sums
from palprobe.stats.measures import Sums, ratio


@pytest.mark.parametrize("statistic", [np.mean, np.median, np.var])
def test_from_the_same_draws_it_is_scipys(statistic):
    """Given scipy's own resamples and the values without each item, the ends are scipy's."""
    values = np.random.default_rng(5).gamma(1.5, size=60)
    oracle = scipy.stats.bootstrap((values,), statistic, n_resamples=3000, method="BCa", rng=7)
    without = np.array([statistic(np.delete(values, n)) for n in range(60)])
    found = bca(float(statistic(values)), oracle.bootstrap_distribution, without)
    assert found == pytest.approx((oracle.confidence_interval.low, oracle.confidence_interval.high), abs=1e-9)


def test_groups_are_drawn_whole():
    """Groups of three items: the interval of the mean is scipy's of the groups' means, within Monte Carlo error."""
    rng = np.random.default_rng(2)
    values = np.exp(rng.normal(size=(50, 1)) + 0.1 * rng.normal(size=(50, 3)))
    totals = np.stack([values.sum(axis=1), np.full(50, 3.0)], axis=1)[None]
    found = bca_of_sums(Sums(totals, ratio, False), draws=10_000, seed=1)
    oracle = scipy.stats.bootstrap((values.mean(axis=1),), np.mean, n_resamples=10_000, method="BCa", rng=2)
    error = (
        8 * oracle.standard_error * math.sqrt(0.025 * 0.975 / 10_000) / 0.058
    )  # the upper tail of a skewed mean is thin
    assert found.low == pytest.approx(oracle.confidence_interval.low, abs=error)
    assert found.high == pytest.approx(oracle.confidence_interval.high, abs=error)
    assert found.method == "BCa" and found.value == pytest.approx(values.mean())


def test_skew_moves_the_interval():
    """Of a score with a long upper tail both ends lie above those of plain percentiles."""
    values = np.random.default_rng(1).lognormal(sigma=1.0, size=40)
    draws = np.random.default_rng(2).choice(values, size=(4000, 40)).mean(axis=1)
    low, high = bca(float(values.mean()), draws, np.array([np.delete(values, n).mean() for n in range(40)]))
    plain = np.quantile(draws, [0.025, 0.975])
    assert low > plain[0] and high > plain[1]


def test_draws_that_are_all_on_one_side_have_ends():
    """The bias cannot be told then; the ends are those of the draws, and finite."""
    low, high = bca(1.0, np.linspace(0.0, 0.5, 100), np.array([0.9, 1.0, 1.1]))
    assert (low, high) == pytest.approx((0.5, 0.5), abs=0.001)
