"""From a waveform to a model's inputs: each family's feature extractor, called as its own processor calls it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from palprobe.encoders.hf.family import Foreign, Geometry, Inputs


def plain(extractor: Foreign, waveform: np.ndarray, geometry: Geometry) -> Inputs:
    """All that the extractor gives for one clip alone."""
    features = extractor(waveform, sampling_rate=geometry.sample_rate, return_tensors="pt")
    return dict(features)


def codec(extractor: Foreign, waveform: np.ndarray, geometry: Geometry) -> Inputs:
    """The waveform without a mask, (1, channels, S); a stereo codec hears mono on both sides.

    A codec of fixed chunks gets one chunk, filled with silence.
    """
    audio = np.stack([waveform] * extractor.feature_size) if extractor.feature_size > 1 else waveform
    chunk = getattr(extractor, "chunk_length", None)
    fixed = {} if chunk is None else {"padding": "max_length", "max_length": chunk}
    features = extractor(audio, sampling_rate=geometry.sample_rate, return_tensors="pt", **fixed)
    return {"input_values": features["input_values"]}


def window(extractor: Foreign, waveform: np.ndarray, geometry: Geometry) -> Inputs:
    """Log-mels of a whole window of silence behind the clip: (1, mels, frames)."""
    return {"input_features": _window(extractor, waveform, geometry)["input_features"]}


def masked_window(extractor: Foreign, waveform: np.ndarray, geometry: Geometry) -> Inputs:
    """The same, and which frames the clip has."""
    features = _window(extractor, waveform, geometry, return_attention_mask=True)
    return {"input_features": features["input_features"], "input_features_mask": features["attention_mask"]}


def _window(extractor: Foreign, waveform: np.ndarray, geometry: Geometry, **options: bool) -> Foreign:
    return extractor(
        waveform,
        sampling_rate=geometry.sample_rate,
        max_length=round(geometry.max_seconds * geometry.sample_rate),
        return_tensors="pt",
        **options,
    )


def clap(extractor: Foreign, waveform: np.ndarray, geometry: Geometry) -> Inputs:
    """CLAP's mels, in float32; for fusion four times the same, since a window is never longer than what it takes."""
    with _numpy_random_kept():  # fusion draws which clip of a batch is to count as longer: of one, that one
        features = plain(extractor, waveform, geometry)
    return {"input_features": features["input_features"].float(), "is_longer": features["is_longer"]}


@contextmanager
def _numpy_random_kept() -> Iterator[None]:
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)


def moved(inputs: Inputs, device: torch.device) -> Inputs:
    """The inputs on the model's device."""
    return {name: value.to(device) for name, value in inputs.items()}
