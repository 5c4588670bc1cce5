"""Whether an encoder's frames are what they are taken for: at a constant rate, and about the whole clip.

Nothing else says so of an encoder whose interface declares no frame rate, and one that does declare it may be wrong.
S samples, T frames, D encoder size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from palprobe.errors import EncoderError

PROBE_SECONDS = (1.0, 3.0, 5.0)  # long enough for a rate, short enough for encoders of at most 5 s
SHORT_SECONDS = (0.1, 0.2, 0.5)  # an encoder may need a window, or a patch of sixteen 10 ms frames
SLACK = 2  # frames by which a number may differ from duration x rate: windows and strides round
STEP_SECONDS = 0.2  # and this much more, since patches come in whole steps
LEVEL = 0.1  # of the noise that probes are made of
PROBED = (0.2, 0.5, 0.95)  # where in a clip, from 0 to 1, a tenth of it is replaced
MOVED = 0.15  # of the clip: farther than this from where the sound changed is another place
LOCAL = 3.0  # a change that is this much above its median has a place
REPEATED = 1e-3  # relative difference of two passes that rounding does not explain
JITTER_MS, JITTER = 1.0, 0.05  # timestamps may be whole milliseconds, or off by a part of a hop


def noise(seconds: float, sample_rate: int, *, seed: int = 0) -> Tensor:
    """(S,) white noise, the same each time."""
    generator = torch.Generator().manual_seed(seed)
    return LEVEL * torch.randn(max(round(seconds * sample_rate), 1), generator=generator)


def constant_rate(counts: Mapping[float, int], declared: float | None, *, name: str) -> float:
    """Frames per second of an encoder that was tried on clips of several lengths.

    Args:
        counts: seconds → frames; at least two lengths.
        declared: what the encoder says, Hz; None: it is measured.
        name: for messages.

    Raises:
        EncoderError: the number of frames does not grow with the clip, or not at the declared or at any constant rate.
    """
    lengths = sorted(counts)
    shown = f"{', '.join(str(counts[at]) for at in lengths)} frames for {', '.join(f'{at:g}' for at in lengths)} s"
    if any(counts[shorter] >= counts[longer] for shorter, longer in itertools.pairwise(lengths)):
        raise EncoderError(f"{name} gave {shown}; expected more frames for a longer clip.")
    first, last = lengths[0], lengths[-1]
    rate = declared or (counts[last] - counts[first]) / (last - first)
    if not all(fits(counts[at], at, rate) for at in lengths):
        expected = f"{declared:g} per second, as it declares" if declared else "a constant number per second"
        raise EncoderError(f"{name} gave {shown}; expected {expected}, for the whole clip.")
    return rate


def fits(num_frames: int, seconds: float, rate: float) -> bool:
    """Whether a clip's number of frames is what a rate leads one to expect; a measured rate is off by rounding."""
    uncertain = seconds / (PROBE_SECONDS[-1] - PROBE_SECONDS[0])
    return abs(num_frames - seconds * rate) <= SLACK + STEP_SECONDS * rate + uncertain


def shortest(encode: Callable[[Tensor], Tensor], *, sample_rate: int, frame_rate: float) -> int:
    """Samples of the shortest clip that an encoder takes: one time step if it can, else the first round length."""
    step = 1 / frame_rate
    for seconds in (step, *(seconds for seconds in SHORT_SECONDS if seconds > step)):
        waveform = noise(math.ceil(seconds * sample_rate) / sample_rate, sample_rate)
        try:
            encode(waveform)
        except EncoderError:
            continue
        return len(waveform)
    return round(PROBE_SECONDS[0] * sample_rate)


def coverage(encode: Callable[[Tensor], Tensor], *, sample_rate: int, name: str) -> list[str]:
    """What is odd about the frames of an encoder, found by changing a tenth of a clip and looking which frames change.

    Args:
        encode: (S,) → (T, D) finite numbers.
        sample_rate: Hz.
        name: for messages.

    Returns:
        Sentences for a person: passes differ, or a change shows up in frames of another place in the clip.

    Raises:
        EncoderError: some part of the clip changes nothing.
    """
    length = PROBE_SECONDS[-1]
    clip, other = noise(length, sample_rate), noise(length, sample_rate, seed=1)
    frames, again = encode(clip), encode(clip)
    notes: list[str] = []
    moved: list[str] = []
    drift = float((again - frames).norm() / frames.norm().clamp_min(1e-12))
    if drift > REPEATED:
        notes.append(f"{name}: two passes over one clip differ by {drift:.1%}. Does it use dither or dropout?")
    for at in PROBED:
        begin, end = (round(edge * len(clip)) for edge in (at - 0.05, at + 0.05))
        changed = torch.cat([clip[:begin], other[begin:end], clip[end:]])
        change = (encode(changed) - frames).norm(dim=1)  # (T,)
        stretch = f"{begin / sample_rate:g} to {end / sample_rate:g} s of a {length:g} s clip"
        if not change.any():
            raise EncoderError(f"{name} gives the same frames whatever sounds from {stretch}: it drops that part.")
        place = _place(change, floor=float((again - frames).norm(dim=1).max()))
        if place is not None and abs(place - at) > MOVED:
            moved.append(
                f"{name}: what sounds from {stretch} shows in its frames at {place * length:.1f} s. Is a part of the "
                "clip dropped, or are its frames not in order of time?"
            )
    return notes + moved[:1]


def _place(change: Tensor, *, floor: float) -> float | None:
    """Where in the clip, from 0 to 1, frames changed most; None where all changed alike, or as between two passes."""
    peak = change.max()
    if peak <= LOCAL * max(float(change.median()), floor):
        return None
    weights = torch.where(change >= peak / 2, change, 0.0)
    middles = (torch.arange(len(change), device=change.device) + 0.5) / len(change)
    return float((weights * middles).sum() / weights.sum())


def regular_hop(timestamps: np.ndarray, seconds: float, *, name: str) -> float:
    """Milliseconds from one frame to the next.

    Args:
        timestamps: (T,) ms, T at least 2.
        seconds: length of the clip.
        name: for messages.

    Raises:
        EncoderError: steps differ, go back, or do not reach from the begin of the clip to its end.
    """
    steps = np.diff(timestamps)
    hop = float(timestamps[-1] - timestamps[0]) / len(steps)
    off = np.abs(steps - hop) > max(JITTER_MS, JITTER * hop)
    if not hop > 0 or off.any():  # NaN compares false
        at = int(off.argmax())
        raise EncoderError(
            f"{name}: its timestamps are not regular: {timestamps[at]:g} ms is followed by {timestamps[at + 1]:g} ms, "
            f"where the mean step is {hop:g} ms."
        )
    slack = 1000 * STEP_SECONDS + SLACK * hop
    if abs(timestamps[0]) > slack or abs(timestamps[-1] - 1000 * seconds) > slack:
        raise EncoderError(
            f"{name}: its timestamps go from {timestamps[0]:g} to {timestamps[-1]:g}, expected milliseconds from the "
            f"begin to the end of a clip of {1000 * seconds:g} ms."
        )
    return hop
