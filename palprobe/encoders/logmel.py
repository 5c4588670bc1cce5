"""Log-mel energies: the floor that an encoder should beat."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torchaudio.transforms import MelSpectrogram

from palprobe.encoders.stacked import FFT, FLOOR, HOP, SAMPLE_RATE, STACK, WINDOW, StackedFrames

NUM_MELS = 64


class LogMel(StackedFrames):
    """64 HTK mel bands from 0 to 8 kHz, natural logarithm of the power, 25 Hz, D = 256; training standardises them."""

    NAME = "logmel"
    VERSION = 1
    SETTINGS: ClassVar = {"mels": NUM_MELS}
    dim = STACK * NUM_MELS

    def __init__(self, device: str) -> None:
        super().__init__(device)
        front_end = MelSpectrogram(
            SAMPLE_RATE, n_fft=FFT, win_length=WINDOW, hop_length=HOP, n_mels=NUM_MELS, center=False
        )
        self._front_end = front_end.to(self.device)

    def frames(self, padded: Tensor) -> Tensor:
        power: Tensor = self._front_end(padded)  # (C, 4 T)
        return (power + FLOOR).log().T
