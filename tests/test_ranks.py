"""Ranks over tasks against scipy, scikit-posthocs and published examples; strengths against a second algorithm."""

import math

import numpy as np
import pytest
import scikit_posthocs
import scipy.stats
from statsmodels.stats.multitest import multipletests

from palprobe.errors import ScoringError
from palprobe.stats.ranks import (
    average_ranks,
    bradley_terry,
    critical_difference,
    friedman,
    nemenyi,
    ranks,
    wilcoxon_pairs,
    wins,
)

# X-ARES' public table of linear probes, as printed in the README of jimbozhang/xares (Apache-2.0), 22 tasks.
XARES_NAMES = ("dasheng", "wav2vec2", "whisper", "data2vec")
XARES = np.array(
    [
        [0.964, 0.924, 0.966, 0.937],  # ASV2015
        [0.029, 0.014, 0.038, 0.008],  # Clotho
        [0.767, 0.541, 0.572, 0.523],  # CREMA-D
        [0.537, 0.313, 0.127, 0.136],  # DESED
        [0.857, 0.510, 0.528, 0.229],  # ESC-50
        [0.946, 0.468, 0.776, 0.978],  # Fluent Speech Commands
        [0.643, 0.469, 0.581, 0.334],  # Free Music Archive Small
        [0.409, 0.166, 0.262, 0.085],  # FSD50k
        [0.534, 0.241, 0.241, 0.153],  # FSD18-Kaggle
        [0.851, 0.630, 0.622, 0.448],  # GTZAN Genre
        [0.681, 0.583, 0.549, 0.492],  # LibriCount
        [0.608, 0.405, 0.721, 0.893],  # LibriSpeech-100h
        [0.986, 0.948, 0.973, 0.752],  # LibriSpeech-MF
        [0.524, 0.180, 0.011, 0.116],  # MAESTRO
        [0.688, 0.443, 0.532, 0.336],  # NSynth-Instruments
        [0.749, 0.442, 0.459, 0.467],  # RAVDESS
        [0.969, 0.714, 0.933, 0.927],  # Speech Commands V1
        [0.833, 0.659, 0.687, 0.426],  # UrbanSound 8k
        [0.253, 0.147, 0.180, 0.128],  # Vocal Imitation
        [0.910, 0.768, 0.860, 0.803],  # VocalSound
        [0.780, 0.340, 0.388, 0.105],  # VoxCeleb1
        [0.814, 0.553, 0.873, 0.620],  # VoxLingua33
    ]
)


def table(seed: int, tasks: int = 12, things: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.round(rng.random((tasks, things)) + 0.1 * np.arange(things), 1)  # rounded, so that some tie


@pytest.mark.parametrize("seed", range(4))
def test_ranks_and_friedman_agree_with_scipy(seed):
    """Ties share the mean of their places; the statistic is corrected for them."""
    scores = table(seed)
    assert average_ranks(scores) == pytest.approx(scipy.stats.rankdata(-scores, axis=1).mean(axis=0))
    found, oracle = friedman(scores), scipy.stats.friedmanchisquare(*scores.T)
    assert (found.statistic, found.p) == pytest.approx((oracle.statistic, oracle.pvalue))


@pytest.mark.parametrize("seed", range(4))
def test_nemenyi_and_wilcoxon_agree_with_scikit_posthocs(seed):
    """Each pair's p, with all pairs taken into account."""
    scores = table(seed)
    assert nemenyi(scores) == pytest.approx(scikit_posthocs.posthoc_nemenyi_friedman(scores).to_numpy(), abs=1e-6)
    scores = np.random.default_rng(seed).random((12, 4))
    oracle = scikit_posthocs.posthoc_wilcoxon(list(scores.T), p_adjust="holm").to_numpy()
    assert wilcoxon_pairs(scores) == pytest.approx(oracle, abs=1e-6)


def test_critical_difference_of_published_examples():
    """Demšar's example of 4 classifiers on 14 data sets has 1.25; his table gives q = 2.343, 2.569, 2.728 and 3.164."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    for number, q in ((3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)):
        assert critical_difference(number, 6) == pytest.approx(q * math.sqrt(number * (number + 1) / 36), abs=0.002)


def test_the_critical_difference_is_where_nemenyi_is_0_05():
    """Two ranks that far apart have p = 0.05."""
    distance = critical_difference(5, 20)
    q = distance / math.sqrt(5 * 6 / 120) * math.sqrt(2)
    assert scipy.stats.studentized_range.sf(q, 5, np.inf) == pytest.approx(0.05, abs=1e-6)


def test_pairs_skip_what_one_lacks():
    """Tasks that only one of a pair has are left out; a pair that shares none, or ties on all, has p = 1."""
    scores = np.random.default_rng(0).random((12, 3))
    scores[:4, 0], scores[:, 2] = np.nan, scores[:, 1]
    found = wilcoxon_pairs(scores)
    raw = scipy.stats.wilcoxon(scores[4:, 0], scores[4:, 1]).pvalue
    assert found[0, 1] == pytest.approx(multipletests([raw, raw, 1.0], method="holm")[1][0])
    assert found[1, 2] == found[2, 1] == found[0, 0] == 1.0
    scores[4:, 0] = np.nan
    assert wilcoxon_pairs(scores)[0].tolist() == [1.0, 1.0, 1.0]


def test_ties_everywhere():
    """All alike on every task: ranks of the middle, and p = 1."""
    scores = np.full((6, 4), 0.5)
    assert average_ranks(scores).tolist() == [2.5] * 4
    assert friedman(scores).p == 1.0 and np.all(nemenyi(scores) == 1.0) and np.all(wilcoxon_pairs(scores) == 1.0)
    assert bradley_terry(wins(scores)) == pytest.approx(np.zeros(4))


def test_two_that_meet_by_hand():
    """3 wins against 1: the log odds are log 3; with half a win more for each, log(3.5 / 1.5)."""
    won = np.array([[0.0, 3.0], [1.0, 0.0]])
    assert np.ptp(bradley_terry(won, prior=0)) == pytest.approx(math.log(3), abs=1e-6)
    assert np.ptp(bradley_terry(won)) == pytest.approx(math.log(3.5 / 1.5), abs=1e-6)
    assert np.ptp(bradley_terry(np.array([[0.0, 4.0], [0.0, 0.0]]))) == pytest.approx(math.log(9), abs=1e-6)
    assert bradley_terry(np.zeros((1, 1))).tolist() == [0.0]


@pytest.mark.parametrize("seed", range(3))
def test_strengths_agree_with_the_algorithm_of_hunter(seed):
    """An incomplete table: minorisation and maximisation, iterated to the end, finds the same strengths."""
    scores = table(seed, tasks=15)
    scores[np.random.default_rng(seed).random(scores.shape) < 0.4] = np.nan
    won = wins(scores) + 0.5 * (wins(scores) + wins(scores).T > 0)
    met, strength = won + won.T, np.ones(5)
    for _ in range(5000):
        strength = won.sum(axis=1) / (met / (strength[:, None] + strength)).sum(axis=1)
        strength /= np.exp(np.log(strength).mean())
    assert bradley_terry(wins(scores)) == pytest.approx(np.log(strength), abs=1e-4)


def test_wins_by_hand():
    """Two tasks won, one tied, one that the other skipped."""
    scores = np.array([[0.5, 0.4], [0.6, 0.1], [0.3, 0.3], [0.9, np.nan]])
    assert wins(scores).tolist() == [[0.0, 2.5], [0.5, 0.0]]


def test_the_public_table_whose_order_depends_on_the_weights_is_a_tie():
    """X-ARES' order of wav2vec2 and data2vec is the reverse of their average ranks, and neither is better than the
    other: p by Wilcoxon is 0.15 before Holm, and their ranks are nearer than the critical difference."""
    means = dict(zip(XARES_NAMES, average_ranks(XARES), strict=True))
    assert [round(means[name], 2) for name in ("dasheng", "whisper", "wav2vec2", "data2vec")] == [
        1.27,
        2.25,
        3.11,
        3.36,
    ]
    assert critical_difference(4, 22) == pytest.approx(1.0, abs=0.005)
    assert friedman(XARES).p == pytest.approx(9e-8, rel=0.1)
    one, other = XARES_NAMES.index("wav2vec2"), XARES_NAMES.index("data2vec")
    assert scipy.stats.wilcoxon(XARES[:, one], XARES[:, other]).pvalue == pytest.approx(0.15, abs=0.005)
    assert wilcoxon_pairs(XARES)[one, other] > 0.05 and nemenyi(XARES)[one, other] > 0.05
    assert abs(means["wav2vec2"] - means["data2vec"]) < critical_difference(4, 22)
    assert wilcoxon_pairs(XARES)[XARES_NAMES.index("dasheng"), other] < 0.01


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (lambda: ranks(np.array([[0.1, np.nan]])), "score of everyone on each"),
        (lambda: average_ranks(np.zeros((0, 3))), "one task or more"),
        (lambda: friedman(np.zeros((5, 2))), "got 2 and 5"),
        (lambda: friedman(np.zeros((1, 4))), "got 4 and 1"),
        (lambda: critical_difference(1, 5), "got 1, 5"),
        (lambda: bradley_terry(np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])), "some share none"),
    ],
)
def test_what_cannot_be_ranked_is_an_error(compute, message):
    """Skipped tasks, too few things or tasks, encoders that never meet: refused with the reason."""
    with pytest.raises(ScoringError, match=message):
        compute()
