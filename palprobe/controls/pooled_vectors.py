"""Cached features → one vector per clip: mean and deviation over time of everything that the encoder gives.

The numbers of a time step stand side by side: the bands of a patch encoder, the layers of `@weighted`, and the encoders
of `A+B`. Averaging bands too would lose which is which: on ten classes of sounds (esc10), a linear probe of
`logmel-patches` then has 0.68 instead of 0.80. M2D (arXiv 2210.14648) sets bands side by side for the same reason.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from palprobe.features.source import Source

CHUNK = 256  # clips that are read at once

Vector = npt.NDArray[np.float32]


def pooled(features: Tensor, bands: int) -> Vector:
    """(T, D) features of a clip, `bands` rows for each time step → (2 · bands · D,): means, then deviations."""
    steps = features.double().reshape(len(features) // bands, -1)  # (time steps, bands · D)
    both: Vector = torch.cat([steps.mean(0), steps.std(0, correction=0)]).float().numpy()
    return both


class PooledVectors:
    """The vectors of one encoder's clips, each read once, however many folds and probes ask for it.

    Those of an encoder and task are forgotten when the next is asked for: a grid goes through them in order.
    """

    def __init__(self) -> None:
        self._whose: object = None
        self._known: dict[str, Vector] = {}

    def of(self, sources: Sequence[Source], keys: Sequence[str], *, whose: object) -> npt.NDArray[np.float64]:
        """(E, D) vectors of the clips of those keys, one row for each.

        Args:
            sources: of the features, one for each encoder.
            keys: perhaps one several times.
            whose: what the features are of; equal for the same.
        """
        if whose != self._whose:
            self._whose, self._known = whose, {}
        new = [key for key in dict.fromkeys(keys) if key not in self._known]
        for start in range(0, len(new), CHUNK):
            chunk = new[start : start + CHUNK]
            read = [source.get_many(chunk) for source in sources]
            for key, clip in zip(chunk, zip(*read, strict=True), strict=True):
                parts = [pooled(found, source.bands) for found, source in zip(clip, sources, strict=True)]
                self._known[key] = np.concatenate(parts)
        return np.array([self._known[key] for key in keys], dtype=np.float64)
