"""Encoders written for xares-llm or X-ARES: `xares:path/to/file.py[:Class][={"name": value}]`.

S samples, T frames, D encoder size.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from palprobe.encoders.custom_code import Maker, choose_class
from palprobe.encoders.foreign.interface import ForeignEncoder, described, has_forward
from palprobe.errors import EncoderError, UsageError
from palprobe.specs import EncoderSpec

XARES_LLM_RATE = 16_000  # Hz; the interface has no other
DECLARED = ("sampling_rate", "hop_size_in_ms")  # what the X-ARES interface has and that of xares-llm lacks


class XaresEncoder(ForeignEncoder):
    """Runs a class of either interface; the attributes `sampling_rate` and `hop_size_in_ms` tell them apart.

        xares-llm   forward(audio, mask) → (features, mask or None); output_dim; always 16 kHz
        X-ARES      forward(audio) → features; output_dim, sampling_rate, hop_size_in_ms

    Audio is (1, S) float32, divided by its peak only if that is above 1; the mask is int32 ones. Features are
    (1, T, D); of a mask (1, T) the kept frames come first. A mask of S numbers is read at the frames' rate, and noted.
    The class is the only one defined in the file whose name ends in Encoder, or the one that the spec names.
    """

    NAME = "xares"
    VERSION = 1

    @classmethod
    def choose(cls, module: ModuleType, spec: EncoderSpec) -> Maker:
        kind = choose_class(
            module,
            spec,
            trait="classes of its own whose name ends in Encoder",
            usable=has_forward,
            expected=lambda kind: kind.__name__.endswith("Encoder"),
        )
        arguments = _arguments(spec)
        return Maker(kind.__name__, kind, lambda: kind(**arguments))

    @classmethod
    def arguments_identity(cls, spec: EncoderSpec) -> Any:
        return _arguments(spec)

    def read_attributes(self) -> None:
        if not hasattr(self.instance, "output_dim"):
            raise EncoderError(f"{self.name} lacks output_dim; expected the size of its features, a whole number.")
        self.dim = self.number("output_dim", whole=True)
        missing = [name for name in DECLARED if not hasattr(self.instance, name)]
        if len(missing) == 1:
            raise EncoderError(
                f"{self.name} lacks {missing[0]}; expected {' and '.join(DECLARED)} (X-ARES) or neither (xares-llm)."
            )
        self._with_mask = bool(missing)
        self.sample_rate = XARES_LLM_RATE if self._with_mask else self.number("sampling_rate", whole=True)
        wanted = ("audio", "mask") if self._with_mask else ("audio",)
        try:
            inspect.signature(self.instance.forward).bind(*wanted)
        except TypeError as error:
            hint = f"; one with {' and '.join(DECLARED)} gets (audio)" if self._with_mask else ""
            raise EncoderError(f"{self.name}: forward does not take ({', '.join(wanted)}): {error}{hint}.") from error

    def declared_rate(self) -> float | None:
        return None if self._with_mask else 1000 / float(self.number("hop_size_in_ms"))

    def frames(self, waveform: Tensor, layers: Sequence[int]) -> Tensor:  # noqa: ARG002 - one layer
        peak = waveform.abs().max()
        audio = (waveform / peak if peak > 1 else waveform)[None]  # (1, S)
        if not self._with_mask:
            return self.checked(self.call(self.instance, audio, num_samples=len(waveform)))[None]
        mask = torch.ones_like(audio, dtype=torch.int32)
        output = self.call(self.instance, audio, mask, num_samples=len(waveform))
        output, mask = self.pair(output, "(features, mask)")
        features = self.checked(output)  # (T, D)
        return features[: self._num_kept(mask, len(features), len(waveform))][None]

    def _num_kept(self, mask: Any, num_frames: int, num_samples: int) -> int:
        """How many of the frames a mask keeps; those that it keeps come first."""
        if mask is None:
            return num_frames
        if not isinstance(mask, Tensor) or mask.dim() != 2 or len(mask) != 1:
            raise EncoderError(
                f"{self.name} gave a mask, {described(mask)}; expected a tensor (1, {num_frames}), or None."
            )
        kept = mask[0].cpu() != 0  # any dtype on any device
        if len(kept) == num_samples != num_frames:
            self._note_sample_mask()
            kept = kept[((torch.arange(num_frames) + 0.5) * num_samples / num_frames).long()]
        if len(kept) != num_frames:
            raise EncoderError(
                f"{self.name} gave a mask of {len(kept)} for {num_frames} frames of {num_samples} samples; "
                f"expected {num_frames}."
            )
        count = int(kept.sum())
        if not count or not kept[:count].all():
            raise EncoderError(
                f"{self.name} gave a mask that keeps {count} of {num_frames} frames"
                f"{', not the first ones' if count else ''}; expected one that keeps the first."
            )
        return count

    def _note_sample_mask(self) -> None:
        note = f"{self.name} gives its mask a number for each sample; it was read as one for each frame"
        if note not in self.notes:
            self.notes.append(note)


def _arguments(spec: EncoderSpec) -> dict[str, Any]:
    """Keyword arguments of the class, from the JSON after the "="."""
    try:
        arguments = json.loads(spec.arguments or "{}", parse_constant=_refuse)
    except ValueError as error:
        raise UsageError(f"Encoder {spec.text!r}: {spec.arguments!r} is not JSON ({error}).") from error
    if not isinstance(arguments, dict):
        raise UsageError(f'Encoder {spec.text!r}: {spec.arguments!r} is no JSON object. Write ={{"name": value}}.')
    return arguments


def _refuse(constant: str) -> Any:
    """NaN and infinities, which other readers of JSON refuse and identities cannot hold."""
    raise ValueError(f"{constant} is no number")
