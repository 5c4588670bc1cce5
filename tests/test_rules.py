"""Rules over stored scores, each against plain arithmetic on numbers that fit a page."""

import math

import pytest

from palprobe.errors import ScoringError
from palprobe.scoring.rules import RULES, by_rule, ranked_by
from palprobe.types import Prediction


def item(name, scores, reference="a", *, null=None, part=None, references=()):
    """A prediction whose answer no rule has decided yet."""
    return Prediction(name, f"g{name}", part, reference, "?", scores, False, True, references, null_scores=null or {})


def test_the_sum_ranks_by_what_is_stored():
    """The highest sum wins, of equal ones the first, and nothing is computed."""
    items = [item("1", {"b": -1.0, "a": -3.0}), item("2", {"b": -2.0, "a": -2.0}), item("3", {"b": -9.0, "a": -2.5})]
    assert ranked_by(items, "sum") == [one.scores for one in items]
    found = by_rule(items, "sum")
    assert [(one.prediction, one.correct) for one in found] == [("b", False), ("b", False), ("a", True)]


def test_per_byte_divides_by_utf8_bytes():
    """Four letters at -4 beat one at -2; an é is two bytes."""
    found = ranked_by([item("1", {"a": -2.0, "abcd": -4.0, "é": -3.0})], "per-byte")
    assert found == [{"a": -2.0, "abcd": -1.0, "é": -1.5}]
    assert by_rule([item("1", {"a": -2.0, "abcd": -4.0})], "per-byte")[0].prediction == "abcd"


def test_audio_pmi_subtracts_what_is_said_without_audio():
    """b is unlikely, and less so than without audio; the raw sums and the null scores stay."""
    one = item("1", {"a": -1.0, "b": -3.0}, "b", null={"a": -0.5, "b": -4.0})
    assert ranked_by([one], "audio-pmi") == [{"a": -0.5, "b": 1.0}]
    (found,) = by_rule([one], "audio-pmi")
    assert (found.prediction, found.correct, found.scores, found.null_scores) == (
        "b",
        True,
        one.scores,
        one.null_scores,
    )
    assert by_rule([one], "sum")[0].null_scores == {}  # kept only where the rule reads them


def test_audio_pmi_without_null_scores_is_refused():
    """The item is named, with the command that asks the model."""
    with pytest.raises(ScoringError, match=r"'1' has no scores under null audio.*scoring\.rule=audio-pmi"):
        by_rule([item("1", {"a": -1.0})], "audio-pmi")


def test_batch_calibration_is_a_plain_loop():
    """Probabilities among the choices over their mean, in logarithms; what all choices of an item share cancels."""
    shares = [(0.8, 0.2), (0.6, 0.4), (0.9, 0.1), (0.5, 0.5)]
    items = [
        item(str(number), {"a": math.log(a) - 7 * number, "b": math.log(b) - 7 * number})
        for number, (a, b) in enumerate(shares)
    ]
    mean = [(0.8 + 0.6 + 0.9 + 0.5) / 4, (0.2 + 0.4 + 0.1 + 0.5) / 4]
    for found, (a, b) in zip(ranked_by(items, "batch-calibrated"), shares, strict=True):
        assert found == pytest.approx({"a": math.log(a / mean[0]), "b": math.log(b / mean[1])}, abs=1e-12)
    answers = [one.prediction for one in by_rule(items, "batch-calibrated")]
    assert answers == ["a", "b", "a", "b"]  # 0.6 of a is less than usual


def test_batches_are_items_with_the_same_choices_and_part():
    """The order of choices does not matter; another part or set is another batch, and results keep their places."""
    low, high = {"a": math.log(0.9), "b": math.log(0.1)}, {"b": math.log(0.6), "a": math.log(0.4)}
    other = {"x": math.log(0.5), "y": math.log(0.5)}
    items = [item("1", low, part="p"), item("2", other), item("3", high, part="p"), item("4", other)]
    items += [item("5", low, part="q"), item("6", low, part="q")]
    found = ranked_by(items, "batch-calibrated")
    assert found[0]["a"] == pytest.approx(math.log(0.9 / 0.65)) and found[2]["b"] == pytest.approx(math.log(0.6 / 0.35))
    assert found[1] == pytest.approx({"x": 0.0, "y": 0.0}) and found[4] == pytest.approx({"a": 0.0, "b": 0.0})


def test_very_unlikely_choices_calibrate_without_underflow():
    """Sums of -2000 are no zero probability."""
    items = [item("1", {"a": -2000.0, "b": -3000.0}), item("2", {"a": -2500.0, "b": -2400.0})]
    found = ranked_by(items, "batch-calibrated")
    assert found[0]["a"] == pytest.approx(math.log(2)) and found[1]["b"] == pytest.approx(math.log(2))
    assert all(math.isfinite(value) for scores in found for value in scores.values())


def test_a_lonely_item_cannot_be_calibrated():
    """Its own mean would take everything off; the item and another rule are named."""
    with pytest.raises(ScoringError, match=r"no other item has those of '3'.*scoring\.rule="):
        by_rule([item("1", {"a": -1.0}), item("2", {"a": -2.0}), item("3", {"z": -1.0})], "batch-calibrated")


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_keeps_raw_sums_and_judges_by_all_references(rule):
    """What is stored is the same under every rule, and an answer is right if any reference is it."""
    items = [
        item(str(number), {"a": -9.0 - number, "b": -1.0}, references=("a", "b"), null={"a": -1.0, "b": -1.0})
        for number in range(3)
    ]
    found = by_rule(items, rule)
    assert [one.scores for one in found] == [one.scores for one in items]
    assert all(one.correct for one in found)
