"""Spectral frames of 10 ms, several to a token: what the encoders without weights share.

S samples, C numbers in a 10 ms frame, T tokens: `bands` for every `stack` frames, D = stack · C / bands.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from palprobe.encoders.options import check_options
from palprobe.recipe import EncoderSection
from palprobe.specs import EncoderSpec
from palprobe.types import Kind

SAMPLE_RATE = 16_000  # Hz
HOP = SAMPLE_RATE // 100  # 10 ms
WINDOW = SAMPLE_RATE // 40  # 25 ms
FFT = 512  # the power of two above the window
MARGIN = (FFT - HOP) // 2  # on each side, so that frame i is centred on its own 10 ms
FLOOR = 1e-6  # added to a power before the logarithm, about 100 dB below a full-scale tone


class StackedFrames(ABC):
    """A front end applied to 10 ms frames; a subclass gives its name, its settings and the frames."""

    NAME: ClassVar[str]
    VERSION: ClassVar[int]
    SETTINGS: ClassVar[dict[str, Any]]
    stack = 4  # frames to a time step
    sample_rate = SAMPLE_RATE
    frame_rate = SAMPLE_RATE / (4 * HOP)
    dim: int
    bands = 1
    kind: Kind = "general"
    min_samples = 4 * HOP
    max_seconds: float | None = None
    depth = 0

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    @classmethod
    def identify(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, Any]:  # noqa: ARG003 - no options
        check_options(spec)
        frames = {"window": WINDOW, "hop": HOP, "fft": FFT, "stack": cls.stack, "floor": FLOOR, "backend": "torchaudio"}
        return {"name": cls.NAME, "version": cls.VERSION, "sample_rate": SAMPLE_RATE, **frames, **cls.SETTINGS}

    @classmethod
    def kind_of(cls, spec: EncoderSpec, section: EncoderSection) -> Kind:  # noqa: ARG003 - of all alike
        return cls.kind

    @classmethod
    def depth_of(cls, spec: EncoderSpec, section: EncoderSection) -> int:  # noqa: ARG003 - no layers
        return cls.depth

    @classmethod
    def origin(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, str]:  # noqa: ARG003 - nothing to load
        return {"weights": "none"}

    @classmethod
    def load(cls, spec: EncoderSpec, section: EncoderSection, *, device: str) -> Self:
        cls.identify(spec, section)
        return cls(device)

    def num_tokens(self, num_samples: int) -> int:
        return -(-num_samples // (self.stack * HOP)) * self.bands

    def encode(self, waveforms: Sequence[Tensor], layers: Sequence[int]) -> list[Tensor]:  # noqa: ARG002 - one layer
        return [self._encode_one(waveform)[None] for waveform in waveforms]

    def _encode_one(self, waveform: Tensor) -> Tensor:
        steps = self.num_tokens(len(waveform)) // self.bands
        silence = steps * self.stack * HOP - len(waveform)  # completes the last step, so that no tail is lost
        padded = F.pad(waveform.to(self.device), (MARGIN, MARGIN + silence))
        frames = self.frames(padded).reshape(steps, self.stack, self.bands, -1)  # (steps, stack, bands, C / bands)
        # The instants of a number side by side, so that neighbouring dimensions are neighbouring frequencies.
        return frames.permute(0, 2, 3, 1).reshape(-1, self.dim)  # (T, D)

    @abstractmethod
    def frames(self, padded: Tensor) -> Tensor:
        """Frames of a waveform with `MARGIN` samples of silence on both sides: (steps · stack, C)."""
