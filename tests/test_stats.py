import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.proportion import proportion_confint

from palprobe.errors import ScoringError, UnknownNameError
from palprobe.metrics import METRICS
from palprobe.metrics.answers import macro_f1
from palprobe.metrics.transcripts import wer
from palprobe.registry import Part
from palprobe.stats import bootstrap_statistic, clustered_bootstrap, mean_interval, wilson
from palprobe.stats.intervals import metric_interval
from palprobe.types import Prediction


def item(number: int, group: str, reference: str, answer: str) -> Prediction:
    return Prediction(str(number), group, None, reference, answer, {}, reference == answer, True)


def random_items(seed: int, *, num_groups: int = 40, per_group: int = 3, classes: str = "abc") -> list[Prediction]:
    rng = np.random.default_rng(seed)
    items = []
    for number in range(num_groups * per_group):
        reference = classes[rng.integers(len(classes))]
        answer = reference if rng.random() < 0.6 else classes[rng.integers(len(classes))]
        items.append(item(number, f"g{number // per_group}", reference, answer))
    return items


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 1), (7, 10), (64, 80), (80, 80), (1999, 2000)])
def test_wilson_agrees_with_statsmodels(successes, n):
    """The closed form is the one of an independent library, at both ends too."""
    interval = wilson(successes, n)
    assert (interval.low, interval.high) == pytest.approx(proportion_confint(successes, n, method="wilson"), abs=1e-12)
    assert interval.low <= interval.value <= interval.high


def test_wilson_by_hand():
    """0 of 10 with z = 1.96: the upper end is z² / (n + z²) = 3.8415 / 13.8415."""
    assert wilson(0, 10).high == pytest.approx(3.841459 / 13.841459, abs=1e-6)


def test_ungrouped_bootstrap_agrees_with_scipy():
    """With an item per group it is the ordinary bootstrap of the mean, within Monte Carlo error."""
    values = np.random.default_rng(3).gamma(2.0, size=150)
    ours = clustered_bootstrap(values, [f"g{i}" for i in range(150)], draws=10_000, seed=1)
    oracle = scipy.stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=2)
    error = 4 * oracle.standard_error * math.sqrt(0.025 * 0.975 / 10_000) / 0.058  # 0.058: normal density at 1.96
    assert ours.low == pytest.approx(oracle.confidence_interval.low, abs=error)
    assert ours.high == pytest.approx(oracle.confidence_interval.high, abs=error)
    assert ours.method == "bootstrap"


def test_grouped_bootstrap_agrees_with_a_loop():
    """Unequal groups: sums and counts of the drawn groups give what a plain loop over draws gives."""
    rng = np.random.default_rng(0)
    groups = [f"g{g}" for g in range(30) for _ in range(1 + g % 5)]
    values = rng.random(len(groups)) + np.array([int(g[1:]) % 3 for g in groups])
    members = {g: values[[name == g for name in groups]] for g in groups}
    means = []
    for _ in range(4000):
        drawn = [members[f"g{g}"] for g in rng.integers(30, size=30)]
        means.append(np.concatenate(drawn).mean())
    ours = clustered_bootstrap(values, groups, draws=4000, seed=5)
    assert [ours.low, ours.high] == pytest.approx(list(np.quantile(means, [0.025, 0.975])), abs=0.02)
    assert (ours.value, ours.method) == (pytest.approx(values.mean()), "clustered bootstrap")


def test_the_general_bootstrap_makes_the_same_draws():
    """Given the mean as its statistic it returns the interval of the vectorised one."""
    items = random_items(1)
    values = np.array([float(entry.correct) for entry in items])
    groups = [entry.group for entry in items]
    general = bootstrap_statistic(lambda indices: float(values[indices].mean()), groups, draws=500, seed=9)
    fast = clustered_bootstrap(values, groups, draws=500, seed=9)
    assert [general.low, general.high, general.value] == pytest.approx([fast.low, fast.high, fast.value], abs=1e-12)


def test_macro_f1_interval_agrees_with_scikit_learn_on_each_draw():
    """The vectorised F1 over group totals equals scikit-learn's F1 of every single resample."""
    items = random_items(2)
    items += [item(900, "g0", "rare", "a"), item(901, "g1", "a", "no class")]  # a class that resamples can lack
    groups = [entry.group for entry in items]
    slow = bootstrap_statistic(lambda indices: macro_f1([items[i] for i in indices]), groups, draws=150, seed=4)
    fast = metric_interval("macro_f1", [items], draws=150, seed=4)
    assert [fast.value, fast.low, fast.high] == pytest.approx([slow.value, slow.low, slow.high], abs=1e-12)


def test_clustered_data_break_the_naive_interval_and_not_ours():
    """5 correlated questions a clip: of nominal 95 % intervals the naive ones miss the truth far more often."""
    rng = np.random.default_rng(11)
    covered = np.zeros(2)
    trials, clips, questions = 300, 100, 5
    for trial in range(trials):
        latent = math.sqrt(0.7) * rng.normal(size=(clips, 1)) + math.sqrt(0.3) * rng.normal(size=(clips, questions))
        values = (latent > 0).ravel().astype(float)  # the truth is 0.5
        names = [f"g{i // questions}" for i in range(values.size)]
        ours = clustered_bootstrap(values, names, draws=400, seed=trial)
        naive = wilson(values.sum(), values.size)
        covered += [ours.low <= 0.5 <= ours.high, naive.low <= 0.5 <= naive.high]
    assert covered[0] / trials > 0.91  # 0.95 less three standard errors of 300 trials
    assert covered[1] / trials < 0.85


def test_accuracy_uses_wilson_only_for_independent_items():
    """Own groups: Wilson. Shared groups: the clustered bootstrap, and wider for correlated items."""
    alone = [item(i, f"g{i}", "a", "a" if i % 4 else "b") for i in range(80)]
    shared = [item(i, f"g{i // 4}", "a", "a" if (i // 4) % 4 else "b") for i in range(80)]
    assert metric_interval("accuracy", [alone]).method == "wilson"
    assert metric_interval("accuracy", [alone]).low == pytest.approx(proportion_confint(60, 80, method="wilson")[0])
    clustered = metric_interval("accuracy", [shared])
    assert clustered.method == "clustered bootstrap"
    assert clustered.low < metric_interval("accuracy", [alone]).low


def test_perfect_scores_are_not_certain():
    """60 of 60 items in 20 groups, over two seeds: the interval is that of 20 of 20, not of zero width."""
    run = [item(i, f"g{i // 3}", "ab"[i % 2], "ab"[i % 2]) for i in range(60)]
    low, high = proportion_confint(20, 20, method="wilson")
    for metric in ("accuracy", "macro_f1"):
        interval = metric_interval(metric, [run, run])
        assert (interval.value, interval.low, interval.high) == pytest.approx((1.0, low, high))
        assert interval.method == "wilson over groups"


def test_seeds_are_averaged_per_item():
    """Two seeds: the value is the mean of both accuracies, and macro F1 the mean of both F1."""
    first = random_items(5)
    second = [item(i, e.group, e.reference, "a") for i, e in enumerate(first)]
    both = metric_interval("accuracy", [first, second])
    hits = [e.correct for e in first] + [e.correct for e in second]
    assert both.value == pytest.approx(np.mean(hits))
    assert metric_interval("macro_f1", [first, second]).value == pytest.approx((macro_f1(first) + macro_f1(second)) / 2)


def test_a_new_metric_gets_its_interval_without_a_change_here(monkeypatch):
    """Any registered function is bootstrapped; this one, as accuracy, must agree with accuracy's interval."""
    monkeypatch.setitem(METRICS.parts, "mine", Part("palprobe.metrics.answers:accuracy", "mine"))
    items = random_items(6)
    mine, ours = metric_interval("mine", [items], draws=300), metric_interval("accuracy", [items], draws=300)
    assert [mine.value, mine.low, mine.high] == pytest.approx([ours.value, ours.low, ours.high])
    with pytest.raises(UnknownNameError, match="accuracy"):
        metric_interval("acuracy", [items])


def test_intervals_are_repeatable_and_do_not_depend_on_memory(monkeypatch):
    """The same seed gives the same numbers, whatever number of draws is held at once."""
    items = random_items(7)
    first = metric_interval("macro_f1", [items])
    assert metric_interval("macro_f1", [items]) == first
    assert metric_interval("macro_f1", [items], seed=1) != first
    monkeypatch.setattr("palprobe.stats.BATCH_WEIGHTS", 1000)
    assert metric_interval("macro_f1", [items]) == first


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (lambda: wilson(0, 0), "1 or more items"),
        (lambda: wilson(3, 2), "3 of 2"),
        (lambda: metric_interval("accuracy", [[]]), "no predictions"),
        (lambda: clustered_bootstrap([1.0, 0.0], ["g", "g"]), "2 or more groups.*got 1 with 2 items"),
        (lambda: clustered_bootstrap([], []), "2 or more groups"),
        (lambda: clustered_bootstrap([1.0, math.nan], ["g", "h"]), "not finite"),
        (lambda: clustered_bootstrap([1.0, 0.0], ["g"]), "2 items and 1 groups"),
        (lambda: bootstrap_statistic(lambda indices: 0.0, ["g"]), "2 or more groups"),
        (lambda: mean_interval([0.5], ["g"]), "2 or more groups"),
        (lambda: metric_interval("macro_f1", [[item(1, "g", "a", "a")]]), "2 or more groups"),
        (lambda: metric_interval("accuracy", [[item(1, "g", "a", "a")] * 2]), "twice"),
        (lambda: metric_interval("accuracy", [random_items(1), random_items(1)[:-1]]), "different items"),
    ],
)
def test_what_cannot_be_computed_is_an_error(compute, message):
    """No interval from nothing, from one group, or from items that do not match."""
    with pytest.raises(ScoringError, match=message):
        compute()


def transcripts(seed: int) -> list[Prediction]:
    """Random short texts of twelve readers with one to four utterances each."""
    rng = np.random.default_rng(seed)
    words = ["ant", "bee", "cow"]
    items = []
    for reader in range(12):
        for _ in range(1 + reader % 4):
            reference, answer = (" ".join(rng.choice(words, size=rng.integers(1, 7))) for _ in range(2))
            items.append(item(len(items), f"reader {reader}", reference, answer))
    return items


def test_wer_interval_is_that_of_the_rate_of_each_draw():
    """Drawing readers and dividing sums of errors by sums of words equals computing the rate of every resample."""
    items = transcripts(0)
    groups = [entry.group for entry in items]
    slow = bootstrap_statistic(lambda indices: wer([items[i] for i in indices]), groups, draws=100, seed=3)
    fast = metric_interval("wer", [items], draws=100, seed=3)
    assert [fast.value, fast.low, fast.high] == pytest.approx([slow.value, slow.low, slow.high], abs=1e-12)
    assert fast.method == "clustered bootstrap" and fast.low < fast.value < fast.high


def test_wer_of_several_runs_is_their_mean():
    """Two seeds over the same utterances: the mean of their rates; and a set without words has no rate."""
    first = transcripts(1)
    second = [replace(entry, prediction=entry.reference) for entry in first]
    assert metric_interval("wer", [first, second], draws=100).value == pytest.approx(wer(first) / 2)
    with pytest.raises(ScoringError, match="hold none"):
        metric_interval("wer", [[item(0, "a", "!", "x"), item(1, "b", "?", "y")]])
