"""A user's own encoder: `path/to/file.py:Class`, one class in one file."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from palprobe.encoders.options import check_options
from palprobe.encoders.untrained import reinitialise, seeded
from palprobe.errors import EncoderError, UsageError
from palprobe.files import sha256_of
from palprobe.recipe import EncoderSection, EncoderSpec
from palprobe.registry import near_miss

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

    The file stands alone: it may import what is installed, not its neighbours, so that the sha256 of the file and of
    all weights says what was run. `random:path/to/file.py:Class` calls `reset_parameters()` of every module inside.
    Random numbers in the constructor are seeded by the recipe key encoder.init_seed.
    """

    VERSION = 1

    def __init__(self, instance: Any, path: Path, *, device: str) -> None:
        self.name = f"{path}:{type(instance).__name__}"
        self._path = path
        self._instance = instance
        self._device = torch.device(device)
        self._seen: dict[int, int] = {}  # samples -> tokens
        self._read_attributes()
        for module in _modules(instance).values():
            module.to(self._device).eval().requires_grad_(False)
        self._encode = instance.encode if callable(getattr(instance, "encode", None)) else instance

    @classmethod
    def identify(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, Any]:
        path = _existing(spec)
        instance = _make(spec, section, path)
        encoder = cls(instance, path, device="cpu")
        return {
            "name": "file",
            "version": cls.VERSION,
            "class": type(instance).__name__,
            "file_sha256": sha256_of(path),
            "state_sha256": _state_sha256(instance),
            "untrained": spec.untrained,
            "window": {"min_samples": encoder.min_samples, "max_seconds": encoder.max_seconds},
            "sample_rate": encoder.sample_rate,
        }

    @classmethod
    def origin(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, str]:  # noqa: ARG003 - nothing to choose
        return {"weights": f"made by {_existing(spec)}"}

    @classmethod
    def load(cls, spec: EncoderSpec, section: EncoderSection, *, device: str) -> UserEncoder:
        path = _existing(spec)
        return cls(_make(spec, section, path), path, device=device)

    def num_tokens(self, num_samples: int) -> int:
        """What the class gave for that length; before the first time, what its frame rate leads one to expect."""
        expected = max(round(num_samples / self.sample_rate * self.frame_rate), 1) * self.bands
        return self._seen.get(num_samples, expected)

    def encode(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        return [self._encode_one(waveform) for waveform in waveforms]

    def _encode_one(self, waveform: Tensor) -> Tensor:
        with _user_code(self._path, f"{self.name} failed on a waveform of {len(waveform)} samples"):
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
        self.kind: Literal["general", "speech"] = getattr(self._instance, "kind", "general")
        if self.kind not in ("general", "speech"):
            raise EncoderError(f"{self.name}: kind is {self.kind!r}; expected 'general' or 'speech'.")

    def _number(self, name: str, default: float | None = None, *, whole: bool = False) -> Any:
        value = getattr(self._instance, name, default)
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not 0 < value < math.inf:
            kind = "whole number" if whole else "number"
            raise EncoderError(f"{self.name}: {name} is {value!r}; expected a positive {kind}.")
        return value if whole else float(value)


def _existing(spec: EncoderSpec) -> Path:
    check_options(spec, variants=(spec.variant or "",), folder=True, weights=True)
    path = Path(spec.path or "").expanduser()
    if not path.is_file():
        raise UsageError(f"Encoder {spec.text!r}: there is no file {str(path)!r}. Write path/to/file.py:Class.")
    return path


def _make(spec: EncoderSpec, section: EncoderSection, path: Path) -> Any:
    """The user's object, with the weights that the spec asks for."""
    kind = _choose(_import(path), spec)
    name = f"{path}:{kind.__name__}"
    with seeded(section.init_seed), _user_code(path, f"{name}() failed"):
        instance = kind()
    if spec.untrained:
        reinitialise(_modules(instance), seed=section.init_seed, name=name)
    return instance


def _import(path: Path) -> ModuleType:
    name = f"palprobe_user_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or module_spec.loader is None:
        raise UsageError(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # dataclasses and pickles look their module up there
    with _user_code(path, f"{path} cannot be imported"):
        module_spec.loader.exec_module(module)
    return module


def _choose(module: ModuleType, spec: EncoderSpec) -> type[Any]:
    classes = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and _encodes(value)
    }
    known = ", ".join(classes) or "none"
    if spec.variant is None and len(classes) == 1:
        return next(iter(classes.values()))
    if spec.variant is None:
        raise UsageError(f"{spec.path} has {len(classes)} encoder classes: {known}. Write {spec.path}:CLASS with one.")
    if spec.variant not in classes:
        hint = near_miss(spec.variant, classes)
        raise UsageError(f"{spec.path} has no class {spec.variant!r} that encodes.{hint} Known: {known}.")
    return classes[spec.variant]


def _encodes(kind: type[Any]) -> bool:
    own_forward = issubclass(kind, nn.Module) and kind.forward is not nn.Module.forward
    return callable(getattr(kind, "encode", None)) or own_forward


def _modules(instance: Any) -> Mapping[str, nn.Module]:
    """The object itself, if it is a module, else those that it holds as attributes."""
    if isinstance(instance, nn.Module):
        return {"self": instance}
    return {name: value for name, value in _attributes(instance).items() if isinstance(value, nn.Module)}


def _attributes(instance: Any) -> dict[str, Any]:
    return getattr(instance, "__dict__", {})


def _state_sha256(instance: Any) -> str:
    """Of names, dtypes, shapes and bytes of all weights, those of plain tensor attributes among them."""
    state = {name: value for name, value in _attributes(instance).items() if isinstance(value, Tensor)}
    for name, module in _modules(instance).items():
        state |= {f"{name}.{key}": value for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    sha = hashlib.sha256()
    for name, value in sorted(state.items()):
        tensor = value.detach().cpu().contiguous()
        sha.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        sha.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


@contextmanager
def _user_code(path: Path, what: str) -> Iterator[None]:
    """Whatever a stranger's code raises becomes one line that names the line of their file."""
    try:
        yield
    except Exception as error:  # anything may come out of code that is not ours; it is raised again
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]
        line = error.lineno if isinstance(error, SyntaxError) else next(reversed(lines), None)
        where = f"{path}, line {line}" if line else str(path)
        reason = " ".join(str(error).split())
        raise EncoderError(f"{what}: {where}: {type(error).__name__}: {reason}") from error
