"""What an encoder hears of a clip: all of it, in its place, at any level, silence too.

P time steps. A part of a clip is replaced by other sound of the same level, so that an encoder which normalises over
the whole clip has no reason to change anything else, and the steps that change most are compared with that part.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from palprobe.doctor.findings import Finding, Value, Verdict, result
from palprobe.doctor.patient import CLIP_SECONDS, LENGTHS, SOUND_SECONDS, Patient, step_changes
from palprobe.doctor.signals import extremes, replaced
from palprobe.errors import EncoderError

PLACES = (0.1, 0.3, 0.5, 0.7, 0.85)  # of the clip; the last tenth is for `long_clips`
CHANGED_SECONDS = 0.5  # long beside a token, short beside the distance of two places
TOLERANCE_STEPS = 2  # windows of the front end reach into the neighbours
UNCHANGED = 1e-6  # of a step's size: less than float32 rounding of a sum of a thousand numbers
LAST_SHARE = 0.1
HALF = 0.5
MOST_BY_SILENCE = 0.5  # of the distance of two sounds: nearer to the sound that it was than to any other
QUIET_DB = -20.0
LEVEL_LOST = 0.01  # of the distance of two sounds: a normalisation that is kept from dividing by zero leaves this much
EXTREME_SECONDS = 1.7


def response(patient: Patient) -> Finding:
    """Another clip must give other features."""
    seconds = patient.within_window(SOUND_SECONDS)
    one, other = patient.steps(patient.sound(seconds)), patient.steps(patient.sound(seconds, seed=1))
    moved = float(step_changes(one, other).mean())
    expected = "other features for another clip"
    if moved <= UNCHANGED:
        found = "two different clips have the same features"
        advice = "Check that the waveform reaches the model, and at which scale."
        return result("response", "fail", found, f"{expected}. {advice}", change=moved)
    found = f"two clips differ by {moved:.0%} of the size of their features"
    return result("response", "ok", found, expected, change=moved)


def coverage(patient: Patient) -> Finding:
    """A change at any place of a clip must show at that place of the features."""
    waveform = patient.sound(CLIP_SECONDS)
    before = patient.steps(waveform)
    seconds = [share * CLIP_SECONDS for share in PLACES]
    shown = [_shown_at(patient, waveform, before, place) for place in seconds]
    tolerance = CHANGED_SECONDS + TOLERANCE_STEPS * CLIP_SECONDS / len(before)
    pairs = list(zip(seconds, shown, strict=True))
    unheard = [place for place, found in pairs if found is None]
    moved = {place: found for place, found in pairs if found is not None and abs(found - place) > tolerance}
    values: dict[str, Value] = {"changed_at_seconds": [*seconds], "shown_at_seconds": [*shown]}
    expected = f"a change shows within {tolerance:.2g} s of its place"
    if unheard:
        found = f"changes at {_list(unheard)} s of {CLIP_SECONDS:g} s change nothing"
        advice = "That part of a clip is not heard: check strides, frame_rate and every slice of the frames."
        return result("coverage", "fail", found, f"{expected}. {advice}", **values)
    if moved:
        found = f"changes at {_list(moved)} s show at {_list(moved.values())} s"
        advice = "Check strides, frame_rate and the order of the tokens: time first, then bands."
        # Attention may move one of them, a wrong rate moves most.
        verdict: Verdict = "fail" if len(moved) > len(pairs) / 2 else "warn"
        return result("coverage", verdict, found, f"{expected}. {advice}", **values)
    return result("coverage", "ok", f"changes at {_list(seconds)} s show there", expected, **values)


def _shown_at(patient: Patient, waveform: torch.Tensor, before: torch.Tensor, place: float) -> float | None:
    """Seconds at which the features change most when the clip is changed at `place`; None if they do not change."""
    edges = place - CHANGED_SECONDS / 2, place + CHANGED_SECONDS / 2
    changed = replaced(waveform, *edges, sample_rate=patient.encoder.sample_rate)
    by_step = step_changes(before, patient.steps(changed))  # (P,)
    if by_step.max() <= UNCHANGED:
        return None
    width = min(max(round(CHANGED_SECONDS / CLIP_SECONDS * len(by_step)), 1), len(by_step))
    smooth = np.convolve(by_step, np.ones(width) / width, mode="valid")
    return float((smooth.argmax() + width / 2) / len(by_step) * CLIP_SECONDS)


def long_clips(patient: Patient) -> Finding:
    """The end of a long clip must be heard: nothing is cut off."""
    lengths = [seconds for seconds in (max(LENGTHS), patient.beyond) if seconds is not None]
    shares = [_last_changed(patient, seconds) for seconds in lengths]
    values: dict[str, Value] = {"seconds": [*lengths], "share_changed": [*shares]}
    expected = f"other sound in the last {LAST_SHARE:.0%} changes the last tokens, and those most"
    deaf = [seconds for seconds, share in zip(lengths, shares, strict=True) if share < HALF]
    if deaf:
        found = f"at the end of {_list(deaf)} s the tokens do not follow the sound"
        advice = "The encoder cuts clips off: declare its longest as max_seconds, and longer ones come in windows."
        return result("long clips", "fail", found, f"{expected}. {advice}", **values)
    return result("long clips", "ok", f"the end of {_list(lengths)} s is heard", expected, **values)


def _last_changed(patient: Patient, seconds: float) -> float:
    """Share of the steps in the last tenth that change with it; 0 where they change less than those before."""
    waveform = patient.sound(seconds)
    start = (1 - LAST_SHARE) * seconds
    changed = replaced(waveform, start, seconds, sample_rate=patient.encoder.sample_rate)
    by_step = step_changes(patient.steps(waveform), patient.steps(changed))
    split = min(round((1 - LAST_SHARE) * len(by_step)), len(by_step) - 1)
    first, last = by_step[:split], by_step[split:]
    if len(first) and last.mean() < first.mean():
        return 0.0
    return float((last > UNCHANGED).mean())


def trailing_silence(patient: Patient) -> Finding:
    """How much silence behind a sound changes the tokens of its first half."""
    seconds = patient.within_window(2 * SOUND_SECONDS) / 2  # both in one window
    waveform = patient.sound(seconds)
    alone = patient.steps(waveform)
    followed = patient.steps(torch.cat([waveform, torch.zeros_like(waveform)]))
    half = max(len(alone) // 2, 1)  # the second half sees the edge
    moved = patient.change(alone[:half], followed[:half])
    found = f"{seconds:g} s of silence after {seconds:g} s of sound change its first half by {moved:.2g}"
    expected = (
        f"at most {MOST_BY_SILENCE:g}; 0 where no token hears the whole clip, or windows are filled with silence anyway"
    )
    if moved > MOST_BY_SILENCE:
        advice = "Trim the silence of your clips, or bear in mind that their features depend on it."
        return result("trailing silence", "warn", found, f"{expected}. {advice}", change=moved, seconds=seconds)
    return result("trailing silence", "ok", found, expected, change=moved, seconds=seconds)


def gain(patient: Patient) -> Finding:
    """How much the level of a recording changes its features; neither answer is wrong."""
    waveform = patient.sound(patient.within_window(SOUND_SECONDS))
    moved = patient.change(patient.steps(waveform), patient.steps(waveform * 10 ** (QUIET_DB / 20)))
    meaning = "loudness is lost" if moved <= LEVEL_LOST else "level is part of the features"
    found = f"{QUIET_DB:g} dB change the features by {moved:.2g}: {meaning}"
    return result("gain", "ok", found, "any; small where the input is normalised", change=moved)


def silence(patient: Patient) -> Finding:
    """Digital silence, as many data sets hold: finite numbers."""
    patient.tokens([torch.zeros(round(EXTREME_SECONDS * patient.encoder.sample_rate))])
    return result("silence", "ok", f"{EXTREME_SECONDS:g} s of zeros: finite", "finite numbers")


def loud_and_faint(patient: Patient) -> Finding:
    """Clips at the edges of what recordings hold: finite numbers."""
    broken = {}
    clips = extremes(EXTREME_SECONDS, patient.encoder.sample_rate)
    for name, waveform in clips.items():
        try:
            patient.tokens([waveform])
        except EncoderError as error:
            broken[name] = str(error)
    values: dict[str, Value] = {"clips": [*clips], "not_finite": [*broken]}
    if broken:
        found = "; ".join(f"{name}: {reason}" for name, reason in broken.items())
        advice = "Bound what can overflow, and add a small number before each logarithm and division."
        return result("loud and faint", "fail", found, f"finite numbers. {advice}", **values)
    return result("loud and faint", "ok", f"{', '.join(clips)}: finite", "finite numbers", **values)


def _list(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:.3g}" for number in numbers)
