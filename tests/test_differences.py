"""Differences of any metric: the exact tests by brute force and scipy, intervals, and what is said where little is."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from captions_at_random import captioned
from test_ranking import at_random
from test_stats import item, random_items, transcripts

from palprobe.errors import ScoringError, UnknownNameError
from palprobe.metrics import METRICS
from palprobe.stats.differences import Difference, difference
from palprobe.types import Prediction


def by_seed(*runs):
    """Seed → item → prediction."""
    return {seed: {entry.id: entry for entry in run} for seed, run in enumerate(runs)}


def hits(text: str, groups: str | None = None) -> list[Prediction]:
    """An item for each character, right where it is 1; its group is the character of `groups`, or its own."""
    names = groups or [str(number) for number in range(len(text))]
    return [
        item(n, name, "a", "a" if hit == "1" else "b") for n, (hit, name) in enumerate(zip(text, names, strict=True))
    ]


def worse(items: list[Prediction], seed: int) -> list[Prediction]:
    """Every third answer or so is that of another item."""
    rng = np.random.default_rng(seed)
    turned = rng.permutation(len(items))
    return [
        entry if rng.random() < 0.6 else replace(entry, prediction=text, correct=text == entry.reference)
        for entry, text in zip(items, (items[other].prediction for other in turned), strict=True)
    ]


def swapped_every_way(metric: str, first, second) -> float:
    """p by computing the metric itself after every swap of whole groups; runs of several seeds are averaged."""
    function, names = METRICS.load(metric), sorted({entry.group for entry in first[0]})
    found = []
    for ways in itertools.product((False, True), repeat=len(names)):
        swap = dict(zip(names, ways, strict=True))
        apart = []
        for one, other in zip(first, second, strict=True):
            pairs = [(b, a) if swap[a.group] else (a, b) for a, b in zip(one, other, strict=True)]
            apart.append(function([a for a, _ in pairs]) - function([b for _, b in pairs]))
        found.append(abs(np.mean(apart)))
    return float(np.mean(np.array(found) >= found[0] - 1e-9))


def test_mcnemar_by_hand_and_by_scipy():
    """6 of 10 items differ, 5 to 1: p is twice the chance of 0 or 1 heads of 6; one seed claims nothing."""
    found = difference("accuracy", by_seed(hits("1111100111")), by_seed(hits("0000010111")))
    assert (found.value, found.p) == pytest.approx((0.4, 14 / 64))
    assert found.p == pytest.approx(scipy.stats.binomtest(5, 6).pvalue)
    assert (found.test, found.by_seed, found.n, found.left_out) == ("McNemar, exact", (pytest.approx(0.4),), 10, 0)
    assert found.groups == 10 and not found.seeds_agree and not found.holds(0.001)


def test_accuracy_flips_whole_groups_under_all_seeds():
    """Two seeds of three groups of two: of 2^3 signs to the groups' sums 3, 2 and -1, four come to 4 or more."""
    groups = "aabbcc"
    first, second = (hits("111110", groups), hits("111100", groups)), (hits("001011", groups), hits("011000", groups))
    found = difference("accuracy", by_seed(*first), by_seed(*second))
    assert (found.p, found.test) == (pytest.approx(4 / 8), "sign flips, exact")
    assert found.by_seed == pytest.approx((2 / 6, 2 / 6)) and found.groups == 3
    assert swapped_every_way("accuracy", first, second) == pytest.approx(found.p)


CAPTIONS = captioned(3, per_group=2)[:12]
CHOICES = random_items(8, num_groups=6, per_group=3)
SPOKEN = [entry for entry in transcripts(2) if int(entry.group.split()[1]) < 6]


@pytest.mark.parametrize(
    ("metric", "items"),
    [
        ("balanced_accuracy", CHOICES),
        ("macro_f1", CHOICES),
        ("wer", SPOKEN),
        ("cer", SPOKEN),
        ("bleu", CAPTIONS),
        ("chrf", CAPTIONS),
        ("mean_length", CAPTIONS),
    ],
)
def test_few_groups_are_swapped_in_every_way(metric, items):
    """p is that of computing the metric itself after each of the 2^6 swaps, averaged over two seeds."""
    first, second = (items, worse(items, 5)), (worse(items, 1), worse(items, 2))
    found = difference(metric, by_seed(*first), by_seed(*second))
    assert found.p == pytest.approx(swapped_every_way(metric, first, second))
    assert found.test == "sign flips, exact"
    function = METRICS.load(metric)
    apart = [function(one) - function(other) for one, other in zip(first, second, strict=True)]
    assert found.by_seed == pytest.approx(apart) and found.value == pytest.approx(np.mean(apart))
    assert found.low < found.value < found.high and found.method == "t over seeds and groups"


def test_drawn_swaps_agree_with_scipy():
    """Of 40 readers 10 000 swaps are drawn: p is scipy's permutation test of paired samples, within both's noise."""
    rng = np.random.default_rng(0)
    words = ["one two three four five"] * 40
    said = [
        [" ".join("x" if rng.random() < rate else word for word in text.split()) for text in words]
        for rate in (0.3, 0.36)
    ]
    runs = [[item(n, f"g{n}", "one two three four five", text) for n, text in enumerate(side)] for side in said]
    found = difference("wer", by_seed(runs[0]), by_seed(runs[1]))
    errors = [np.array([text.split().count("x") for text in side]) for side in said]
    oracle = scipy.stats.permutation_test(
        errors, lambda x, y, axis: np.sum(x - y, axis=axis), permutation_type="samples", n_resamples=10_000, rng=1
    )
    assert 0.02 < oracle.pvalue < 0.9
    assert found.p == pytest.approx(oracle.pvalue, abs=4 * math.sqrt(2 * 0.25 / 10_000))
    assert found.test == "sign flips, 10000 draws"


def test_the_interval_over_one_seed_agrees_with_scipy():
    """With an item to a group and 150 of them it is the paired BCa interval, within Monte Carlo error."""
    rng = np.random.default_rng(3)
    left, right = (rng.random(150) < 0.7).astype(int), (rng.random(150) < 0.6).astype(int)
    first, second = (by_seed(hits("".join(map(str, side)))) for side in (left, right))
    found = difference("accuracy", first, second)
    oracle = scipy.stats.bootstrap((left - right,), np.mean, n_resamples=10_000, method="BCa", rng=2)
    error = 4 * oracle.standard_error * math.sqrt(0.025 * 0.975 / 10_000) / 0.058 + 1 / 150  # and one step of the mean
    assert found.method == "BCa" and found.value == pytest.approx(left.mean() - right.mean())
    assert found.low == pytest.approx(oracle.confidence_interval.low, abs=error)
    assert found.high == pytest.approx(oracle.confidence_interval.high, abs=error)


def test_few_groups_under_one_seed_have_an_interval_by_t():
    """Six groups of one size: Student's interval of the groups' means, as scipy has it."""
    groups = "aabbccddeeff"
    found = difference("accuracy", by_seed(hits("111011101101", groups)), by_seed(hits("010011100100", groups)))
    means = np.array([0.5, 0.5, 0.0, 0.0, 0.5, 0.5])
    oracle = scipy.stats.ttest_1samp(means, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high)) and found.method == "t over groups"


def test_a_ranking_is_tested_on_what_its_clips_contribute():
    """The scale of a probe's scores changes nothing; equal rankings have p = 1; a perfect one beats a random one."""
    items = at_random(4)
    scaled = [replace(entry, scores={k: 9 * v - 4 for k, v in entry.scores.items()}) for entry in items]
    told = [replace(entry, scores={k: float(k in entry.references) for k in entry.scores}) for entry in items]
    same = difference("map", by_seed(items), by_seed(scaled))
    assert (same.value, same.p) == (0.0, 1.0) and same.low < 0 < same.high
    apart = difference("map", by_seed(told), by_seed(items))
    again = difference("map", by_seed(told), by_seed(scaled))
    assert apart == again and apart.p < 0.01 and apart.low > 0
    assert apart.value == pytest.approx(1 - METRICS.load("map")(items))
    assert apart.test == "sign flips of jackknife values, 10000 draws"


def test_many_clips_are_left_out_in_blocks():
    """Beyond so many groups the jackknife takes several at once: the value stays, and the interval nearly so."""
    first, second = at_random(1, num_clips=260), at_random(2, num_clips=260)
    second = [replace(theirs, references=mine.references) for mine, theirs in zip(first, second, strict=True)]
    found = difference("map", by_seed(first), by_seed(second))
    function = METRICS.load("map")
    assert found.value == pytest.approx(function(first) - function(second))
    assert found.groups == 260 and found.low < found.value < found.high


def test_items_that_one_lacks_are_left_out_and_counted():
    """Of ids 0 to 9 one side lacks 0 under one seed, the other 9: eight are compared, two left out."""
    full, part = hits("1100110011"), hits("0110011001")
    found = difference("accuracy", by_seed(full, full[1:]), by_seed(part[:-1], part))
    assert (found.n, found.left_out) == (8, 2)
    assert found.value == pytest.approx(np.mean([1 - 1, 0 - 1, 0 - 0, 1 - 0, 1 - 1, 0 - 1, 0 - 0, 1 - 0]))


def test_only_shared_seeds_are_compared():
    """Seeds 0 and 1 against 1 and 2: the one that both have."""
    first, second = by_seed(hits("1111"), hits("1100")), by_seed(hits("0000"), hits("1000"), hits("0000"))
    found = difference("accuracy", first, {1: second[1], 2: second[2]})
    assert found.by_seed == (0.25,) and not found.seeds_agree


@pytest.mark.parametrize(
    ("metric", "items"),
    [
        ("accuracy", hits("10" * 10)),
        ("balanced_accuracy", hits("1" * 20)),  # one class, all right
        ("macro_f1", hits("0" * 20)),  # one class, all wrong
        ("invalid_rate", hits("10" * 10)),
        ("wer", SPOKEN),
        ("cider_d", CAPTIONS),
        ("bits_per_byte", CAPTIONS),
        ("map", at_random(4)),
    ],
)
@pytest.mark.parametrize("seeds", [1, 3])
def test_probes_that_never_differ_are_not_known_to_be_equal(metric, items, seeds):
    """No item differs: p is 1, and the interval is as of 0 differing groups, wider the fewer there are; never nan."""
    found = difference(metric, by_seed(*[items] * seeds), by_seed(*[items] * seeds))
    groups = len({entry.group for entry in items})
    share = 3.841459 / (groups + 3.841459)
    assert (found.value, found.p, found.groups) == (0.0, 1.0, groups)
    assert found.low == -found.high and found.high >= share - 1e-6 and found.method == "wilson over groups"
    assert not found.seeds_agree and not found.holds(found.p)


def test_all_items_differ_alike():
    """0 of 20 against 20 of 20: the interval ends at -1, as 20 of 20 groups do; the test is as sure as it can be."""
    found = difference("accuracy", by_seed(hits("0" * 20)), by_seed(hits("1" * 20)))
    assert (found.value, found.low, found.high) == pytest.approx((-1.0, -1.0, -20 / 23.841459), abs=1e-6)
    assert found.p == pytest.approx(2 / 2**20)


def test_a_renamed_label_is_still_right_or_wrong():
    """A control that renames the classes is compared by accuracy, and by no metric of texts."""
    plain = [item(n, f"g{n}", "ab"[n % 2], "a") for n in range(30)]
    renamed = [item(n, f"g{n}", "ba"[n % 2], "b" if n < 20 else "a") for n in range(30)]
    assert difference("accuracy", by_seed(plain), by_seed(renamed)).value == pytest.approx(0)
    assert difference("balanced_accuracy", by_seed(plain), by_seed(renamed)).n == 30
    with pytest.raises(ScoringError, match="different answers: see item '0'"):
        difference("wer", by_seed(plain), by_seed(renamed))


def test_a_real_difference_needs_test_interval_and_seeds():
    """Each of the three alone can forbid the claim."""
    sure = Difference(0.2, 0.1, 0.3, "", 0.01, "", (0.1, 0.3), 10, 0, 10)
    assert sure.holds(0.04) and not sure.holds(0.05)
    assert replace(sure, value=-0.2, low=-0.3, high=-0.1, by_seed=(-0.1, -0.3)).holds(0.01)
    assert not replace(sure, low=-0.1).holds(0.01)
    assert not replace(sure, by_seed=(0.5, -0.1)).holds(0.01)
    assert not replace(sure, by_seed=(0.2,)).holds(0.01)


@pytest.mark.parametrize(
    ("metric", "first", "second", "message"),
    [
        ("accuracy", by_seed(hits("11")), {1: by_seed(hits("10"))[0]}, "no seed in common"),
        ("accuracy", by_seed(hits("11")), {}, "no seed in common"),
        ("accuracy", by_seed(hits("111")[:1]), by_seed(hits("111")[1:]), "no item in common"),
        ("accuracy", by_seed(hits("11", "aa")), by_seed(hits("10", "aa")), "2 or more groups"),
        ("accuracy", by_seed(hits("11", "ab")), by_seed(hits("10", "ba")), "different items"),
        ("vocabulary", by_seed(CAPTIONS), by_seed(CAPTIONS), "it has no test"),
        ("map", by_seed(hits("1101")), by_seed(hits("1001")), "Ranking needs"),
    ],
)
def test_what_cannot_be_compared_is_an_error(metric, first, second, message):
    """Other seeds or items, one group, groups that changed, no ranking: refused with the reason."""
    with pytest.raises(ScoringError, match=message):
        difference(metric, first, second)


def test_an_unknown_metric_is_named():
    """The nearest name is told."""
    with pytest.raises(UnknownNameError, match="accuracy"):
        difference("acuracy", by_seed(hits("11")), by_seed(hits("10")))
