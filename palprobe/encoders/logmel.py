"""Log-mel energies and their changes, as frames or as patches: the floor that an encoder should beat."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torchaudio.transforms import MelSpectrogram

from palprobe.encoders.stacked import FFT, FLOOR, HOP, SAMPLE_RATE, WINDOW, StackedFrames

NUM_MELS = 64
PATCH = 16  # frames and bands of a patch


class LogMel(StackedFrames):
    """64 HTK mel bands from 0 to 8 kHz, natural logarithm of the power, beside its change since the token before.

    25 Hz, D = 512; training standardises them. LAL's audio tokens never see each other, so what an encoder does not say
    of a token's past is lost there: trained encoders say it, and so do MFCC's deltas.
    """

    NAME = "logmel"
    VERSION = 2
    SETTINGS: ClassVar = {"mels": NUM_MELS, "changes": True}
    dim = StackedFrames.stack * 2 * NUM_MELS

    def __init__(self, device: str) -> None:
        super().__init__(device)
        front_end = MelSpectrogram(
            SAMPLE_RATE, n_fft=FFT, win_length=WINDOW, hop_length=HOP, n_mels=NUM_MELS, center=False
        )
        self._front_end = front_end.to(self.device)

    def frames(self, padded: Tensor) -> Tensor:
        power: Tensor = self._front_end(padded)  # (64, steps · stack)
        energies = (power + FLOOR).log().T
        before = torch.cat([energies[: self.stack], energies[: -self.stack]])  # the same instant one token earlier
        # A band's change next to the band, so that a stretch of dimensions hidden in training hides both.
        return torch.stack([energies, energies - before], dim=2).flatten(1)


class LogMelPatches(LogMel):
    """The same energies and changes cut into patches of 16 frames and 16 bands: 6.25 Hz, 4 bands, D = 512.

    As many tokens per second as `logmel`, and as many numbers in each; what differs is what a token is: a stretch of
    time of one part of the spectrum, as in BEATs, EAT and AST, instead of an instant of all of it.
    """

    NAME = "logmel-patches"
    VERSION = 1
    stack = PATCH
    frame_rate = SAMPLE_RATE / (PATCH * HOP)
    bands = NUM_MELS // PATCH
    min_samples = PATCH * HOP
    SETTINGS: ClassVar = LogMel.SETTINGS | {"bands": NUM_MELS // PATCH}
    dim = PATCH * 2 * PATCH
