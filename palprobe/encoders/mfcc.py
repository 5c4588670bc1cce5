"""MFCC with deltas: the classical floor."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torchaudio import transforms
from torchaudio.functional import compute_deltas

from palprobe.encoders.stacked import FFT, HOP, SAMPLE_RATE, WINDOW, StackedFrames

NUM_MELS = 64
NUM_COEFFICIENTS = 20
DELTA_FRAMES = 5  # width of the regression that makes a delta


class MFCC(StackedFrames):
    """20 coefficients (orthonormal DCT of log-mel energies) with first and second deltas, 25 Hz, D = 240."""

    NAME = "mfcc"
    VERSION = 1
    SETTINGS: ClassVar = {"mels": NUM_MELS, "coefficients": NUM_COEFFICIENTS, "delta_frames": DELTA_FRAMES}
    dim = StackedFrames.stack * 3 * NUM_COEFFICIENTS

    def __init__(self, device: str) -> None:
        super().__init__(device)
        mels = {"n_fft": FFT, "win_length": WINDOW, "hop_length": HOP, "n_mels": NUM_MELS, "center": False}
        front_end = transforms.MFCC(
            SAMPLE_RATE, n_mfcc=NUM_COEFFICIENTS, log_mels=True, melkwargs=mels
        )  # adds FLOOR too
        self._front_end = front_end.to(self.device)

    def frames(self, padded: Tensor) -> Tensor:
        static = self._front_end(padded)  # (20, frames)
        delta = compute_deltas(static, win_length=DELTA_FRAMES)
        return torch.cat([static, delta, compute_deltas(delta, win_length=DELTA_FRAMES)]).T
