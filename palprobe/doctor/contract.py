"""Whether an encoder keeps the contract that every stage after it relies on: shapes, rates, and the same every time."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from palprobe.doctor.findings import Finding, Value, Verdict, result
from palprobe.doctor.modules import State, changed_state, in_training_mode, modules_in, parameters_of, state_of
from palprobe.doctor.patient import CLIP_SECONDS, SOUND_SECONDS, Patient
from palprobe.encoders.windows import encode_clips
from palprobe.errors import EncoderError

ROUNDING = 1e-4  # of the distance of two sounds: float32 sums in another order stay well below after dozens of layers
STEPS_OK = 1.0  # a clip may end within a time step
STEPS_BORNE = 3.0  # convolutions without padding lose the ends of a clip: Moonshine's up to 2.3 steps
LAYERS_SECONDS = 1.7
BATCH_SECONDS = (1.0, 3.1, 0.4)  # lengths that no padding makes equal
SHOWN = 3  # names or lengths in a message


def output(patient: Patient) -> Finding:
    """The least: one usual clip goes through."""
    (tokens,) = patient.tokens([patient.sound(CLIP_SECONDS)])
    num_tokens, dim = tokens.shape
    expected = f"finite floats, num_tokens × {patient.encoder.dim}"
    return result("output", "ok", f"{CLIP_SECONDS:g} s give {num_tokens} tokens × {dim}", expected)


def shape(patient: Patient) -> Finding:
    """Clips of all lengths, the shortest and one longer than a window among them."""
    whole = "" if patient.encoder.bands == 1 else f", whole time steps of {patient.encoder.bands}"
    expected = f"num_tokens × {patient.encoder.dim} for every length{whole}"
    counts = patient.num_tokens
    broken = {seconds: str(tokens) for seconds, tokens in counts.items() if isinstance(tokens, EncoderError)}
    broken |= {
        seconds: f"{tokens} tokens are no whole steps of {patient.encoder.bands}"
        for seconds, tokens in counts.items()
        if isinstance(tokens, int) and tokens % patient.encoder.bands
    }
    values: dict[str, Value] = {
        "seconds": [*counts],
        "tokens": [tokens if isinstance(tokens, int) else None for tokens in counts.values()],
    }
    if broken:
        lines = "; ".join(f"{seconds:.6g} s: {reason}" for seconds, reason in list(broken.items())[:SHOWN])
        advice = "Mend it, or raise min_samples: shorter clips are filled up with silence."
        return result("shape", "fail", lines, f"{expected}. {advice}", **values)
    text = ", ".join(f"{tokens} for {seconds:.3g} s" for seconds, tokens in counts.items())
    untried = ""
    if patient.encoder.max_seconds and max(counts) <= patient.encoder.max_seconds:
        untried = f"; nothing beyond one window of {patient.encoder.max_seconds:g} s was tried, it would take long"
    return result("shape", "ok", f"tokens: {text}{untried}", expected, **values)


def frame_rate(patient: Patient) -> Finding:
    """Tokens, bands and frame rate against the clip's length."""
    encoder = patient.encoder
    found = {seconds: tokens for seconds, tokens in patient.num_tokens.items() if isinstance(tokens, int)}
    if not found:
        raise EncoderError("no clip went through")
    off = {seconds: _steps_off(patient, seconds, tokens) for seconds, tokens in found.items()}
    worst = max(off, key=lambda seconds: abs(off[seconds]))
    span = found[worst] / encoder.bands / encoder.frame_rate
    steps = "tokens" if encoder.bands == 1 else f"tokens, {encoder.bands} to a step"
    text = f"{worst:.3g} s give {found[worst]} {steps}: {span:.4g} s at {encoder.frame_rate:g} Hz"
    deviation = round(abs(off[worst]), 6)  # 0.1 s at 30 Hz are 3.0000000000000004 steps
    verdict: Verdict = "ok" if deviation <= STEPS_OK else "warn" if deviation <= STEPS_BORNE else "fail"
    expected = "the clip's length within one time step"
    if verdict == "warn":
        expected += ". Fine if convolutions without padding lose the ends; else correct frame_rate or bands."
    if verdict == "fail":
        expected += ". Correct frame_rate or bands: both decide how features are pooled and counted."
    return result("frame rate", verdict, text, expected, steps_off=off[worst], at_seconds=worst)


def _steps_off(patient: Patient, seconds: float, tokens: int) -> float:
    """Time steps more or less than the length says, per window."""
    encoder = patient.encoder
    size = max(seconds, encoder.min_samples / encoder.sample_rate)
    windows = math.ceil(round(size / encoder.max_seconds, 6)) if encoder.max_seconds else 1
    return (tokens / encoder.bands - size * encoder.frame_rate) / windows


def frozen(patient: Patient) -> Finding:
    """Eval mode and no gradients, in every torch module that the object holds."""
    modules = modules_in(patient.encoder)
    training = in_training_mode(modules)
    trainable = sum(parameter.requires_grad for parameter in parameters_of(modules))
    values: dict[str, Value] = {
        "modules": len(modules),
        "in_training_mode": len(training),
        "trainable_tensors": trainable,
    }
    expected = "eval mode, requires_grad False"
    if training:
        names = ", ".join(training[:SHOWN])
        advice = "Call .eval(); a module in a plain list is not reached by its owner's .eval(), one in a ModuleList is."
        return result("frozen", "fail", f"in training mode: {names}", f"{expected}. {advice}", **values)
    if trainable:
        found = f"{trainable} tensors ask for gradients"
        return result("frozen", "warn", found, f"{expected}. Call .requires_grad_(False).", **values)
    found = f"{len(modules)} torch modules: no weights, dropout or batch norm in training mode"
    return result("frozen", "ok", found, expected, **values)


def state(before: State) -> Callable[[Patient], Finding]:
    """The check that encoding leaves weights and statistics as they were at the beginning."""

    def check(patient: Patient) -> Finding:
        changed = changed_state(before, state_of(modules_in(patient.encoder)))
        expected = "weights and buffers as before the first clip"
        if changed:
            advice = "Put batch norm into eval mode, or the features depend on which clips came before."
            found = f"changed by encoding: {', '.join(changed[:SHOWN])}"
            return result("state", "fail", found, f"{expected}. {advice}", tensors=len(before), changed=len(changed))
        return result("state", "ok", f"{len(before)} tensors unchanged", expected, tensors=len(before), changed=0)

    return check


def determinism(patient: Patient) -> Finding:
    """The same clip twice with another between, and once more with the encoder loaded anew."""
    waveform = patient.sound(SOUND_SECONDS)
    (first,) = patient.tokens([waveform])
    patient.tokens([patient.sound(SOUND_SECONDS, seed=1)])  # of which nothing may stay behind
    (again,) = patient.tokens([waveform])
    (anew,) = patient.tokens([waveform], patient.load())
    changes = {"again": _difference(patient, first, again), "loaded_anew": _difference(patient, first, anew)}
    expected = "the same features each time, bit for bit"
    words = {"again": "a second time", "loaded_anew": "loaded anew"}
    text = "; ".join(f"{words[name]}: {_difference_text(value)}" for name, value in changes.items())
    verdict = _verdict(max(changes.values()))
    if verdict == "ok":
        return result("determinism", verdict, "a second time and loaded anew: equal", expected, **changes)
    advice = "Look for dropout, random crops or dither, and for weights that are drawn and not loaded."
    return result("determinism", verdict, text, f"{expected}. {advice}", **changes)


def batch(patient: Patient) -> Finding:
    """Clips of different lengths alone and together: padding must not leak."""
    waveforms = [patient.sound(patient.within_window(seconds), seed=seed) for seed, seconds in enumerate(BATCH_SECONDS)]
    together = patient.tokens(waveforms)
    worst = max(
        _difference(patient, patient.tokens([waveform])[0], tokens)
        for waveform, tokens in zip(waveforms, together, strict=True)
    )
    expected = "the same features alone and in a batch, bit for bit"
    verdict = _verdict(worst)
    if verdict == "ok":
        found = f"{len(waveforms)} clips of different lengths, alone and together: equal"
        return result("batch", verdict, found, expected, change=worst)
    advice = "Encode one clip at a time; padding to the longest leaks into the others."
    found = f"alone and together: {_difference_text(worst)}"
    return result("batch", verdict, found, f"{expected}. {advice}", change=worst)


def layers(patient: Patient) -> Finding:
    """All layers from one pass, in the order asked for, the last one being the output."""
    encoder = patient.encoder
    expected = "one shape for all layers, the last being the output"
    if not encoder.depth:
        return result("layers", "ok", "one, the output", expected, depth=0)
    waveforms = [patient.sound(patient.within_window(LAYERS_SECONDS))]
    numbers = list(range(encoder.depth + 1))
    values = encode_clips(encoder, waveforms, numbers)[0].features.values  # (layers, T, D)
    turned = encode_clips(encoder, waveforms, numbers[::-1])[0].features.values
    last = encode_clips(encoder, waveforms, [encoder.depth])[0].features.values[0]
    advice = "encode(waveforms, layers) gives a row for each number in `layers`, in that order."
    if not torch.equal(values[-1], last):
        found = f"@{encoder.depth} among all layers is not @{encoder.depth} alone"
        return result("layers", "fail", found, f"{expected}. {advice}", depth=encoder.depth)
    if not torch.equal(values.flip(0), turned):
        found = "layers asked for from last to first come in another order"
        return result("layers", "fail", found, f"{expected}. {advice}", depth=encoder.depth)
    if same := [number for number in numbers[1:] if torch.equal(values[number], values[number - 1])]:
        found = f"@{same[0] - 1} and @{same[0]} are equal"
        advice = "Check that each block's output is collected, not one tensor that is changed in place."
        return result("layers", "warn", found, f"different layers differ. {advice}", depth=encoder.depth)
    return result("layers", "ok", f"@0 to @{encoder.depth}, all of one shape", expected, depth=encoder.depth)


def assumptions(patient: Patient) -> Finding:
    """What palprobe had to assume of somebody's class."""
    notes = [str(note) for note in getattr(patient.encoder, "notes", ())]
    expected = "everything declared by the class"
    if notes:
        return result("assumptions", "warn", "; ".join(notes), f"{expected}. Read whether it holds.", notes=len(notes))
    return result("assumptions", "ok", "none", expected, notes=0)


def _difference(patient: Patient, left: torch.Tensor, right: torch.Tensor) -> float:
    """0 where bit-equal; another number of tokens counts as another sound."""
    if left.shape != right.shape:
        return 1.0
    return 0.0 if torch.equal(left, right) else max(patient.change(left, right), torch.finfo(torch.float32).tiny)


def _difference_text(value: float) -> str:
    return "equal" if value == 0 else f"changed by {value:.2g}"


def _verdict(value: float) -> Verdict:
    return "ok" if value == 0 else "warn" if value <= ROUNDING else "fail"
