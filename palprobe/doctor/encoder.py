"""One encoder, examined before it is trusted: a list of checks, each a verdict with what was found and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from palprobe.doctor import contract, cost, hearing
from palprobe.doctor.findings import NOT_EXAMINED, EncoderReport, Finding, Value, result
from palprobe.doctor.modules import State, modules_in, state_of
from palprobe.doctor.patient import Patient
from palprobe.encoders import load_encoder
from palprobe.encoders.options import stored_layers
from palprobe.errors import PalprobeError
from palprobe.grid.watcher import Watcher
from palprobe.recipe import Recipe
from palprobe.specs import parse_encoder
from palprobe.types import Encoder


@dataclass(frozen=True)
class Check:
    """A check, and those that must have passed for it to mean something."""

    name: str
    run: Callable[[Patient], Finding]
    needs: tuple[str, ...] = ()


def checks(before: State) -> tuple[Check, ...]:
    """All checks, each after those that it needs.

    What compares two encodings needs an encoder that does the same each time; what looks for the place of a change
    needs one that changes at all.

    Args:
        before: the encoder's state before its first clip.
    """
    return (
        Check("output", contract.output),
        Check("assumptions", contract.assumptions),
        Check("shape", contract.shape, ("output",)),
        Check("frame rate", contract.frame_rate, ("output",)),
        Check("frozen", contract.frozen),
        Check("state", contract.state(before), ("output",)),
        Check("determinism", contract.determinism, ("output", "frozen", "state")),
        Check("batch", contract.batch, ("determinism",)),
        Check("layers", contract.layers, ("determinism",)),
        Check("response", hearing.response, ("determinism",)),
        Check("coverage", hearing.coverage, ("response",)),
        Check("long clips", hearing.long_clips, ("coverage",)),
        Check("trailing silence", hearing.trailing_silence, ("response",)),
        Check("gain", hearing.gain, ("response",)),
        Check("silence", hearing.silence, ("output",)),
        Check("loud and faint", hearing.loud_and_faint, ("output",)),
        Check("store dtype", cost.store_dtype, ("output", "loud and faint")),
        Check("parameters", cost.parameters),
        Check("speed", cost.speed, ("output",)),
        Check("cache size", cost.cache_size),
        Check("reading", cost.reading, ("store dtype",)),
    )


def encoder_report(spec: str, recipe: Recipe, *, device: str, watcher: Watcher | None = None) -> EncoderReport:
    """Loads an encoder and examines it; nothing is written but a small feature store in a temporary folder.

    Args:
        spec: the encoder, as on the command line.
        recipe: its `encoder` and `store` sections count.
        device: a torch device.
        watcher: told of each check.

    Raises:
        UsageError, WeightsError, EncoderError: the encoder cannot be loaded at all.
    """
    parsed = parse_encoder(spec)
    load = partial(load_encoder, parsed, recipe.encoder, device=device)
    encoder = load()
    stores = stored_layers(parsed, encoder.depth)
    patient = Patient(encoder, load, stores[-1], recipe.store.dtype, len(stores))
    return EncoderReport(_about(encoder, spec, device), tuple(examine(patient, watcher)))


def examine(patient: Patient, watcher: Watcher | None = None) -> list[Finding]:
    """Every check in turn; what an encoder raises in one is that check's finding, and the others go on."""
    found: list[Finding] = []
    causes: dict[str, str] = {}  # check that did not pass → the check that failed first
    todo = checks(state_of(modules_in(patient.encoder)))
    for number, check in enumerate(todo):
        if watcher:
            watcher.stage(f"checking {check.name}", total=len(todo))
            watcher.advance(number)
        found.append(_finding(check, patient, causes))
        if found[-1].verdict == "fail":
            causes[check.name] = check.name
    return found


def _finding(check: Check, patient: Patient, causes: dict[str, str]) -> Finding:
    if cause := next((causes[name] for name in check.needs if name in causes), None):
        causes[check.name] = cause
        found = f"{NOT_EXAMINED}, for {cause!r} failed"
        return result(check.name, "warn", found, f"Mend what {cause!r} found first: this would tell nothing.")
    try:
        return check.run(patient)
    except PalprobeError as error:
        return result(check.name, "fail", str(error), "no error. Mend what it names.")


def _about(encoder: Encoder, spec: str, device: str) -> Mapping[str, Value]:
    return {
        "encoder": spec,
        "device": device,
        "kind": encoder.kind,
        "sample_rate": encoder.sample_rate,
        "frame_rate": encoder.frame_rate,
        "bands": encoder.bands,
        "dim": encoder.dim,
        "depth": encoder.depth,
        "min_samples": encoder.min_samples,
        "max_seconds": encoder.max_seconds,
    }
