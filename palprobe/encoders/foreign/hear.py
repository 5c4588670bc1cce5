"""Encoders with the HEAR interface: `hear:path/to/file.py[=WEIGHTS]` or `hear:MODULE[=WEIGHTS]`.

S samples, T frames, D encoder size.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from torch import Tensor

from palprobe.encoders.custom_code import Maker
from palprobe.encoders.foreign.frames import regular_hop
from palprobe.encoders.foreign.interface import ForeignEncoder, described
from palprobe.errors import EncoderError, UsageError
from palprobe.specs import EncoderSpec

FUNCTIONS = ("load_model", "get_timestamp_embeddings")


class HearEncoder(ForeignEncoder):
    """Runs a module with `load_model(path)` and `get_timestamp_embeddings(audio, model)`.

    The model has `sample_rate` and `timestamp_embedding_size`. Audio is (1, S) float32; the embeddings are (1, T, D),
    their timestamps (1, T) in ms, at regular steps from the begin of a clip to its end: the steps are the frame rate.
    """

    NAME = "hear"
    VERSION = 1

    @classmethod
    def choose(cls, module: ModuleType, spec: EncoderSpec) -> Maker:
        missing = [name for name in FUNCTIONS if not callable(getattr(module, name, None))]
        if spec.variant or missing:
            found = (
                f"{spec.path} has no function {', '.join(missing)}" if missing else f"{spec.variant} is no part of it"
            )
            raise UsageError(f"Encoder {spec.text!r}: {found}. HEAR modules have {' and '.join(FUNCTIONS)}.")
        load, speaks = module.load_model, module.get_timestamp_embeddings
        if spec.arguments is not None:
            return Maker("load_model", speaks, functools.partial(load, str(Path(spec.arguments).expanduser())))
        needs_path = any(value.default is value.empty for value in inspect.signature(load).parameters.values())
        return Maker("load_model", speaks, functools.partial(load, "") if needs_path else load)

    def read_attributes(self) -> None:
        names = ("sample_rate", "timestamp_embedding_size")
        missing = [name for name in names if not hasattr(self.instance, name)]
        if missing:
            raise EncoderError(f"{self.name} lacks {', '.join(missing)}; expected {' and '.join(names)}.")
        self.sample_rate = self.number("sample_rate", whole=True)
        self.dim = self.number("timestamp_embedding_size", whole=True)
        self._hop_rate: float | None = None  # Hz, by the last timestamps

    def declared_rate(self) -> float | None:
        return self._hop_rate

    def frames(self, waveform: Tensor, layers: Sequence[int]) -> Tensor:  # noqa: ARG002 - one layer
        embed = self.made.module.get_timestamp_embeddings
        output = self.call(embed, waveform[None], self.instance, num_samples=len(waveform))
        output, timestamps = self.pair(output, "(embeddings, timestamps)")
        embeddings = self.checked(output)  # (T, D)
        if not isinstance(timestamps, Tensor) or tuple(timestamps.shape) != (1, len(embeddings)):
            raise EncoderError(
                f"{self.name} gave timestamps, {described(timestamps)}; expected a tensor (1, {len(embeddings)})."
            )
        if len(embeddings) > 1:
            milliseconds = timestamps[0].double().cpu().numpy()
            self._hop_rate = 1000 / regular_hop(milliseconds, len(waveform) / self.sample_rate, name=self.name)
        return embeddings[None]
