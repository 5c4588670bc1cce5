"""Intervals of every metric: the vectorised bootstrap is the plain one, draw by draw."""

from dataclasses import replace

import numpy as np
import pytest
from captions_at_random import captioned
from test_ranking import at_random
from test_stats import random_items

from palprobe.errors import ScoringError
from palprobe.metrics import METRICS
from palprobe.metrics.cider import cider_d_of_each
from palprobe.metrics.ranking import map_of, table_of
from palprobe.stats import bootstrap_statistic, clustered_bootstrap
from palprobe.stats.intervals import metric_interval

CAPTIONS = captioned(3, per_group=2)
CLIPS = [replace(item, group=f"g{number // 3}") for number, item in enumerate(at_random(4))]
CHOICES = random_items(8)


@pytest.mark.parametrize(
    ("metric", "items"),
    [
        ("balanced_accuracy", CHOICES),
        ("cer", CAPTIONS),
        ("mean_length", CAPTIONS),
        ("bits_per_byte", CAPTIONS),
        ("bleu", CAPTIONS),
        ("chrf", CAPTIONS),
    ],
)
def test_the_vectorised_interval_is_that_of_every_resample(metric, items):
    """Sums (or weights) of the drawn groups give what the metric itself gives of the drawn items."""
    function, groups = METRICS.load(metric), [item.group for item in items]

    def of_drawn(indices):
        return function([items[index] for index in indices])

    slow = bootstrap_statistic(of_drawn, groups, draws=40, seed=2)
    fast = metric_interval(metric, [items], draws=40, seed=2)
    assert [fast.value, fast.low, fast.high] == pytest.approx([slow.value, slow.low, slow.high], abs=1e-9)
    assert fast.method == "clustered bootstrap" and fast.low < fast.value < fast.high
    assert fast.value == pytest.approx(function(items), abs=1e-12)


@pytest.mark.parametrize("metric", ["map", "d_prime"])
def test_a_ranking_has_the_spread_of_its_resamples_around_its_value(metric):
    """The interval is as wide as the plain bootstrap's, and moved so that the mean of all resamples is the value."""
    function, groups, values = METRICS.load(metric), [item.group for item in CLIPS], []

    def of_drawn(indices):
        values.append(function([CLIPS[index] for index in indices]))
        return values[-1]

    slow = bootstrap_statistic(of_drawn, groups, draws=40, seed=2)
    shift = np.mean(values[:40]) - slow.value
    fast = metric_interval(metric, [CLIPS], draws=40, seed=2)
    assert fast.value == pytest.approx(slow.value)
    assert [fast.low, fast.high] == pytest.approx([slow.low - shift, slow.high - shift])
    assert fast.method == "clustered bootstrap, centred"


def test_the_interval_of_map_covers_where_percentiles_do_not():
    """Of 60 test sets of 150 clips and 100 classes, the mean mAP of such sets lies in ours about 57 times (by chance
    50 at least), but not so within plain percentiles: drawn twice, a clip ranks beside itself."""
    rng = np.random.default_rng(0)

    def ranking():
        has = rng.random((150, 100)) < 0.08
        has[0], has[1] = True, False
        scores = rng.normal(size=has.shape) + has
        names = [f"class {number}" for number in range(100)]
        return [
            replace(CLIPS[0], id=str(n), group=str(n), scores=dict(zip(names, row, strict=True)), references=told)
            for n, row in enumerate(scores)
            for told in [tuple(name for name, there in zip(names, has[n], strict=True) if there) or ("none",)]
        ]

    truth = np.mean([METRICS.load("map")(ranking()) for _ in range(100)])
    ours = plain = 0
    for _ in range(60):
        items = ranking()
        found = metric_interval("map", [items], draws=100)
        weights = rng.multinomial(150, np.full(150, 1 / 150), size=100).T.astype(float)
        low, high = np.quantile(map_of(table_of(items), weights), [0.025, 0.975])
        ours += found.low <= truth <= found.high
        plain += low <= truth <= high
    assert ours >= 50 and plain < 45


def test_cider_d_is_drawn_with_the_weights_of_the_whole_set():
    """A draw takes items with the scores that they have, so the interval is that of a mean."""
    groups = [item.group for item in CAPTIONS]
    mean = clustered_bootstrap(cider_d_of_each(CAPTIONS), groups, draws=300, seed=1)
    found = metric_interval("cider_d", [CAPTIONS], draws=300, seed=1)
    assert [found.value, found.low, found.high] == pytest.approx([mean.value, mean.low, mean.high])


@pytest.mark.parametrize("metric", ["map", "bleu", "cider_d", "bits_per_byte", "balanced_accuracy", "vocabulary"])
def test_several_runs_are_averaged(metric):
    """Two seeds over the same items: the mean of what each has."""
    first = {"map": CLIPS, "balanced_accuracy": CHOICES}.get(metric, CAPTIONS)
    turned = [item.prediction for item in first[1:]] + [first[0].prediction]
    second = [replace(item, prediction=text, correct=False) for item, text in zip(first, turned, strict=True)]
    alone = [METRICS.load(metric)(run) for run in (first, second)]
    assert metric_interval(metric, [first, second], draws=20).value == pytest.approx(np.mean(alone))


def test_the_interval_of_map_ends_at_one():
    """A ranking with one fault has an interval that goes no further than 1; one with none claims no certainty."""
    items = at_random(7, num_clips=20)
    told = [replace(item, scores={label: float(label in item.references) for label in item.scores}) for item in items]
    fault = replace(told[0], scores={label: 1 - score for label, score in told[0].scores.items()})
    found = metric_interval("map", [[fault, *told[1:]]], draws=100)
    assert found.low < found.value < found.high <= 1
    assert metric_interval("map", [told], draws=100).method == "none"


@pytest.mark.parametrize("metric", ["distinct_2", "vocabulary"])
def test_counts_of_different_words_have_no_interval(metric):
    """A resample repeats clips and so has fewer different words: no ends are claimed."""
    found = metric_interval(metric, [CAPTIONS])
    assert found.method == "none" and np.isnan([found.low, found.high]).all()
    assert found.value == METRICS.load(metric)(CAPTIONS)


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_answers_without_a_fault_claim_no_certainty(metric):
    """Where each answer is its reference every draw has the score 1, which is no interval."""
    found = metric_interval(metric, [[replace(item, prediction=item.reference) for item in CAPTIONS]], draws=20)
    assert (found.value, found.method) == (pytest.approx(1.0), "none") and np.isnan([found.low, found.high]).all()


def test_many_scores_are_drawn_less_often_and_it_is_said(monkeypatch):
    """Beyond so many clips times classes a ranking has 200 draws, which its method tells; below, what was asked for."""
    monkeypatch.setattr("palprobe.stats.intervals.MANY_SCORES", len(CLIPS) * 4 - 1)
    assert metric_interval("map", [CLIPS], draws=250).method == "clustered bootstrap, centred, 200 draws"
    assert metric_interval("map", [CLIPS], draws=100).method == "clustered bootstrap, centred"
    monkeypatch.setattr("palprobe.stats.intervals.MANY_SCORES", len(CLIPS) * 4)
    assert metric_interval("map", [CLIPS], draws=250).method == "clustered bootstrap, centred"


def test_a_ranking_that_some_draw_makes_perfect_has_no_interval_of_d_prime():
    """The end of the interval would be infinite."""
    items = at_random(6, num_clips=12)
    perfect = [
        replace(item, scores={label: float(label in item.references) for label in item.scores}) for item in items[:10]
    ]
    found = metric_interval("d_prime", [[*perfect, *items[10:]]], draws=200)
    assert np.isfinite(found.value) and found.method == "none"
    with pytest.raises(ScoringError, match="infinite"):
        metric_interval("d_prime", [perfect])
