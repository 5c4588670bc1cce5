"""Clips into tokens: the rules on short and long clips, and the checks, that hold for all encoders alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from palprobe.errors import EncoderError
from palprobe.types import AudioFeatures, Encoder


@dataclass(frozen=True, eq=False)
class Encoded:
    """One clip's features, on the CPU."""

    features: AudioFeatures
    padded: bool  # the clip was shorter than the encoder's shortest and ends in silence


def encode_clips(encoder: Encoder, waveforms: Sequence[Tensor], layers: Sequence[int]) -> list[Encoded]:
    """Valid tokens of clips of any length, of one or more layers from one forward pass.

    A clip shorter than `min_samples` is padded with zeros to that length. One longer than `max_seconds` is cut into
    consecutive windows without overlap, the last padded if it is too short, and their tokens are joined.

    Args:
        encoder: any encoder.
        waveforms: (S,) float32 each, at `encoder.sample_rate`.
        layers: numbers from 0 to `encoder.depth`.

    Raises:
        EncoderError: the encoder's output is not (layers, num_tokens, dim), or not finite.
    """
    clips = [_windows(encoder, waveform) for waveform in waveforms]
    windows = [window for clip in clips for window in clip]
    with torch.inference_mode():
        outputs = encoder.encode(windows, layers)
    if len(outputs) != len(windows):
        raise EncoderError(f"{_name(encoder)} gave {len(outputs)} outputs for {len(windows)} waveforms.")
    for window, tokens in zip(windows, outputs, strict=True):
        _check(encoder, window, tokens, num_layers=len(layers))
    remaining = iter(outputs)
    encoded = []
    for waveform, clip in zip(waveforms, clips, strict=True):
        values = torch.cat([next(remaining) for _ in clip], dim=1).float().cpu()  # (layers, T, D)
        features = AudioFeatures(values, encoder.frame_rate, encoder.bands)
        encoded.append(Encoded(features, padded=len(waveform) < encoder.min_samples))
    return encoded


def _windows(encoder: Encoder, waveform: Tensor) -> list[Tensor]:
    """At least one, each of a length that the encoder takes."""
    size = max(len(waveform), 1)
    if encoder.max_seconds is not None:
        size = round(encoder.max_seconds * encoder.sample_rate)
    windows = [waveform[start : start + size] for start in range(0, max(len(waveform), 1), size)]
    missing = max(encoder.min_samples - len(windows[-1]), 0)
    return [*windows[:-1], F.pad(windows[-1], (0, missing))]


def _check(encoder: Encoder, window: Tensor, tokens: Tensor, *, num_layers: int) -> None:
    expected = (num_layers, max(encoder.num_tokens(len(window)), 1), encoder.dim)
    if tuple(tokens.shape) != expected or not tokens.is_floating_point():
        raise EncoderError(
            f"{_name(encoder)} gave {tokens.dtype} of shape {tuple(tokens.shape)} for {len(window)} samples; "
            f"expected floats of shape {expected}, (layers, tokens, dim)."
        )
    if not tokens.isfinite().all():
        bad = int((~tokens.isfinite()).sum())
        peak = float(window.abs().max())
        raise EncoderError(
            f"{_name(encoder)} gave {bad} non-finite of {tokens.numel()} numbers for a waveform of {len(window)} "
            f"samples with peak {peak:g}."
        )


def _name(encoder: Encoder) -> str:
    return str(getattr(encoder, "name", type(encoder).__name__))
