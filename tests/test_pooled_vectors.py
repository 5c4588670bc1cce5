"""A clip's vector is what plain loops over its frames give, and each clip is read once."""

import numpy as np
import pytest
import torch

from palprobe.controls.pooled_vectors import PooledVectors, pooled


def test_mean_and_deviation_by_plain_loops():
    """Of 3 time steps with 2 bands of 2 numbers: each band's numbers apart, first all means, then all deviations."""
    steps = [[[1.0, 10.0], [3.0, 0.0]], [[2.0, 20.0], [3.0, 0.0]], [[6.0, 30.0], [3.0, 6.0]]]
    features = torch.tensor([band for step in steps for band in step], dtype=torch.float16)
    columns = [[step[band][number] for step in steps] for band in range(2) for number in range(2)]
    means = [sum(column) / 3 for column in columns]
    deviations = [
        (sum((value - mean) ** 2 for value in column) / 3) ** 0.5 for column, mean in zip(columns, means, strict=True)
    ]
    np.testing.assert_allclose(pooled(features, bands=2), [*means, *deviations], rtol=1e-6)


def test_one_time_step_has_no_deviation():
    """A clip of one token is itself, and zeros."""
    np.testing.assert_array_equal(pooled(torch.tensor([[1.0, -2.0]]), bands=1), [1, -2, 0, 0])


class Source:
    """Features that count how often a clip is read."""

    def __init__(self, bands, dim):
        self.bands, self.dim = bands, dim
        self.read = []

    def get_many(self, keys):
        self.read += keys
        return [torch.full((2 * self.bands, self.dim), float(key)) for key in keys]


def test_each_clip_is_read_once():
    """Of two encoders, side by side; folds and probes that ask again read nothing, another encoder or task all anew."""
    one, two, vectors = Source(1, 2), Source(3, 1), PooledVectors()
    found = vectors.of([one, two], ["4", "7", "4"], whose="both")
    assert found.shape == (3, 2 * 2 + 2 * 3)
    np.testing.assert_array_equal(found[:, 0], [4, 7, 4])
    vectors.of([one, two], ["7", "9"], whose="both")
    assert one.read == two.read == ["4", "7", "9"]
    vectors.of([one], ["4"], whose="one")
    assert one.read == ["4", "7", "9", "4"]


def test_many_clips_are_read_in_pieces():
    """A thousand clips arrive in their order, whatever the pieces."""
    keys = [str(number) for number in range(1000)]
    found = PooledVectors().of([Source(1, 1)], keys, whose="")
    assert found[:, 0] == pytest.approx(np.arange(1000))
