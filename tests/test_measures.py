"""Metrics as formulas of sums: the value, what leaving groups out gives, and runs that are remembered."""

from dataclasses import replace

import numpy as np
import pytest
from captions_at_random import captioned
from test_ranking import at_random
from test_stats import random_items, transcripts

from palprobe.errors import ScoringError
from palprobe.metrics import METRICS
from palprobe.stats import group_codes
from palprobe.stats.measures import BLOCKS, Held, sums_of

CAPTIONS, CHOICES, SPOKEN, CLIPS = captioned(3, per_group=2), random_items(8), transcripts(0), at_random(4)
RUNS = {
    "accuracy": CHOICES,
    "invalid_rate": CHOICES,
    "balanced_accuracy": CHOICES,
    "macro_f1": CHOICES,
    "wer": SPOKEN,
    "cer": SPOKEN,
    "mean_length": CAPTIONS,
    "bits_per_byte": CAPTIONS,
    "bleu": CAPTIONS,
    "chrf": CAPTIONS,
    "map": CLIPS,
    "d_prime": CLIPS,
}


def measured(metric, *runs):
    groups = [entry.group for entry in runs[0]]
    return sums_of(metric, runs, *group_codes(groups, len(groups)))


@pytest.mark.parametrize("metric", RUNS)
def test_the_sums_give_the_metric_and_the_jackknife_its_values(metric):
    """The value is the metric's own; pseudo-values are G times it less G - 1 times that of all other groups' items."""
    run, function = RUNS[metric], METRICS.load(metric)
    found, names = measured(metric, run), sorted({entry.group for entry in run})
    assert found.values == pytest.approx([function(run)])
    whole, number = function(run), len(names)
    slow = [number * whole - (number - 1) * function([item for item in run if item.group != name]) for name in names]
    if found.linear:  # moved so that their mean is the value
        slow = slow - np.mean(slow) + whole
    assert found.jackknife()[0] == pytest.approx(slow)
    assert found.linear == (metric in ("map", "d_prime"))


def test_cider_d_keeps_the_weights_of_the_whole_set():
    """The value is the metric's own, and each item's score is what it is among all."""
    assert measured("cider_d", CAPTIONS).values == pytest.approx([METRICS.load("cider_d")(CAPTIONS)])


def test_a_difference_is_a_metric_too():
    """Its value under each run, and its pseudo-values, are those of the first less those of the second."""
    worse = [replace(item, prediction="a", correct=item.reference == "a") for item in CHOICES]
    one, other = measured("macro_f1", CHOICES, worse), measured("macro_f1", worse, worse)
    assert one.less(other).values == pytest.approx(one.values - other.values)
    assert one.less(other).jackknife() == pytest.approx(one.jackknife() - other.jackknife())


def test_many_groups_are_left_out_in_blocks():
    """Beyond so many, several at once, the same for every run; the value stays."""
    clips = at_random(2, num_clips=BLOCKS + 50)
    found = measured("map", clips)
    assert found.totals.shape == (1, BLOCKS, 2) and found.values == pytest.approx([METRICS.load("map")(clips)])


def test_a_ranking_that_one_clip_keeps_from_being_perfect():
    """Without it d' is infinite: refused, with the reason."""
    perfect = [replace(item, scores={k: float(k in item.references) for k in item.scores}) for item in CLIPS]
    fault = replace(perfect[0], scores={k: -score for k, score in perfect[0].scores.items()})
    with pytest.raises(ScoringError, match="no value without some of the recordings"):
        measured("d_prime", [fault, *perfect[1:]])


def test_a_run_is_remembered_by_its_very_predictions():
    """The same predictions are one key, however the run is put together; equal ones of another run are not."""
    assert Held(SPOKEN) == Held(list(SPOKEN)) and hash(Held(SPOKEN)) == hash(Held(tuple(SPOKEN)))
    assert Held(SPOKEN) != Held([replace(item) for item in SPOKEN]) and Held(SPOKEN) != Held(SPOKEN[1:])
