"""The two classifiers agree with scikit-learn and with counting by hand, and no probability is 0."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from palprobe.controls.pooled_probes import (
    NUMBERS,
    STRENGTHS,
    Labelled,
    Linear,
    choose,
    linear_probes,
    log_likelihood,
    neighbour_probes,
)


def clusters(clips, dim, classes, *, seed=0, spread=1.0, scale=1.0):
    """Labelled clouds around random centres, and the number of each clip's class."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(clips) % classes
    centres = np.random.default_rng(99).normal(size=(classes, dim))
    vectors = scale * (centres[numbers] + spread * rng.normal(size=(clips, dim))) + 5
    return Labelled(vectors, np.eye(classes, dtype=bool)[numbers], several=False), numbers


@pytest.mark.parametrize("dim", [5, 90], ids=["fewer numbers than clips", "more numbers than clips"])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_regression_is_that_of_scikit_learn(dim, classes):
    """Probabilities equal those of its regression on standardised vectors, also where ours is fitted rotated."""
    train, numbers = clusters(60, dim, classes, spread=3.0, scale=100.0)
    later, _ = clusters(20, dim, classes, seed=1, spread=3.0, scale=100.0)
    scaler = StandardScaler().fit(train.vectors)
    for strength, probe in linear_probes(train, [0.01, 1.0]):
        oracle = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000)
        oracle.fit(scaler.transform(train.vectors), numbers)
        expected = oracle.predict_proba(scaler.transform(later.vectors))
        found = np.exp(probe.log_probabilities(later.vectors))
        np.testing.assert_allclose(found, expected, atol=5e-3)  # ours stops at a gradient of 1e-4


def test_several_labels_are_one_regression_each():
    """All labels in one product give what scikit-learn's one-versus-rest gives, rare labels and common ones."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(150, 8))
    labels = vectors @ rng.normal(size=(8, 4)) + rng.normal(size=(150, 4)) > np.array([-2.0, 0.0, 1.0, 4.0])
    assert labels.any(axis=0).all()
    scaler = StandardScaler().fit(vectors)
    for strength, probe in linear_probes(Labelled(vectors, labels, several=True), [0.01, 1.0]):
        single = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000)
        oracle = OneVsRestClassifier(single).fit(scaler.transform(vectors), labels.astype(int))
        expected = oracle.predict_proba(scaler.transform(vectors))
        np.testing.assert_allclose(np.exp(probe.log_probabilities(vectors)), expected, atol=2e-3)


def test_neighbours_by_hand():
    """Two of three neighbours of class a, training shares 3/5 and 2/5: a has (2 + 4/7) / 4, by counting."""
    angles = np.radians([0, 10, 20, 180, 190])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    vectors -= vectors.mean(axis=0)
    labels = np.array([[1, 0], [0, 1], [1, 0], [1, 0], [0, 1]], dtype=bool)
    ((_, probe),) = neighbour_probes(Labelled(vectors, labels, several=False), [3])
    found = np.exp(probe.log_probabilities(vectors[:1]))
    np.testing.assert_allclose(found, [[(2 + 4 / 7) / 4, (1 + 3 / 7) / 4]])


def test_neighbours_are_those_of_scikit_learn():
    """Without the one neighbour more, the shares are those of its classifier by cosine on standardised vectors."""
    train, numbers = clusters(80, 6, 4, spread=2.0, scale=30.0)
    later, _ = clusters(30, 6, 4, seed=1, spread=2.0, scale=30.0)
    scaler = StandardScaler().fit(train.vectors)
    for number, probe in neighbour_probes(train, [1, 7]):
        oracle = KNeighborsClassifier(int(number), metric="cosine").fit(scaler.transform(train.vectors), numbers)
        votes = number * oracle.predict_proba(scaler.transform(later.vectors))
        expected = (votes + 1 / 4) / (number + 1)
        np.testing.assert_allclose(np.exp(probe.log_probabilities(later.vectors)), expected)


def test_more_neighbours_than_clips_are_all_clips():
    """With 3 clips, 16 and 32 neighbours are those 3, tried once; of one more, 3/5 is for the class of two clips."""
    labels = np.array([[1, 0], [1, 0], [0, 1]], dtype=bool)
    ((number, probe),) = neighbour_probes(Labelled(np.eye(3), labels, several=False), [16, 32])
    assert number == 3
    expected = [(2 + 3 / 5) / 4, (1 + 2 / 5) / 4]
    np.testing.assert_allclose(np.exp(probe.log_probabilities(np.eye(3)[:1])), [expected])


@pytest.mark.parametrize("probes", [linear_probes, neighbour_probes])
def test_what_was_never_seen_is_unlikely_but_possible(probes):
    """Of 4 choices two have no training clip: every log probability is finite, and probabilities sum to 1."""
    train, _ = clusters(40, 3, 2)
    labels = np.pad(train.labels, ((0, 0), (1, 1)))
    for _, probe in probes(Labelled(train.vectors, labels, several=False)):
        logs = probe.log_probabilities(100 * train.vectors)
        assert np.isfinite(logs).all()
        found = np.exp(logs)
        np.testing.assert_allclose(found.sum(axis=1), 1)
        assert (found[:, [0, 3]] < 0.03).all()


def test_what_was_never_seen_by_the_rule_of_succession():
    """A choice without a clip among 40 clips and 4 choices has 1/44; if one alone is there, it has the rest: 41/44."""
    train, _ = clusters(40, 3, 2)
    labels = np.pad(train.labels, ((0, 0), (1, 1)))
    ((_, two),) = linear_probes(Labelled(train.vectors, labels, several=False), [1.0])
    np.testing.assert_allclose(np.exp(two.log_probabilities(train.vectors))[:, [0, 3]], 1 / 44)
    one = np.zeros((40, 4), dtype=bool)
    one[:, 2] = True
    ((_, alone),) = linear_probes(Labelled(train.vectors, one, several=False), [1.0])
    np.testing.assert_allclose(np.exp(alone.log_probabilities(train.vectors)), [[1 / 44, 1 / 44, 41 / 44, 1 / 44]] * 40)


def test_labels_that_all_or_no_clips_have():
    """Beside a label that can be learnt, one that every clip has gets 41/42 and one that none has 1/42."""
    train, numbers = clusters(40, 3, 2, spread=0.1)
    labels = np.stack([numbers == 0, np.ones(40, bool), np.zeros(40, bool)], axis=1)
    ((_, probe),) = linear_probes(Labelled(train.vectors, labels, several=True), [1.0])
    found = np.exp(probe.log_probabilities(train.vectors))
    np.testing.assert_allclose(found[:, 1:], [[41 / 42, 1 / 42]] * 40)
    assert ((found[:, 0] > 0.5) == labels[:, 0]).all()
    ((_, none),) = linear_probes(Labelled(train.vectors, labels[:, 1:], several=True), [1.0])
    np.testing.assert_allclose(np.exp(none.log_probabilities(train.vectors)), [[41 / 42, 1 / 42]] * 40)


@pytest.mark.parametrize("probes", [linear_probes, neighbour_probes])
def test_an_encoder_that_says_nothing_is_at_the_shares_of_the_classes(probes):
    """Features that are alike for all clips leave nothing but how frequent each class is: 30, 10 and 20 of 60."""
    labels = np.eye(3, dtype=bool)[np.repeat([0, 1, 2], [30, 10, 20])]
    train = Labelled(np.full((60, 4), 0.1), labels, several=False)
    found = np.exp(choose(probes(train), train).probe.log_probabilities(np.full((2, 4), 0.1)))
    if probes is linear_probes:
        np.testing.assert_allclose(found, [[1 / 2, 1 / 6, 1 / 3]] * 2, atol=1e-3)
    else:
        np.testing.assert_allclose(found[0], found[1])  # all clips are as near as any
        np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize("probes", [linear_probes, neighbour_probes])
def test_an_encoder_that_says_the_class_is_always_right(probes):
    """Features that are the class itself, in noise a hundred times smaller, leave no fault."""
    train, _ = clusters(60, 5, 3, spread=0.01)
    held, _ = clusters(30, 5, 3, seed=1, spread=0.01)
    later, numbers = clusters(30, 5, 3, seed=2, spread=0.01)
    found = choose(probes(train), held).probe.log_probabilities(later.vectors)
    assert (found.argmax(axis=1) == numbers).all()


class Told:
    """A probe that gives one log probability to everything, and counts how often one is made."""

    made = 0

    def __init__(self, log):
        self.log = log

    def log_probabilities(self, vectors):
        return np.full((len(vectors), 2), self.log)

    def state(self):
        return {}

    @classmethod
    def each(cls, logs):
        cls.made = 0
        for number, log in enumerate(logs):
            cls.made += 1
            yield float(number), cls(log)


def test_the_likeliest_on_validation_is_chosen():
    """The first of the best counts; after two in a row that are no better, the others are not even fitted."""
    held = Labelled(np.zeros((4, 1)), np.eye(2, dtype=bool)[[0, 1, 0, 1]], several=False)
    chosen = choose(Told.each([-3.0, -2.0, -2.5, -1.0, -1.0, -1.5, -0.5]), held)
    assert chosen.setting == 3.0
    assert chosen.tried == {0.0: -3.0, 1.0: -2.0, 2.0: -2.5, 3.0: -1.0, 4.0: -1.0, 5.0: -1.5}
    assert Told.made == 6


def test_likelihoods_by_hand():
    """One of several: the right one's probability, or of either of two; several at once: all of them together."""
    found = np.log([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]])
    one = np.array([[1, 0, 0], [0, 1, 1]], dtype=bool)
    assert log_likelihood(found, Labelled(found, one, several=False)) == pytest.approx(np.log([0.5, 0.9]).mean())
    together = [0.5 * 0.7 * 0.8, 0.9 * 0.6 * 0.3]
    assert log_likelihood(found, Labelled(found, one, several=True)) == pytest.approx(np.log(together).mean())
    certain = np.zeros((1, 1))
    assert np.isfinite(log_likelihood(certain, Labelled(certain, np.array([[False]]), several=True)))


def test_a_linear_probe_is_restored_from_its_state():
    """What is stored gives the same probabilities to the bit; neighbours store nothing."""
    train, _ = clusters(30, 50, 3)
    ((_, probe),) = linear_probes(train, [0.1])
    again = Linear.from_state(probe.state(), several=False)
    assert (again.log_probabilities(train.vectors) == probe.log_probabilities(train.vectors)).all()
    ((_, neighbours),) = neighbour_probes(train, [1])
    assert not neighbours.state()


def test_the_most_regularised_come_first():
    """Strengths rise and numbers of neighbours fall, so that patience stops where more freedom hurts."""
    train, _ = clusters(40, 3, 2)
    assert [setting for setting, _ in linear_probes(train)] == sorted(STRENGTHS)
    assert [setting for setting, _ in neighbour_probes(train)] == sorted(NUMBERS, reverse=True)
