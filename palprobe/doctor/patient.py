"""The encoder under examination, heard as extraction hears it, and how much its features differ.

S samples, T tokens, D encoder size, P time steps of `bands` tokens each.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from palprobe.doctor.signals import sound
from palprobe.encoders.windows import encode_clips
from palprobe.errors import EncoderError
from palprobe.types import Encoder

CLIP_SECONDS = 10.0  # the usual length of a clip in audio tasks
LENGTHS = (0.1, 0.2, 1.7, 10.0, 25.0)  # s: a click, a word, a sentence, the usual clip, nearly Whisper's 30
PRIME_SAMPLES = 30_011  # no stride divides it, and recordings end anywhere
SOUND_SECONDS = 4.0  # for what needs no usual clip: 40 different moments
BEYOND = 1.2  # of max_seconds: one window and a short one
LONGEST_WAIT_SECONDS = 20.0  # for a clip beyond max_seconds, of which three are encoded
TIMED_CLIPS = 5  # a median of fewer moves with whatever else the machine does
TINY = 1e-12  # beside any feature; keeps silence from dividing by zero
Length = int | EncoderError  # tokens, or why there are none


@dataclass(frozen=True, eq=False)
class Patient:
    """An encoder and how its features would be kept.

    Args:
        encoder: as `load` gave it.
        load: makes it again, from the same files.
        layers: whose mean is examined.
        dtype: of the store, `float16` or `float32`.
        num_stores: how many stores the spec asks for, one for each layer.
    """

    encoder: Encoder
    load: Callable[[], Encoder]
    layers: tuple[int, ...]
    dtype: str
    num_stores: int = 1

    def sound(self, seconds: float, *, seed: int = 0) -> Tensor:
        """(S,) at the encoder's sample rate."""
        return sound(seconds, self.encoder.sample_rate, seed=seed)

    def tokens(self, waveforms: Sequence[Tensor], encoder: Encoder | None = None) -> list[Tensor]:
        """(T, D) features of each clip; raises EncoderError as `encode_clips` does."""
        encoded = encode_clips(encoder or self.encoder, waveforms, self.layers)
        return [clip.features.values.mean(0) for clip in encoded]

    def steps(self, waveform: Tensor) -> Tensor:
        """(P, bands x D) features of one clip, a row for each time step."""
        (tokens,) = self.tokens([waveform])
        return tokens.reshape(len(tokens) // self.encoder.bands, -1)

    def within_window(self, seconds: float) -> float:
        """That length, or less if one window is shorter."""
        return min(seconds, self.encoder.max_seconds or seconds)

    @cached_property
    def distance(self) -> float:
        """Root mean square distance of the features of two different sounds: the unit of `change`.

        What does not depend on the sound, such as offsets and codes of the position, is no part of it.
        """
        seconds = self.within_window(SOUND_SECONDS)
        return apart(self.steps(self.sound(seconds)), self.steps(self.sound(seconds, seed=1)))

    def change(self, left: Tensor, right: Tensor) -> float:
        """How far two features of one shape are apart: 1 as far as two different sounds, 0 only if they are equal."""
        return root_mean_square(left - right) / self.distance

    @property
    def lengths(self) -> list[float]:
        """Seconds of the clips whose shapes are looked at, but for the one beyond `max_seconds`."""
        odd = {samples / self.encoder.sample_rate for samples in (self.encoder.min_samples, PRIME_SAMPLES)}
        return sorted({*LENGTHS, *odd})

    @cached_property
    def beyond(self) -> float | None:
        """Seconds of a clip of two windows; None where one window holds everything, or it would take too long."""
        seconds = BEYOND * (self.encoder.max_seconds or 0.0)
        cost = seconds / CLIP_SECONDS * self.clip_seconds_median
        return seconds if seconds > max(LENGTHS) and cost < LONGEST_WAIT_SECONDS else None

    @cached_property
    def num_tokens(self) -> Mapping[float, Length]:
        """Clip length in seconds → tokens, or the error that came instead."""
        return {seconds: self._length(seconds) for seconds in (*self.lengths, self.beyond) if seconds is not None}

    def _length(self, seconds: float) -> Length:
        try:
            return len(self.tokens([self.sound(seconds)])[0])
        except EncoderError as error:
            return error

    @cached_property
    def clip_seconds_median(self) -> float:
        """What encoding `CLIP_SECONDS` takes, after a warm-up, in seconds."""
        waveforms = [self.sound(CLIP_SECONDS, seed=seed) for seed in range(TIMED_CLIPS)]
        self.tokens(waveforms[:1])
        return statistics.median(_seconds(lambda clip=clip: self.tokens([clip])) for clip in waveforms)  # type: ignore[misc]


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def step_changes(left: Tensor, right: Tensor) -> np.ndarray:
    """(P,) distance of the features in each step as a share of their size, 0 to 1: no loud step drowns the others."""
    difference = torch.linalg.vector_norm((left - right).double(), dim=1)
    size = torch.linalg.vector_norm(left.double(), dim=1) + torch.linalg.vector_norm(right.double(), dim=1)
    share: np.ndarray = (difference / size.clamp(min=TINY)).numpy()
    return share


def apart(left: Tensor, right: Tensor) -> float:
    """Root mean square distance of the features of two sounds; where those are alike, the size of the features."""
    return root_mean_square(left - right) or max(root_mean_square(left), TINY)


def root_mean_square(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())
