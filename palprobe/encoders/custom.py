"""A user's own encoder: `path/to/file.py:Class`, one class in one file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from palprobe.encoders.custom_code import Made, Maker, choose_class, code_identity, freeze, make, read_number
from palprobe.encoders.custom_import import source_file, user_code
from palprobe.encoders.options import check_options
from palprobe.errors import EncoderError
from palprobe.recipe import EncoderSection
from palprobe.specs import EncoderSpec
from palprobe.types import Kind

REQUIRED = ("sample_rate", "frame_rate", "dim")
SLACK = 2  # time steps by which a length may differ from duration x frame rate: windows and strides round


class UserEncoder:
    """Runs a class that you wrote, named on the command line as `path/to/file.py:Class`.

    The class is made without arguments and loads its own weights. It has these attributes:

        sample_rate   Hz of the waveforms that it wants
        frame_rate    time steps that it gives per second, Hz
        dim           D, the size of a token
        min_samples   shortest waveform (default: the samples of one time step); shorter clips are padded with zeros
        max_seconds   longest waveform (default: no limit); longer clips come in consecutive windows
        kind          "general" (default) or "speech": how the integration `pal` routes it
        bands         tokens per time step, for patches (default 1); tokens are ordered by time first

    and a method `encode(waveform)`: (S,) float32 in, (T, dim) out, T within two time steps of duration times
    frame_rate, without a class token. An nn.Module may do that in `forward` instead. It runs in eval mode, without
    gradients, one clip at a time; modules that it holds as attributes are moved to the device, where the waveform is.

        class Envelope:
            sample_rate, frame_rate, dim = 16_000, 50.0, 1

            def encode(self, waveform):
                return waveform.unfold(0, 320, 320).abs().mean(dim=1, keepdim=True)

    The file may import what is installed, and at its top or in the constructor also modules that lie beside it: the
    sha256 of all those files and of all weights says what was run. `random:path/to/file.py:Class` calls
    `reset_parameters()` of every module inside. Random numbers in the constructor are seeded by the recipe key
    encoder.init_seed.
    """

    VERSION = 1
    depth = 0

    def __init__(self, made: Made, *, device: str) -> None:
        self.name = f"{made.path}:{made.name}"
        self._path = made.path
        self._instance = made.instance
        self._device = torch.device(device)
        self._seen: dict[int, int] = {}  # samples -> tokens
        self._read_attributes()
        freeze(made.instance, self._device)
        self._encode = made.instance.encode if callable(getattr(made.instance, "encode", None)) else made.instance

    @classmethod
    def identify(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, Any]:
        made = _make(spec, section)
        encoder = cls(made, device="cpu")
        return {
            "name": "file",
            "version": cls.VERSION,
            "class": made.name,
            **code_identity(made, spec),
            "window": {"min_samples": encoder.min_samples, "max_seconds": encoder.max_seconds},
            "sample_rate": encoder.sample_rate,
        }

    @classmethod
    def kind_of(cls, spec: EncoderSpec, section: EncoderSection) -> Kind:
        return cls(_make(spec, section), device="cpu").kind

    @classmethod
    def depth_of(cls, spec: EncoderSpec, section: EncoderSection) -> int:  # noqa: ARG003 - no layers
        return cls.depth

    @classmethod
    def origin(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, str]:  # noqa: ARG003 - nothing to choose
        return {"weights": f"made by {source_file(spec)}"}

    @classmethod
    def load(cls, spec: EncoderSpec, section: EncoderSection, *, device: str) -> UserEncoder:
        return cls(_make(spec, section), device=device)

    def num_tokens(self, num_samples: int) -> int:
        """What the class gave for that length; before the first time, what its frame rate leads one to expect."""
        expected = max(round(num_samples / self.sample_rate * self.frame_rate), 1) * self.bands
        return self._seen.get(num_samples, expected)

    def encode(self, waveforms: Sequence[Tensor], layers: Sequence[int]) -> list[Tensor]:  # noqa: ARG002 - one layer
        return [self._encode_one(waveform)[None] for waveform in waveforms]

    def _encode_one(self, waveform: Tensor) -> Tensor:
        with user_code(self._path, f"{self.name} failed on a waveform of {len(waveform)} samples"):
            tokens = self._encode(waveform.to(self._device))
        if not isinstance(tokens, Tensor):
            raise EncoderError(f"{self.name} gave {type(tokens).__name__}; expected a torch.Tensor (T, {self.dim}).")
        if tokens.dim() != 2 or tokens.shape[1] != self.dim or not len(tokens):
            raise EncoderError(f"{self.name} gave a tensor {tuple(tokens.shape)}; expected (T, {self.dim}).")
        steps, seconds = len(tokens) / self.bands, len(waveform) / self.sample_rate
        if abs(steps - seconds * self.frame_rate) > SLACK or len(tokens) % self.bands:
            raise EncoderError(
                f"{self.name} gave {len(tokens)} tokens for {seconds:.3f} s, which is {steps / seconds:.4g} time steps "
                f"per second at {self.bands} to a step; its frame_rate says {self.frame_rate:g}."
            )
        self._seen[len(waveform)] = len(tokens)
        return tokens.float() if tokens.is_floating_point() else tokens

    def _read_attributes(self) -> None:
        missing = [name for name in REQUIRED if not hasattr(self._instance, name)]
        if missing:
            raise EncoderError(f"{self.name} lacks {', '.join(missing)}; it needs {', '.join(REQUIRED)}.")
        self.sample_rate: int = self._number("sample_rate", whole=True)
        self.frame_rate: float = self._number("frame_rate")
        self.dim: int = self._number("dim", whole=True)
        self.bands: int = self._number("bands", 1, whole=True)
        one_step = math.ceil(self.sample_rate / self.frame_rate)
        self.min_samples: int = self._number("min_samples", one_step, whole=True)
        self.max_seconds: float | None = None
        if getattr(self._instance, "max_seconds", None) is not None:
            self.max_seconds = self._number("max_seconds")
            if round(self.max_seconds * self.sample_rate) < self.min_samples:
                raise EncoderError(f"{self.name}: max_seconds {self.max_seconds:g} is less than min_samples.")
        self.kind: Kind = getattr(self._instance, "kind", "general")
        if self.kind not in ("general", "speech"):
            raise EncoderError(f"{self.name}: kind is {self.kind!r}; expected 'general' or 'speech'.")

    def _number(self, name: str, default: float | None = None, *, whole: bool = False) -> Any:
        return read_number(self._instance, name, default, whole=whole, where=self.name)


def _make(spec: EncoderSpec, section: EncoderSection) -> Made:
    check_options(spec, variants=(spec.variant or "",), folder=True, weights=True)

    def choose(module: ModuleType) -> Maker:
        kind = choose_class(module, spec, trait="encoder classes", usable=_encodes, expected=_encodes)
        return Maker(kind.__name__, kind, kind)

    return make(spec, section, choose)


def _encodes(kind: type[Any]) -> bool:
    own_forward = issubclass(kind, nn.Module) and kind.forward is not nn.Module.forward
    return callable(getattr(kind, "encode", None)) or own_forward
