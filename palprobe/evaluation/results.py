"""Where a run's results lie, and whether one of the same identity is there; needs neither features nor weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from palprobe.errors import IdentityError, PalprobeError
from palprobe.evaluation.xares import judging_fields
from palprobe.files import read_json
from palprobe.recipe import ScoringSection
from palprobe.specs import split_encoders
from palprobe.training.workspace import Plan
from palprobe.types import Split

VERSION = 1  # of the scorer
NO_CONTROL = "none"  # the trained probe with its own audio


def control_of(dropped: Sequence[str]) -> str:
    """The name of the control that leaves some of the encoders out; `none` where all are heard."""
    return f"without {'+'.join(dropped)}" if dropped else NO_CONTROL


def evaluation_folder(plan: Plan, split: Split, section: ScoringSection, dropped: Sequence[str] = ()) -> Path:
    name = f"{split}-{section.method}"
    if dropped:  # by their places, as a spec may hold what no folder's name may
        names = split_encoders(plan.cell.encoder)
        name += "-without-" + "-".join(str(names.index(encoder) + 1) for encoder in dropped)
    return plan.run.folder / "eval" / name


def is_evaluated(plan: Plan, split: Split, section: ScoringSection, dropped: Sequence[str] = ()) -> bool:
    """Whether a result of the same identity is there; needs neither features nor weights."""
    path = evaluation_folder(plan, split, section, dropped) / "result.json"
    if not path.is_file():
        return False
    result = read_json(path)
    if not isinstance(result, dict) or not {"run_id", "identity"} <= result.keys():
        raise PalprobeError(f"{path} is damaged: it lacks run_id and identity. Delete it and run the command again.")
    if result["run_id"] != plan.run.id:
        raise IdentityError(
            f"{path} is of run {result['run_id']}, not of {plan.run.id}. Move it away and evaluate again."
        )
    return bool(result["identity"] == evaluation_identity(plan, split, section, dropped))


def evaluation_identity(
    plan: Plan, split: Split, section: ScoringSection, dropped: Sequence[str] = ()
) -> dict[str, Any]:
    generated = section.method == "generation"
    decoding: dict[str, Any] = {"max_new_tokens": section.max_new_tokens} if generated else {}
    if decoding and section.beams > 1:  # greedy results, which are older than beams, do not tell
        decoding["beams"] = section.beams
    if decoding and section.repetition_penalty != 1:
        decoding["repetition_penalty"] = section.repetition_penalty
    return {
        "run": plan.run.id,
        "split": split,
        "scoring": section.method,
        "control": control_of(dropped),
        "scorer": VERSION,
        "bootstrap_draws": section.bootstrap_draws,
        **decoding,
        **judging_fields(plan.examples(split)),
    }
