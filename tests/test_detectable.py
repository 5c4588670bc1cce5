"""What a test set can resolve, against a table worked out by hand and against the test itself."""

import numpy as np
import pytest

from palprobe.errors import ScoringError
from palprobe.stats.detectable import detectable_difference
from palprobe.stats.paired import sign_flip_p


@pytest.mark.parametrize(("groups", "points"), [(400, 6.3), (1000, 4.0), (2000, 2.8), (10_231, 1.2)])
def test_by_hand(groups, points):
    """(1.96 + 0.84) √(0.2 / n), in points."""
    assert 100 * detectable_difference(groups) == pytest.approx(points, abs=0.05)


def test_the_test_finds_it_as_often_as_promised():
    """Of 400 items a fifth disagrees: with the difference that is said to be found in 80 %, it is found so often."""
    apart, rng = detectable_difference(400), np.random.default_rng(0)
    chances = [0.1 + apart / 2, 0.1 - apart / 2, 0.8]
    drawn = rng.multinomial(400, chances, size=1000)
    found = np.mean([sign_flip_p([1] * wins + [-1] * losses) < 0.05 for wins, losses, _ in drawn.tolist()])
    assert found == pytest.approx(0.8, abs=0.05)


def test_a_tiny_set_shows_nothing():
    """One recording: no difference of accuracy can be shown; more disagreement or power asks for more."""
    assert detectable_difference(1) == 1.0
    assert detectable_difference(100, disagreeing=0.4) > detectable_difference(100)
    assert detectable_difference(100, power=0.9) > detectable_difference(100)


@pytest.mark.parametrize("arguments", [{"groups": 0}, {"groups": 9, "disagreeing": 0.0}, {"groups": 9, "power": 1.0}])
def test_what_makes_no_sense_is_an_error(arguments):
    """No groups, no disagreement, certainty: refused with what was found."""
    with pytest.raises(ScoringError, match="1 group or more"):
        detectable_difference(**arguments)
