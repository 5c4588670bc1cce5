"""Upstreams written for s3prl: `s3prl:path/to/file.py[:Class][=CKPT]` or `s3prl:MODULE[:Class][=CKPT]`.

S samples, T frames, D encoder size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
from torch import Tensor

from palprobe.encoders.custom_code import Maker, choose_class, read_number
from palprobe.encoders.custom_import import user_code
from palprobe.encoders.foreign.frames import PROBE_SECONDS, noise
from palprobe.encoders.foreign.interface import ForeignEncoder, described, has_forward
from palprobe.errors import EncoderError
from palprobe.recipe import EncoderSection
from palprobe.specs import EncoderSpec

SAMPLE_RATE = 16_000  # Hz; the interface has no other
KEY = "hidden_states"


class S3prlEncoder(ForeignEncoder):
    """Runs an upstream: a list of waveforms in, a dict with `hidden_states` out, a list of (1, T, D) by layer.

    The layers are those of the list: the last one is what the encoder gives without `@N`. `get_downsample_rates` says
    how many samples make a frame. CKPT is the constructor's first argument. The class is the only one defined in the
    file that has `get_downsample_rates`, or the one that the spec names.
    """

    NAME = "s3prl"
    VERSION = 1
    sample_rate = SAMPLE_RATE

    @classmethod
    def depth_of(cls, spec: EncoderSpec, section: EncoderSection) -> int:
        return cls(cls._make(spec, section), device="cpu").depth

    @classmethod
    def choose(cls, module: ModuleType, spec: EncoderSpec) -> Maker:
        kind = choose_class(
            module,
            spec,
            trait="classes of its own with get_downsample_rates",
            usable=has_forward,
            expected=lambda kind: callable(getattr(kind, "get_downsample_rates", None)),
        )
        given = [] if spec.arguments is None else [str(Path(spec.arguments).expanduser())]
        return Maker(kind.__name__, kind, lambda: kind(*given))

    def read_attributes(self) -> None:
        """Layers and size are known from what comes out."""
        if not callable(getattr(self.instance, "get_downsample_rates", None)):
            raise EncoderError(f"{self.name} lacks get_downsample_rates(key); expected the samples that make a frame.")
        waveform = noise(PROBE_SECONDS[0], SAMPLE_RATE).to(self.device)
        with torch.inference_mode():
            states = self._hidden_states(waveform)
        if not isinstance(states[-1], Tensor) or not states[-1].dim():
            raise EncoderError(f"{self.name} gave {KEY} of {described(states[-1])}; expected tensors (1, T, D).")
        self.depth = len(states) - 1
        self.dim = states[-1].shape[-1]

    def declared_rate(self) -> float | None:
        with user_code(self.made.path, f"{self.made.name}.get_downsample_rates failed"):
            samples = self.instance.get_downsample_rates(KEY)
        answer = SimpleNamespace(get_downsample_rates=samples)
        return SAMPLE_RATE / float(read_number(answer, "get_downsample_rates", where=self.name))

    def frames(self, waveform: Tensor, layers: Sequence[int]) -> Tensor:
        states = self._hidden_states(waveform)
        if len(states) != self.depth + 1:
            raise EncoderError(f"{self.name} gave {len(states)} {KEY}, and {self.depth + 1} for another clip.")
        chosen = [self.checked(states[layer]) for layer in layers]  # (T, D) each
        if len({len(state) for state in chosen}) > 1:
            raise EncoderError(f"{self.name} gave {KEY} of {', '.join(str(len(state)) for state in chosen)} frames.")
        return torch.stack([state.float() for state in chosen])

    def _hidden_states(self, waveform: Tensor) -> Sequence[Tensor]:
        output = self.call(self.instance, [waveform], num_samples=len(waveform))
        if not isinstance(output, Mapping):
            raise EncoderError(f"{self.name} gave {described(output)}; expected a dict with {KEY}.")
        if not isinstance(output.get(KEY), list | tuple) or not output[KEY]:
            known = ", ".join(map(str, output)) or "nothing"
            raise EncoderError(f"{self.name} gave a dict with {known}; expected {KEY}, a list of (1, T, D) tensors.")
        states: Sequence[Tensor] = output[KEY]
        return states
