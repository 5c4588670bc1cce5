"""Intervals about new seeds: variance components against statsmodels, t against scipy, Wilson's at the ends."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.proportion import proportion_confint
from test_stats import random_items, transcripts

from palprobe.errors import ScoringError
from palprobe.metrics import METRICS
from palprobe.stats.hierarchy import seeded_mean, share_of_seeds, spread, t_interval
from palprobe.stats.intervals import metric_interval


def layout(num_seeds: int, num_groups: int, *, luck: float, seed: int = 0) -> np.ndarray:
    """(S, G): seeds' luck, groups' difficulty, and noise."""
    rng = np.random.default_rng(seed)
    shape = (num_seeds, num_groups)
    return luck * rng.normal(size=(num_seeds, 1)) + rng.normal(size=num_groups) + 0.5 * rng.normal(size=shape)


def test_components_are_those_of_a_two_way_analysis_of_variance():
    """Mean squares by statsmodels: the variance of the mean is (seeds + groups - residual) / (S G), Satterthwaite's
    degrees of freedom follow from the same three."""
    values = layout(5, 12, luck=2.0)
    frame = pd.DataFrame([(s, g, values[s, g]) for s in range(5) for g in range(12)], columns=["s", "g", "y"])
    table = anova_lm(ols("y ~ C(s) + C(g)", frame).fit())
    seeds, groups, rest = (float(table["mean_sq"][name]) / 60 for name in ("C(s)", "C(g)", "Residual"))
    found = spread(values)
    assert float(found.error) ** 2 == pytest.approx(seeds + groups - rest)
    freedom = (seeds + groups - rest) ** 2 / (seeds**2 / 4 + groups**2 / 11 + rest**2 / 44)
    assert float(found.freedom) == pytest.approx(freedom)
    assert share_of_seeds(values) == pytest.approx((seeds - rest) / seeds)


def test_seeds_without_luck_leave_the_groups_interval():
    """Where seeds vary no more than items explain, it is Student's interval of the groups' means, as scipy has it."""
    values = layout(4, 30, luck=0.0, seed=3)
    assert share_of_seeds(values) == 0.0
    oracle = scipy.stats.ttest_1samp(values.mean(axis=0), 0).confidence_interval()
    found = t_interval(float(values.mean()), values)
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high))
    assert found.method == "t over seeds and groups"


def test_seeds_that_are_all_leave_the_seeds_interval():
    """Where nothing but seeds varies, it is Student's interval of the seeds' means: three seeds, 2 degrees."""
    values = np.repeat([[0.2], [0.5], [0.6]], 40, axis=1)
    oracle = scipy.stats.ttest_1samp([0.2, 0.5, 0.6], 0).confidence_interval()
    found = t_interval(float(values.mean()), values)
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high))


def test_many_layouts_at_once():
    """Leading axes are layouts of their own."""
    many = np.stack([layout(3, 8, luck=1.0, seed=seed) for seed in range(4)])
    found = spread(many)
    each = [spread(values) for values in many]
    assert found.error == pytest.approx([float(one.error) for one in each])
    assert found.freedom == pytest.approx([float(one.freedom) for one in each])


def test_shares_have_an_interval_inside_0_and_1():
    """38 of 40 items: Wilson's of as many items as have that error (39), with Student's quantile in place of 1.96."""
    values = np.array([[1.0] * 38 + [0.0] * 2])
    found = t_interval(0.95, values, low=0.0, high=1.0)
    level = 2 * scipy.stats.norm.sf(scipy.stats.t.ppf(0.975, 39))
    oracle = proportion_confint(0.95 * 39, 39, alpha=level, method="wilson")
    assert (found.low, found.high) == pytest.approx(oracle) and found.method == "wilson over groups"


def test_what_does_not_vary_has_no_interval():
    """Neither seeds nor groups differ: no certainty is claimed from that."""
    found = t_interval(0.5, np.full((3, 20), 0.5))
    assert found.method == "none" and math.isnan(found.low) and math.isnan(found.high)


@pytest.mark.parametrize("luck", [0.0, 1.0])
def test_more_luck_makes_wider_intervals_never_narrower_than_items_alone(luck):
    """About new seeds too is never surer than about new items alone."""
    for seed in range(20):
        values = layout(3, 25, luck=luck, seed=seed)
        both = t_interval(float(values.mean()), values)
        alone = t_interval(float(values.mean()), values.mean(axis=0, keepdims=True))
        assert both.high - both.low >= (alone.high - alone.low) * (1 - 1e-12)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_a_score_over_seeds_is_about_new_seeds(metric):
    """Three runs of which one is far worse: the value is their mean, and the interval holds each of the seeds."""
    good = random_items(1)
    bad = [replace(entry, prediction="b", correct=entry.reference == "b") for entry in good]
    found = metric_interval(metric, [good, good, bad])
    function = METRICS.load(metric)
    assert found.value == pytest.approx((2 * function(good) + function(bad)) / 3)
    assert 0 <= found.low < function(bad) < function(good) < found.high <= 1
    assert found.method == "wilson over seeds and groups"


def test_an_error_rate_over_seeds_counts_words():
    """Long utterances count for more in the value; the interval may pass 1."""
    first = transcripts(1)
    second = [replace(entry, prediction=entry.reference) for entry in first]
    found = metric_interval("wer", [first, second])
    assert found.value == pytest.approx(METRICS.load("wer")(first) / 2)
    assert found.method == "t over seeds and groups" and found.low < found.value < 1 < found.high


def test_the_mean_of_any_values():
    """Bits, of two seeds: about seeds and groups; of one seed and many groups a bootstrap; of few groups by t."""
    rng = np.random.default_rng(0)
    names = [f"g{n // 2}" for n in range(60)]
    bits = rng.normal(1.0, 2.0, size=(2, 60))
    found = seeded_mean(bits, names)
    assert found.value == pytest.approx(bits.mean()) and found.method == "t over seeds and groups"
    assert seeded_mean(bits[:1], names).method == "BCa"
    few = seeded_mean(bits[:1, :10], names[:10])
    oracle = scipy.stats.ttest_1samp(bits[0, :10].reshape(5, 2).mean(axis=1), 0).confidence_interval()
    assert (few.low, few.high) == pytest.approx((oracle.low, oracle.high)) and few.method == "t over groups"
    with pytest.raises(ScoringError, match="1 of 120 values are not finite"):
        seeded_mean(np.where(bits == bits[0, 0], np.nan, bits), names)
    with pytest.raises(ScoringError, match="2 or more groups"):
        seeded_mean(bits, ["one"] * 60)
