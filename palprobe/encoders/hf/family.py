"""What the loader must know of a family of encoders that transformers implements; the values, without the table.

Shape legend: S samples, T tokens, D encoder size; X is whatever a model gives before its tokens are put in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from palprobe.types import Kind

# A configuration, a feature extractor or a model of transformers, which has no types to offer.
Foreign = Any
Inputs = dict[str, Tensor]
Lengths = Callable[[int], int]  # samples -> valid tokens


@dataclass(frozen=True)
class Geometry:
    """What the configuration and the front end decide without any weights."""

    sample_rate: int  # Hz
    frame_rate: float  # time steps per second, Hz
    dim: int  # D
    depth: int  # number of the last layer; 0 where the layers are no stack of one shape
    min_samples: int
    max_seconds: float
    num_tokens: Lengths
    bands: int = 1


@dataclass(frozen=True)
class Outputs:
    """One forward pass on one clip, as the model gives it."""

    last: Tensor  # (1, X, D), or what `arrange` of the family takes
    hidden: Sequence[Tensor] = ()  # what enters block 0, then what leaves each; empty if not asked for


def nothing(config: Foreign) -> dict[str, Any]:  # noqa: ARG001
    """No settings."""
    return {}


@dataclass(frozen=True)
class Family:
    """One architecture: its names in transformers, how a waveform goes in, and what to do with what comes out."""

    name: str
    kind: Kind
    model: str  # class of transformers, as "whisper.modeling_whisper:WhisperEncoder"
    extractor: str  # feature extractor class of transformers
    model_types: Mapping[str, str]  # model_type of a config.json -> where in it the encoder's own part is; "" is all
    geometry: Callable[[Foreign, Foreign], Geometry]  # (encoder's configuration, feature extractor)
    prepare: Callable[[Foreign, np.ndarray, Geometry], Inputs]  # (feature extractor, (S,) waveform, geometry)
    call: Callable[[Foreign, Inputs, bool], Outputs]  # (model, inputs, whether hidden states are wanted)
    arrange: Callable[[Tensor, Foreign, bool], Tensor]  # (last or hidden, configuration, is it the last) -> (T, D)
    keys: str = ""  # pattern of what stands before the encoder's own keys in the checkpoint of a larger model
    part: str = ""  # attribute of `model` that is the encoder; "" is the model itself
    unused: tuple[str, ...] = ()  # weights that serve training only: a checkpoint may lack them
    implied: Callable[[Foreign], dict[str, Any]] = nothing  # front-end settings that the configuration decides
    published: Callable[[Foreign], dict[str, Any]] | None = None  # the others; None: published models differ in them
    window_positions: int = 0  # rows of the table of positions that fixes the window, to a token; 0: there is none
    overrides: Mapping[str, Any] = field(default_factory=dict)  # of the configuration, whatever a checkpoint says
