"""Bits, by hand and by scikit-learn: what an answer costs, and what audio and examples are worth."""

import math
from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import auc, log_loss

from palprobe.errors import ScoringError
from palprobe.stats.information import (
    OnlineCode,
    Point,
    answer_bits,
    area_under,
    code_length,
    examples_needed,
    guess_bits,
    v_information,
)
from palprobe.types import Prediction

SHARES = (0.0625, 0.125, 0.25, 0.5, 1.0)


def said(name, reference, probabilities, *, group=None, text=None, references=()) -> Prediction:
    """A prediction whose scores are natural logs of these, perhaps not normalised."""
    scores = {answer: math.log(value) for answer, value in probabilities.items()}
    answer = max(scores, key=scores.__getitem__)
    return Prediction(
        str(name), group or str(name), None, reference, answer, scores, answer == reference, True, references, text
    )


def test_bits_are_of_probabilities_among_the_choices():
    """By hand: 1/4 against 1/4 of the raw mass is one bit, whatever the rest of the vocabulary took."""
    assert answer_bits(said(1, "a", {"a": 0.25, "b": 0.25})) == pytest.approx(1)
    assert answer_bits(said(1, "a", {"a": 1e-30, "b": 3e-30})) == pytest.approx(2)
    assert answer_bits(said(1, "a", {"a": 0.2})) == 0


def test_several_right_answers_count_together_or_on_average():
    """By hand: two of four equal choices are one bit; references of an open question of 2 and 4 bits cost 3."""
    four = dict.fromkeys("abcd", 0.1)
    assert answer_bits(said(1, "a", four, references=("a", "b"))) == pytest.approx(1) == guess_bits(4, 2)
    open_one = said(1, "a", {"a": 1 / 4, "b": 1 / 16}, text="a", references=("a", "b"))
    assert answer_bits(open_one) == pytest.approx(3)


def test_an_answer_without_likelihood_has_no_bits():
    """Text that was generated for a closed question has no scores: refused by name, no zero."""
    with pytest.raises(ScoringError, match="'7' lacks 'a'"):
        answer_bits(said(7, "a", {"b": 0.5}, text="b"))


def test_mean_bits_are_scikit_learns_log_loss():
    """The mean over items, over ln 2, is sklearn.metrics.log_loss of the normalised rows."""
    rng = np.random.default_rng(0)
    raw, labels = rng.random((50, 4)) * 0.1, rng.integers(4, size=50)
    items = [said(i, str(labels[i]), dict(zip("0123", row, strict=True))) for i, row in enumerate(raw)]
    expected = log_loss(labels, raw / raw.sum(axis=1, keepdims=True), labels=range(4)) / math.log(2)
    assert np.mean([answer_bits(item) for item in items]) == pytest.approx(expected)


def test_v_information_is_what_audio_takes_off():
    """By hand: blind 2 and 1 bits, with audio 0 and 2 bits: (2 - 1) / 2 = 0.5 bits over the two items."""
    blind = {"1": said(1, "a", dict.fromkeys("abcd", 0.25)), "2": said(2, "a", {"a": 0.5, "b": 0.5})}
    heard = {"1": said(1, "a", {"a": 1.0}), "2": said(2, "a", {"a": 0.25, "b": 0.75})}
    interval, n = v_information([(heard, blind)])
    assert (interval.value, n) == (pytest.approx(0.5), 2)
    assert interval.low == pytest.approx(-1)
    assert interval.high == pytest.approx(2)


def test_v_information_averages_seeds_and_draws_groups():
    """Two seeds of 1 and 3 bits are 2 bits; an item that one run lacks is left out; one group has no interval."""
    blind = {name: said(name, "a", {"a": 1 / 8, "b": 7 / 8}, group="one") for name in "123"}
    first = {name: said(name, "a", {"a": 1 / 4, "b": 3 / 4}, group="one") for name in "12"}
    second = {name: said(name, "a", {"a": 1.0}, group="one") for name in "123"}
    interval, n = v_information([(first, blind), (second, blind)])
    assert (interval.value, n, interval.method) == (pytest.approx(2), 2, "none")
    assert math.isnan(interval.low)
    with pytest.raises(ScoringError, match="there are none"):
        v_information([({}, blind)])


def test_a_model_that_hears_nothing_has_no_v_information():
    """A logistic regression on noise, less the class frequencies, has an interval that holds 0 or lies below it."""
    rng = np.random.default_rng(1)
    noise, labels = rng.normal(size=(400, 3)), rng.integers(2, size=400)
    model = LogisticRegression().fit(noise[:200], labels[:200])
    share = float(labels[:200].mean())
    heard, blind = {}, {}
    for i, row in enumerate(model.predict_proba(noise[200:])):
        answer = str(labels[200 + i])
        heard[str(i)] = said(i, answer, dict(zip("01", row, strict=True)))
        blind[str(i)] = said(i, answer, {"0": 1 - share, "1": share})
    interval, _ = v_information([(heard, blind)])
    assert interval.low < 0.01
    assert abs(interval.value) < 0.05


def coded(features, labels, classes, *, strength: float = 0.1) -> OnlineCode:
    """The online code of a logistic regression over the blocks of SHARES, written out plainly."""
    ends = [round(share * len(labels)) for share in SHARES]
    blocks = []
    for begin, end in pairwise(ends):
        model = LogisticRegression(C=strength, max_iter=5000).fit(features[:begin], labels[:begin])
        known = [str(name) for name in model.classes_]
        told = []
        for number in range(begin, end):
            row = dict.fromkeys(map(str, range(classes)), 1e-9)
            row |= dict(zip(known, model.predict_proba(features[number : number + 1])[0] + 1e-12, strict=True))
            told.append(said(number, str(labels[number]), row))
        blocks.append(tuple(told))
    return OnlineCode(ends[0], ends[0] * math.log2(classes), tuple(blocks))


def slow_bits(code: OnlineCode) -> float:
    """The same code length, item by item with plain floats: -log2 of the mean over temperatures of a block's chance."""
    total = code.first_bits
    for block in code.later:
        chances = []
        for temperature in (1, math.sqrt(2), 2, 2 * math.sqrt(2), 4, 8, 16, float("inf")):
            chance = 1.0
            for item in block:
                powers = {answer: math.exp(score / temperature) for answer, score in item.scores.items()}
                chance *= powers[item.reference] / sum(powers.values())
            chances.append(chance)
        total -= math.log2(sum(chances) / 8)
    return total


@pytest.mark.parametrize("strength", [0.1, 1e6])
def test_random_labels_cost_what_guessing_costs(strength):
    """Labels that have nothing to do with the features cost about n log2 K, however well a model fits those it saw.

    The strong fit is sure of itself and wrong: at its own word its codes would cost several times as much.
    """
    rng = np.random.default_rng(0)
    code = coded(rng.normal(size=(640, 20)), rng.integers(4, size=640), 4, strength=strength)
    found = code_length([code])
    assert found.items == 640
    assert found.bits.value == pytest.approx(640 * 2, rel=0.03)
    assert found.compression.value == pytest.approx(640 * 2 / found.bits.value)
    own_word = sum(answer_bits(item) for block in code.later for item in block)
    assert (own_word > 2 * 1200) == (strength > 1)


def test_a_block_never_costs_more_than_guessing_and_three_bits():
    """A model that is always sure and always wrong: each of four blocks costs its guess and at most log2 8 bits."""
    wrong = tuple(said(number, "a", {"a": 1e-30, "b": 1.0, "c": 1e-30, "d": 1e-30}) for number in range(100))
    found = code_length([OnlineCode(10, 20.0, (wrong[:10], wrong[10:20], wrong[20:40], wrong[40:]))])
    assert 220 < found.bits.value <= 220 + 4 * 3


def test_what_is_perfectly_told_costs_little():
    """Features that name the label: the first block costs a guess, the rest almost nothing."""
    labels = np.random.default_rng(0).integers(4, size=640)
    found = code_length([coded(50 * np.eye(4)[labels], labels, 4)])
    first = 40 * 2  # 1/16 of 640 labels of two bits each
    assert first < found.bits.value < first + 40
    assert found.compression.value > 10
    assert found.compression.low <= found.compression.value <= found.compression.high


def test_code_lengths_are_those_of_a_slow_implementation():
    """Three codes of random predictions: their mean is that of a loop over items and temperatures."""
    rng = np.random.default_rng(5)
    codes = []
    for _ in range(3):
        rows = [dict(zip("abcd", row, strict=True)) for row in rng.dirichlet(np.full(4, 0.3), size=14) + 1e-6]
        items = [said(number, rng.choice(list("abcd")), row) for number, row in enumerate(rows)]
        codes.append(OnlineCode(2, 4.0, (tuple(items[:4]), tuple(items[4:]))))
    found = code_length(codes)
    assert found.bits.value == pytest.approx(np.mean([slow_bits(code) for code in codes]))
    assert found.compression.value == pytest.approx(32 / found.bits.value)
    assert found.items == 16
    assert found.bits.low < found.bits.value < found.bits.high


def test_a_code_length_by_hand():
    """Two items of one block that cost two bits each at any temperature, after a first block of four: 4 + 2 x 2 = 8."""
    even = tuple(said(name, "a", dict.fromkeys("abcd", 0.1)) for name in "xy")
    found = code_length([OnlineCode(2, 4.0, (even,))])
    assert (found.bits.value, found.compression.value, found.items) == (pytest.approx(8), pytest.approx(1), 4)
    sure = tuple(said(name, "a", {"a": 1.0} | dict.fromkeys("bcd", 1e-300)) for name in "xy")
    expected = 4 - math.log2((7 + 1 / 16) / 8)  # seven temperatures are sure, and guessing has 1/4 for each of both
    assert code_length([OnlineCode(2, 4.0, (sure,))]).bits.value == pytest.approx(expected)


def test_a_code_without_later_blocks_is_none():
    """Nothing coded is an error, not a compression of 1."""
    with pytest.raises(ScoringError, match="after its first block"):
        code_length([OnlineCode(2, 4.0, ())])


def test_one_class_tells_nothing():
    """Where there is one answer to all, it costs nothing to guess it: said, and no ratio of nothing to nothing."""
    only = said(1, "a", {"a": 0.5})
    assert answer_bits(only) == 0
    with pytest.raises(ScoringError, match="one choice"):
        code_length([OnlineCode(1, 0.0, ((only,),))])


def test_one_group_has_no_interval():
    """All items of one speaker: the value stands without ends."""
    found = code_length([OnlineCode(1, 1.0, ((said(1, "a", {"a": 0.5, "b": 0.5}, group="s"),) * 2,))])
    assert (found.bits.value, found.bits.method, found.compression.value) == (pytest.approx(3), "none", 1)


def test_area_is_the_mean_height_over_log_sizes():
    """scikit-learn's trapezoids over log2 n, over their width; the order of the points does not matter."""
    points = [Point(64, 0.8), Point(8, 0.1), Point(32, 0.7), Point(16, 0.3)]
    assert area_under(points) == pytest.approx(auc([3, 4, 5, 6], [0.1, 0.3, 0.7, 0.8]) / 3)
    assert area_under([Point(1, 0.4), Point(100, 0.4)]) == pytest.approx(0.4)


def test_examples_needed_by_hand():
    """From chance 0.1 to 0.8, 90 % is 0.73: three tenths of the way from 32 to 64 in log2."""
    points = [Point(8, 0.1), Point(16, 0.3), Point(32, 0.7), Point(64, 0.8)]
    assert examples_needed(points, floor=0.1) == pytest.approx(2**5.3)
    assert examples_needed([Point(8, 0.79), Point(64, 0.8)], floor=0.1) == 8  # at once
    assert examples_needed([Point(8, 0.2), Point(64, 0.1)], floor=0.1) is None  # nothing is learnt
    assert examples_needed([Point(8, 0.0), Point(64, 0.0)]) is None


@pytest.mark.parametrize("points", [[], [Point(8, 0.1)], [Point(8, 0.1), Point(8, 0.2)]])
def test_a_curve_needs_two_sizes(points):
    """One size, or one size twice, is no curve."""
    with pytest.raises(ScoringError, match="two or more sizes"):
        area_under(points)


def test_equal_items_have_no_interval():
    """Where every item tells as much, a bootstrap would have no width: the value stands without ends."""
    blind = {name: said(name, "a", {"a": 0.25, "b": 0.75}) for name in "123"}
    heard = {name: said(name, "a", {"a": 0.5, "b": 0.5}) for name in "123"}
    interval, _ = v_information([(heard, blind)])
    assert (interval.value, interval.method) == (pytest.approx(1), "none")
    found = code_length([OnlineCode(1, 1.0, (tuple(heard.values()),))])
    assert (found.bits.value, found.bits.method) == (pytest.approx(4), "none")
