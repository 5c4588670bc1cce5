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
        ("map", CLIPS),
        ("d_prime", CLIPS),
    ],
)
def test_the_vectorised_interval_is_that_of_every_resample(metric, items):
    """Sums (or weights) of the drawn groups give what the metric itself gives of the drawn items."""
    function, groups = METRICS.load(metric), [item.group for item in items]

    def of_drawn(indices):
        return function([replace(items[index], id=str(place)) for place, index in enumerate(indices)])

    slow = bootstrap_statistic(of_drawn, groups, draws=40, seed=2)
    fast = metric_interval(metric, [items], draws=40, seed=2)
    assert [fast.value, fast.low, fast.high] == pytest.approx([slow.value, slow.low, slow.high], abs=1e-9)
    assert fast.method == "clustered bootstrap" and fast.low < fast.value < fast.high
    assert fast.value == pytest.approx(function(items), abs=1e-12)


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


@pytest.mark.parametrize("metric", ["distinct_2", "vocabulary"])
def test_counts_of_different_words_have_no_interval(metric):
    """A resample repeats clips and so has fewer different words: no ends are claimed."""
    found = metric_interval(metric, [CAPTIONS])
    assert found.method == "none" and np.isnan([found.low, found.high]).all()
    assert found.value == METRICS.load(metric)(CAPTIONS)


def test_many_scores_are_drawn_less_often_and_it_is_said(monkeypatch):
    """Beyond so many clips times classes a ranking has 200 draws, which its method tells; below, what was asked for."""
    monkeypatch.setattr("palprobe.stats.intervals.MANY_SCORES", len(CLIPS) * 4 - 1)
    assert metric_interval("map", [CLIPS], draws=250).method == "clustered bootstrap, 200 draws"
    assert metric_interval("map", [CLIPS], draws=100).method == "clustered bootstrap"
    monkeypatch.setattr("palprobe.stats.intervals.MANY_SCORES", len(CLIPS) * 4)
    assert metric_interval("map", [CLIPS], draws=250).method == "clustered bootstrap"


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
