"""Other people's encoder classes behind their own interfaces: what xares, hear and s3prl share.

S samples, T frames, D encoder size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from palprobe.encoders.custom_code import Made, Maker, code_identity, freeze, make, modules_of, read_number
from palprobe.encoders.custom_import import source_file, user_code
from palprobe.encoders.foreign.frames import PROBE_SECONDS, constant_rate, coverage, fits, noise, shortest
from palprobe.encoders.options import check_options
from palprobe.errors import EncoderError
from palprobe.files import sha256_of
from palprobe.recipe import EncoderSection
from palprobe.specs import EncoderSpec
from palprobe.types import Kind


class ForeignEncoder(ABC):
    """An encoder that was written for another tool, unmodified; a subclass speaks that tool's interface.

    It runs in eval mode without gradients, one clip at a time. Before the first clip it is tried on noise: its frames
    must come at a constant rate, more for a longer clip, and every part of a clip must change some of them. What is
    odd but can be used is said in `notes`.
    """

    NAME: ClassVar[str]
    VERSION: ClassVar[int]
    sample_rate: int
    frame_rate: float
    dim: int
    bands = 1
    kind: Kind = "general"
    min_samples: int
    max_seconds: float | None = None
    depth = 0

    def __init__(self, made: Made, *, device: str) -> None:
        self.name = f"{made.where}: {type(made.instance).__name__}"
        self.notes: list[str] = []  # for people, worth a warning
        self.made = made
        self.instance = made.instance
        self.device = torch.device(device)
        self._seen: dict[int, int] = {}  # samples -> frames
        self._rate: float | None = None  # Hz, once it is known
        freeze(self.instance, self.device)
        with user_code(made.path, f"{self.name} cannot be asked what it is"):  # attributes may be properties
            self.read_attributes()

    @classmethod
    def identify(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, Any]:
        made = cls._make(spec, section)
        code = code_identity(made, spec)  # before anything runs that could change a buffer
        encoder = cls(made, device="cpu")
        return {
            "name": cls.NAME,
            "version": cls.VERSION,
            "class": made.name,
            **code,
            "arguments": cls.arguments_identity(spec),
            "sample_rate": encoder.sample_rate,
        }

    @classmethod
    def kind_of(cls, spec: EncoderSpec, section: EncoderSection) -> Kind:  # noqa: ARG003 - of all alike
        return cls.kind

    @classmethod
    def depth_of(cls, spec: EncoderSpec, section: EncoderSection) -> int:  # noqa: ARG003 - no layers
        return cls.depth

    @classmethod
    def origin(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, str]:  # noqa: ARG003 - nothing to choose
        given = f" from {spec.arguments}" if spec.arguments else ""
        return {"weights": f"made by {source_file(spec)}{given}"}

    @classmethod
    def load(cls, spec: EncoderSpec, section: EncoderSection, *, device: str) -> Self:
        encoder = cls(cls._make(spec, section), device=device)
        encoder._measure()
        return encoder

    @classmethod
    def _make(cls, spec: EncoderSpec, section: EncoderSection) -> Made:
        check_options(spec, variants=(spec.variant or "",), folder=True, weights=True)
        return make(spec, section, lambda module: cls.choose(module, spec))

    @classmethod
    def arguments_identity(cls, spec: EncoderSpec) -> Any:
        """The bytes of the file that the spec has after its "=", or what stands there."""
        path = Path(spec.arguments or "").expanduser()
        return {"sha256": sha256_of(path)} if path.is_file() else spec.arguments

    @classmethod
    @abstractmethod
    def choose(cls, module: ModuleType, spec: EncoderSpec) -> Maker:
        """The class or function of the module that makes the encoder; UsageError if there is none."""

    @abstractmethod
    def read_attributes(self) -> None:
        """Sets `sample_rate`, `dim` and, where there are layers, `depth`; raises EncoderError if that cannot be."""

    @abstractmethod
    def frames(self, waveform: Tensor, layers: Sequence[int]) -> Tensor:
        """(S,) on the device → the valid frames of each layer, (layers, T, D); raises EncoderError for other shapes."""

    @abstractmethod
    def declared_rate(self) -> float | None:
        """Frames per second as the interface declares them; None if it does not. Asked after the first clips."""

    def num_tokens(self, num_samples: int) -> int:
        """What the encoder gave for that length; before the first time, what its rate leads one to expect."""
        return self._seen.get(num_samples, max(round(num_samples / self.sample_rate * self.frame_rate), 1))

    def encode(self, waveforms: Sequence[Tensor], layers: Sequence[int]) -> list[Tensor]:
        return [self._encode_one(waveform, layers) for waveform in waveforms]

    def call(self, what: Any, *arguments: Any, num_samples: int) -> Any:
        """Runs their code on a clip of that many samples."""
        with user_code(self.made.path, f"{type(self.instance).__name__} failed on a waveform of {num_samples} samples"):
            return what(*arguments)

    def number(self, name: str, *, whole: bool = False) -> Any:
        """A positive attribute of their object."""
        return read_number(self.instance, name, whole=whole, where=self.name)

    def checked(self, output: Any) -> Tensor:
        """(T, D) from what should be a floating (1, T, D) tensor."""
        shape = tuple(output.shape) if isinstance(output, Tensor) and output.is_floating_point() else ()
        if len(shape) != 3 or shape[0] != 1 or not shape[1] or shape[2] != self.dim:
            raise EncoderError(
                f"{self.name} gave {described(output)} for one waveform; expected floats of shape (1, T, {self.dim})."
            )
        frames: Tensor = output[0]
        return frames

    def pair(self, output: Any, expected: str) -> tuple[Any, Any]:
        """The two values that a call should give."""
        if not isinstance(output, list | tuple) or len(output) != 2:
            raise EncoderError(f"{self.name} gave {described(output)}; expected {expected}.")
        return output[0], output[1]

    def _encode_one(self, waveform: Tensor, layers: Sequence[int]) -> Tensor:
        tokens = self.frames(waveform.to(self.device), layers).float()  # (layers, T, D)
        num_frames, num_samples = tokens.shape[1], len(waveform)
        if not tokens.isfinite().all():
            bad = int((~tokens.isfinite()).sum())
            raise EncoderError(
                f"{self.name} gave {bad} non-finite of {tokens.numel()} numbers for {num_samples} samples."
            )
        if self._seen.get(num_samples, num_frames) != num_frames:
            raise EncoderError(
                f"{self.name} gave {num_frames} frames for a waveform of {num_samples} samples, and "
                f"{self._seen[num_samples]} for another of that length."
            )
        seconds = num_samples / self.sample_rate
        if self._rate is not None and not fits(num_frames, seconds, self._rate):
            raise EncoderError(
                f"{self.name} gave {num_frames} frames for {seconds:.3f} s, {num_frames / seconds:.4g} per second; "
                f"expected {self._rate:g}, as for other clips."
            )
        self._seen[num_samples] = num_frames
        return tokens

    def _measure(self) -> None:
        """Finds the frame rate and the shortest clip, and whether the frames are about the whole clip."""

        def last(waveform: Tensor) -> Tensor:
            return self._encode_one(waveform, [self.depth])[0]

        with torch.inference_mode():
            counts = {seconds: len(last(noise(seconds, self.sample_rate))) for seconds in PROBE_SECONDS}
            self.frame_rate = self._rate = constant_rate(counts, self.declared_rate(), name=self.name)
            self.min_samples = shortest(last, sample_rate=self.sample_rate, frame_rate=self.frame_rate)
            self.notes += coverage(last, sample_rate=self.sample_rate, name=self.name)
        if any(module.training for owner in modules_of(self.instance).values() for module in owner.modules()):
            raise EncoderError(f"{self.name} puts itself in training mode while it encodes; expected eval mode.")


def described(value: Any) -> str:
    """What somebody's code gave, in a few words."""
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, list | tuple) else type(value).__name__


def has_forward(kind: type[Any]) -> bool:
    """Whether a class can be called as a module is."""
    return issubclass(kind, nn.Module) and kind.forward is not nn.Module.forward
