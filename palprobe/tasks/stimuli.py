"""Synthetic sounds: tones, glides, buzzes, noises, clicks, knocks, and how they are laid out in a clip of fixed length.

Every sound is a float64 array (S,) with faded ends, so that no edge clicks. Lasting sounds are as strong as a sine of
amplitude 1, so that none stands out by its level; clicks and knocks peak at about 1.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Waveform = NDArray[np.float64]  # (S,)

SAMPLE_RATE = 16_000  # Hz
CLIP_SECONDS = 2.0
NUM_SAMPLES = round(CLIP_SECONDS * SAMPLE_RATE)
SAMPLE_BYTES = 2  # 16-bit PCM
FADE_SECONDS = 0.01
LEVEL_DB = (-40.0, -28.0)  # RMS of a whole clip re full scale: low enough that sparse clicks do not overload
SNR_DB = (12.0, 30.0)  # whole clip, sounds to background
MAX_HARMONIC_HZ = 5_000.0
SINE_RMS = 2**-0.5


def log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _seconds(seconds: float) -> Waveform:
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE  # (S,)


def _faded(waveform: Waveform, seconds: float = FADE_SECONDS) -> Waveform:
    size = min(round(seconds * SAMPLE_RATE), len(waveform) // 2)
    ramp = np.sin(np.linspace(0, np.pi / 2, size)) ** 2
    waveform[:size] *= ramp
    waveform[len(waveform) - size :] *= ramp[::-1]
    return waveform


def glide(start_hz: float, end_hz: float, seconds: float, rng: Generator) -> Waveform:
    """A sine whose pitch moves evenly, in octaves per second, from one frequency to the other."""
    frequency = np.geomspace(start_hz, end_hz, round(seconds * SAMPLE_RATE))
    return _faded(np.sin(2 * np.pi * (np.cumsum(frequency) / SAMPLE_RATE + rng.uniform())))


def tone(frequency: float, seconds: float, rng: Generator) -> Waveform:
    return _faded(np.sin(2 * np.pi * (frequency * _seconds(seconds) + rng.uniform())))


def buzz(fundamental: float, seconds: float, rng: Generator) -> Waveform:
    """All harmonics up to MAX_HARMONIC_HZ, falling off as 1/k, in random phase."""
    order = np.arange(1, int(MAX_HARMONIC_HZ / fundamental) + 1)[:, None]  # (harmonics, 1)
    phase = rng.uniform(size=order.shape)
    waveform = (np.sin(2 * np.pi * (order * fundamental * _seconds(seconds) + phase)) / order).sum(axis=0)
    return _faded(waveform * SINE_RMS / _rms(waveform))


def noise(seconds: float, rng: Generator) -> Waveform:
    """White noise tilted a little up or down."""
    white = rng.standard_normal(round(seconds * SAMPLE_RATE) + 1)
    waveform = white[1:] + rng.uniform(-0.7, 0.7) * white[:-1]
    return _faded(waveform * SINE_RMS / _rms(waveform))


def click(rng: Generator, seconds: float = 0.012) -> Waveform:
    """A short burst of noise that dies away."""
    decay = np.exp(-_seconds(seconds) / (seconds / 4))
    return rng.choice([-1.0, 1.0], size=len(decay)) * decay


def knock(resonance: float, rng: Generator, seconds: float = 0.12) -> Waveform:
    """A damped resonance, as of a struck board."""
    time = _seconds(seconds)
    return _faded(np.sin(2 * np.pi * resonance * time) * np.exp(-time / rng.uniform(0.02, 0.035)), 0.002)


def repeated(sounds: Sequence[Waveform], seconds: float) -> Waveform:
    """The sounds one after the other, evenly spaced over a stretch."""
    canvas = np.zeros(round(seconds * SAMPLE_RATE))
    latest = len(canvas) - max(map(len, sounds))
    for sound, start in zip(sounds, np.linspace(0, latest, len(sounds)), strict=True):
        canvas[int(start) : int(start) + len(sound)] += sound
    return canvas


def laid_out(sounds: Sequence[Waveform], rng: Generator, *, gap_seconds: float = 0.1) -> Waveform:
    """A clip with the sounds in that order, at random times, at least a gap apart."""
    lengths = np.array([len(sound) for sound in sounds])
    gaps = round(gap_seconds * SAMPLE_RATE) * np.arange(len(sounds))
    before = np.cumsum(lengths) - lengths + gaps  # where each would start if packed
    slack = NUM_SAMPLES - lengths.sum() - gaps[-1]
    starts = before + np.sort(rng.integers(0, slack, size=len(sounds), endpoint=True))
    return placed(sounds, starts / SAMPLE_RATE)


def placed(sounds: Sequence[Waveform], starts_seconds: Sequence[float] | Waveform) -> Waveform:
    """A clip with each sound at its time."""
    clip = np.zeros(NUM_SAMPLES)
    for sound, start in zip(sounds, starts_seconds, strict=True):
        begin = round(float(start) * SAMPLE_RATE)
        clip[begin : begin + len(sound)] += sound
    return clip


def finished(clip: Waveform, rng: Generator) -> Waveform:
    """The clip over background noise, at a level that tells nothing: both are drawn without regard to the content."""
    background = noise(CLIP_SECONDS, rng)
    loudness = 10 ** (-rng.uniform(*SNR_DB) / 20)
    mixed = clip / _rms(clip) + loudness * background / _rms(background)
    return mixed / _rms(mixed) * 10 ** (rng.uniform(*LEVEL_DB) / 20)


def _rms(waveform: Waveform) -> float:
    return float(np.sqrt(np.mean(waveform**2)))


def wav_bytes(clip: Waveform) -> bytes:
    """A 16-bit mono WAV file; a clip beyond full scale is our own mistake."""
    assert np.abs(clip).max() < 1.0, "a stimulus is beyond full scale"  # noqa: S101
    samples = np.round(clip * (2**15 - 1)).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(SAMPLE_BYTES)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


WAV_BYTES = len(wav_bytes(np.zeros(NUM_SAMPLES)))  # all clips are of one length
