"""Decoding ahead: clips become waveforms in threads while the encoder works on the ones before."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from palprobe.audio import load_clip, resample
from palprobe.errors import AudioError
from palprobe.types import Example

DECODERS = 3  # threads
AHEAD_CLIPS, AHEAD_SECONDS = 32, 600.0  # waveforms in memory: at most 40 MB at 16 kHz, or one clip


@dataclass(frozen=True)
class Work:
    """A clip to encode, and the first example that asks about it."""

    key: str
    example: Example
    seconds: float


Decoded = tuple[Work, np.ndarray | AudioError]  # (S,) float32 at the encoder's rate, or why there is none


def decode_ahead(work: Sequence[Work], sample_rate: int) -> Generator[Decoded, None, None]:
    """Each clip's waveform in order, or why there is none; the next ones are decoded in threads meanwhile.

    Args:
        work: clips.
        sample_rate: of the encoder, Hz.
    """
    waiting: deque[tuple[Work, Future[np.ndarray | AudioError]]] = deque()
    seconds = 0.0
    pool = ThreadPoolExecutor(DECODERS)
    try:
        for item in work:
            waiting.append((item, pool.submit(_decode, item.example, sample_rate)))
            seconds += item.seconds
            while len(waiting) > AHEAD_CLIPS or seconds > AHEAD_SECONDS:
                first, waveform = waiting.popleft()
                seconds -= first.seconds
                yield first, waveform.result()
        for first, waveform in waiting:
            yield first, waveform.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode(example: Example, sample_rate: int) -> np.ndarray | AudioError:
    try:
        return resample(load_clip(example.audio, example.start_seconds, example.end_seconds), sample_rate)
    except AudioError as error:
        return error
