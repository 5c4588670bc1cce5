"""Spectral frames of 10 ms, four to a token: what the encoders without weights share.

S samples, C numbers in a 10 ms frame, T tokens, D = 4 C.
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
STACK = 4  # frames to a token
TOKEN = STACK * HOP  # samples
MARGIN = (FFT - HOP) // 2  # on each side, so that frame i is centred on its own 10 ms
FLOOR = 1e-6  # added to a power before the logarithm, about 100 dB below a full-scale tone


class StackedFrames(ABC):
    """A front end applied to 10 ms frames; a subclass gives its name, its settings and the frames."""

    NAME: ClassVar[str]
    VERSION: ClassVar[int]
    SETTINGS: ClassVar[dict[str, Any]]
    sample_rate = SAMPLE_RATE
    frame_rate = SAMPLE_RATE / TOKEN
    dim: int
    bands = 1
    kind: Kind = "general"
    min_samples = TOKEN
    max_seconds: float | None = None
    depth = 0

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    @classmethod
    def identify(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, Any]:  # noqa: ARG003 - no options
        check_options(spec)
        frames = {"window": WINDOW, "hop": HOP, "fft": FFT, "stack": STACK, "floor": FLOOR, "backend": "torchaudio"}
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
        return -(-num_samples // TOKEN)

    def encode(self, waveforms: Sequence[Tensor], layers: Sequence[int]) -> list[Tensor]:  # noqa: ARG002 - one layer
        return [self._encode_one(waveform)[None] for waveform in waveforms]

    def _encode_one(self, waveform: Tensor) -> Tensor:
        num_tokens = self.num_tokens(len(waveform))
        silence = num_tokens * TOKEN - len(waveform)  # completes the last token, so that no tail is lost
        padded = F.pad(waveform.to(self.device), (MARGIN, MARGIN + silence))
        frames = self.frames(padded).reshape(num_tokens, STACK, -1)  # (T, 4, C)
        # The four instants of a number side by side, so that neighbouring dimensions are neighbouring frequencies.
        return frames.transpose(1, 2).reshape(num_tokens, self.dim)  # (T, D)

    @abstractmethod
    def frames(self, padded: Tensor) -> Tensor:
        """Frames of a waveform with `MARGIN` samples of silence on both sides: (4 T, C)."""
