"""pooling: averages over bands and time steps against numbers worked out by hand, and the choice for a budget."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from palprobe.features.pooling import Pooling, choose_pooling
from palprobe.recipe import IntegrationSection


@pytest.mark.parametrize("length", [1, 2, 3, 6, 7])
def test_time_steps_are_averaged(length):
    """Stretches of three, the rest averaged alone: no frame is dropped and none counts twice."""
    frames = torch.randn(length, 5, generator=torch.Generator().manual_seed(0))
    pooling = Pooling(grid=1, time=3)
    expected = [frames.numpy()[start : start + 3].mean(0) for start in range(0, length, 3)]
    pooled = pooling.apply(frames)
    np.testing.assert_allclose(pooled.numpy(), expected, rtol=1e-6, atol=1e-7)
    assert pooling.count(length) == len(pooled)
    assert Pooling(grid=1).apply(frames) is frames


def test_bands_and_time_by_hand():
    """Token t x 4 + f of three steps and four bands: pairs of bands, then pairs of steps, the last step alone."""
    tokens = torch.arange(12.0)[:, None]
    assert Pooling(grid=4, bands=4).apply(tokens).flatten().tolist() == [1.5, 5.5, 9.5]
    assert Pooling(grid=4, bands=2).apply(tokens).flatten().tolist() == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5]
    assert Pooling(grid=4, time=2).apply(tokens).flatten().tolist() == [2, 3, 4, 5, 8, 9, 10, 11]
    both = Pooling(grid=4, bands=2, time=2)
    assert both.apply(tokens).flatten().tolist() == [2.5, 4.5, 8.5, 10.5]
    assert both.count(12) == 4
    assert both.tokens_per_second(6.25) == 6.25


@pytest.mark.parametrize(
    ("settings", "rate", "bands", "expected"),
    [
        ({}, 6.25, 8, Pooling(8)),
        ({"pool": "bands"}, 6.25, 8, Pooling(8, bands=8)),
        ({"pool": "time:4"}, 50.0, 1, Pooling(1, time=4)),
        ({"tokens_per_second": 25}, 50.0, 1, Pooling(1, time=2)),  # whisper, 50 a second
        ({"tokens_per_second": 25}, 6.25, 8, Pooling(8, bands=2)),  # BEATs, 50 a second: bands first
        ({"tokens_per_second": 25}, 25.0, 1, Pooling(1)),
        ({"tokens_per_second": 6.25}, 6.25, 8, Pooling(8, bands=8)),
        ({"tokens_per_second": 3}, 6.25, 8, Pooling(8, bands=8, time=2)),
        ({"tokens_per_second": 30}, 12.5, 1, Pooling(1)),  # has fewer than the budget: nothing is made up
        ({"tokens_per_second": 25}, 9.9, 12, Pooling(12, bands=6)),
    ],
)
def test_pooling_is_chosen(settings, rate, bands, expected):
    """What each setting means for an encoder of that grid, worked out by hand."""
    assert choose_pooling(IntegrationSection(**settings), frame_rate=rate, bands=bands) == expected


@pytest.mark.parametrize("settings", [{"pool": "time:0"}, {"pool": "2"}, {"pool": "bands", "tokens_per_second": 5}])
def test_what_makes_no_sense_is_refused(settings):
    """A pooling that is none, or two rules at once."""
    with pytest.raises(ValidationError):
        IntegrationSection(**settings)


@pytest.mark.parametrize(("grid", "bands", "time"), [(1, 1, 1), (1, 1, 3), (4, 2, 1), (4, 4, 2), (6, 3, 2)])
def test_what_is_spread_is_pooled_to_the_same(grid, bands, time):
    """Values in the place of all that they stand for are their own mean, at the end of a clip too."""
    pooling = Pooling(grid=grid, bands=bands, time=time)
    for steps in (1, 5, 6):
        pooled = torch.randn(pooling.count(steps * grid), 3, generator=torch.Generator().manual_seed(0))
        stored = pooling.spread(pooled, steps * grid)
        assert stored.shape == (steps * grid, 3)
        torch.testing.assert_close(pooling.apply(stored), pooled)
