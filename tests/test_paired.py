"""Pairs: the exact test against scipy and brute force, the interval against scipy, and what cannot be paired."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from palprobe.errors import ScoringError
from palprobe.stats.paired import holm, pair, sign_flip_p
from palprobe.types import Prediction


def run(hits: str, groups: str | None = None) -> list[Prediction]:
    """An item for each character, right where it is 1; its group is the character of `groups`, or its own."""
    names = groups or [str(number) for number in range(len(hits))]
    return [
        Prediction(str(number), name, None, "a", "a" if hit == "1" else "b", {}, hit == "1", True)
        for number, (hit, name) in enumerate(zip(hits, names, strict=True))
    ]


def test_mcnemar_by_hand():
    """6 of 10 items differ, 5 to 1: p is twice the chance of 0 or 1 heads of 6, 14 / 64, and the gain 4 / 10."""
    found = pair([run("1111100111")], [run("0000010111")])
    assert (found.value, found.p()) == pytest.approx((0.4, 14 / 64))


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


def test_groups_and_seeds_are_added_up():
    """Two seeds of three groups of two: gains by hand, and p of the groups' sums 3, 2 and -1 of 2^3 signs."""
    groups = "aabbcc"
    found = pair([run("111110", groups), run("111100", groups)], [run("001011", groups), run("011000", groups)])
    assert found.gains.tolist() == [[1, 1, 0, 1, 0, -1], [1, 0, 0, 1, 0, 0]]
    assert found.by_seed == pytest.approx([2 / 6, 2 / 6])
    assert found.p() == pytest.approx(4 / 8)  # 3 + 2 - 1 = 4; as far from 0: ±(3 + 2 + 1), ±(3 + 2 - 1)


def test_the_interval_agrees_with_scipy():
    """Without groups it is the paired percentile bootstrap, within Monte Carlo error."""
    rng = np.random.default_rng(3)
    left, right = (rng.random(150) < 0.7).astype(int), (rng.random(150) < 0.6).astype(int)
    found = pair([run("".join(map(str, left)))], [run("".join(map(str, right)))])
    ours = found.interval(draws=10_000, seed=1)
    oracle = scipy.stats.bootstrap(
        (left, right),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        paired=True,
        n_resamples=10_000,
        method="percentile",
        rng=2,
    )
    error = 4 * oracle.standard_error * math.sqrt(0.025 * 0.975 / 10_000) / 0.058 + 1 / 150  # and one step of the mean
    assert ours.value == pytest.approx(left.mean() - right.mean())
    assert ours.low == pytest.approx(oracle.confidence_interval.low, abs=error)
    assert ours.high == pytest.approx(oracle.confidence_interval.high, abs=error)


def test_probes_that_never_differ_are_not_known_to_be_equal():
    """No item of 20 differs: the interval reaches z² / (n + z²) = 3.8415 / 23.8415 to both sides."""
    same = pair([run("10" * 10)], [run("10" * 10)])
    bound = 3.841459 / 23.841459
    assert (same.interval().low, same.interval().high) == pytest.approx((-bound, bound), abs=1e-6)
    assert same.p() == 1.0
    worse = pair([run("0" * 20)], [run("1" * 20)]).interval()
    assert (worse.value, worse.low, worse.high) == pytest.approx((-1.0, -1.0, -20 / 23.841459), abs=1e-6)


def test_holm_agrees_with_statsmodels():
    """Step-down adjusted p in the order given, ties and ones included; none of none."""
    p_values = [0.01, 0.04, 0.03, 0.005, 0.04, 1.0, 0.6]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
    assert holm([]) == []


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([run("11")], [run("11"), run("10")], "same seeds on both sides; got 1 and 2"),
        ([run("11")], [run("111")], "different items"),
        ([run("11", "aa")], [run("10", "aa")], "2 or more groups"),
        ([run("")], [run("")], "no predictions"),
    ],
)
def test_what_cannot_be_paired_is_an_error(first, second, message):
    """Other seeds, other items, one group or none: refused, and nothing is computed from them."""
    with pytest.raises(ScoringError, match=message):
        pair(first, second)
