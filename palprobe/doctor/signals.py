"""Sounds to examine an encoder with: synthesised from a seed, so that a finding can be had again on any machine.

S samples.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

SEGMENT_SECONDS = 0.1  # each has a level, a tone and a share of noise of its own: no two moments are alike
LEVEL_RANGE_DB = 20.0
LOWEST_HZ = 100.0
HIGHEST_SHARE = 0.4  # of the sample rate: below the slope of any anti-aliasing filter
PEAK = 0.5  # -6 dB full scale, as well-levelled recordings have
FAINT = 1e-5  # a third of the last bit of 16-bit audio


def sound(seconds: float, sample_rate: int, *, seed: int = 0) -> Tensor:
    """Bursts of tone and noise from the first sample to the last.

    Args:
        seconds: length.
        sample_rate: Hz.
        seed: of the levels, tones and noise.

    Returns:
        (S,) float32 with at most `PEAK`.
    """
    rng = np.random.default_rng(seed)
    size = round(seconds * sample_rate)
    length = max(round(SEGMENT_SECONDS * sample_rate), 1)
    count = -(-size // length)
    level = 10 ** (-rng.uniform(0, LEVEL_RANGE_DB, count) / 20)
    hertz = rng.uniform(LOWEST_HZ, HIGHEST_SHARE * sample_rate, count)
    share = rng.uniform(0, 1, count)  # of the tone
    segment = np.arange(size) // length
    tone = np.sin(2 * math.pi * hertz[segment] * np.arange(size) / sample_rate)
    noise = rng.uniform(-1, 1, size)
    waveform = PEAK * level[segment] * (share[segment] * tone + (1 - share[segment]) * noise)
    return torch.from_numpy(waveform.astype(np.float32))


def replaced(waveform: Tensor, start: float, end: float, *, sample_rate: int) -> Tensor:
    """The same clip with other sound of the same average level between two moments, in seconds."""
    first, last = round(start * sample_rate), round(end * sample_rate)
    other = sound(len(waveform) / sample_rate, sample_rate, seed=1)[: len(waveform)]
    changed = waveform.clone()
    changed[first:last] = other[first:last]
    return changed


def extremes(seconds: float, sample_rate: int) -> dict[str, Tensor]:
    """Clips at the edges of what recordings hold, by name: (S,) float32 each."""
    size = round(seconds * sample_rate)
    square = torch.ones(size)
    square[torch.arange(size) // max(sample_rate // 200, 1) % 2 == 1] = -1.0  # 100 Hz, clipped at full scale
    click = torch.zeros(size)
    click[size // 2] = 1.0
    faint = FAINT / PEAK * sound(seconds, sample_rate)
    return {"a square wave at full scale": square, "one click in silence": click, "faint sound": faint}
