"""Encoders that transformers implements, all through one class; what differs between them stands in `families`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from palprobe.encoders.hf import automatic
from palprobe.encoders.hf.family import Foreign
from palprobe.encoders.hf.frontend import moved
from palprobe.encoders.hf.model import make_model
from palprobe.encoders.hf.source import Source, find_source, origin_of
from palprobe.recipe import EncoderSection
from palprobe.specs import EncoderSpec
from palprobe.types import Encoder, Kind


class HFEncoder:
    """An encoder of transformers: front end, model and order of tokens as its family says.

    `@N` is what enters block N (0-based); the last layer is the model's own output, behind its last norm. Tokens that
    hear nothing but the padding behind a clip are dropped. Clips are encoded one by one: in a batch, padding would
    change the features of some families, and the last bits of all.

    `random:NAME` has a shorter window than 30 s where a table of positions fixes it (recipe key
    encoder.untrained_window_seconds), since nothing ties an untrained one to that length.
    """

    VERSION = 1

    def __init__(self, source: Source, model: Foreign, *, device: str) -> None:
        shape = source.geometry
        self.name = source.family.name
        self.kind: Kind = source.family.kind
        self.sample_rate, self.frame_rate = shape.sample_rate, shape.frame_rate
        self.dim, self.depth, self.bands = shape.dim, shape.depth, shape.bands
        self.min_samples = shape.min_samples
        self.max_seconds: float | None = shape.max_seconds
        self.num_tokens = shape.num_tokens
        self._source, self._shape = source, shape
        self._device = torch.device(device)
        self._model = model.to(self._device).eval().requires_grad_(False)

    @classmethod
    def identify(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, Any]:
        source = find_source(spec, section)
        if isinstance(source, Path):
            return {"version": cls.VERSION, **automatic.identify(spec, section, source)}
        return {"version": cls.VERSION, **source.identify(section)}

    @classmethod
    def kind_of(cls, spec: EncoderSpec, section: EncoderSection) -> Kind:
        source = find_source(spec, section)
        return automatic.kind_of(source) if isinstance(source, Path) else source.family.kind

    @classmethod
    def depth_of(cls, spec: EncoderSpec, section: EncoderSection) -> int:
        source = find_source(spec, section)
        return automatic.DEPTH if isinstance(source, Path) else source.geometry.depth

    @classmethod
    def origin(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, str]:
        source = find_source(spec, section)
        return origin_of(spec, source if isinstance(source, Path) else source.folder)

    @classmethod
    def load(cls, spec: EncoderSpec, section: EncoderSection, *, device: str) -> Encoder:
        source = find_source(spec, section)
        if isinstance(source, Path):
            return automatic.load(spec, section, source, device=device)
        return cls(source, make_model(source, seed=section.init_seed), device=device)

    def encode(self, waveforms: Sequence[Tensor], layers: Sequence[int]) -> list[Tensor]:
        return [self._encode_one(waveform, layers) for waveform in waveforms]

    def _encode_one(self, waveform: Tensor, layers: Sequence[int]) -> Tensor:
        family, config = self._source.family, self._source.config
        inputs = family.prepare(self._source.extractor, waveform.cpu().numpy(), self._shape)
        outputs = family.call(self._model, moved(inputs, self._device), any(layer < self.depth for layer in layers))
        chosen = [
            family.arrange(outputs.last if layer == self.depth else outputs.hidden[layer], config, layer == self.depth)
            for layer in layers
        ]
        return torch.stack(chosen)[:, : self.num_tokens(len(waveform))]  # (layers, T, D)
