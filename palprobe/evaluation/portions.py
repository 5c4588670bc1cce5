"""What a result says of a run that was trained on a part of its training split: how much that is, and of how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from palprobe.stats.information import guess_bits
from palprobe.training.curriculum import Material
from palprobe.training.workspace import Plan, Workspace
from palprobe.types import Example


def portion_fields(workspace: Workspace, plan: Plan) -> dict[str, Any]:
    """`portion` of such a run, with what its answers would cost if they were guessed; nothing of another."""
    splits = plan.splits
    if not splits.block:
        return {}
    trained, rest = (
        workspace.usable_of(plan, Material(plan.cell.task, examples, plan.keys), what="train").examples
        for examples in (splits.train, (*splits.block, *splits.later))
    )
    whole = len(trained) + len(rest)
    return {"portion": {"examples": len(trained), "whole": whole, "guess_bits": _guessing(trained)}}


def _guessing(examples: Sequence[Example]) -> float | None:
    if not all(example.choices for example in examples):
        return None
    return sum(guess_bits(len(example.choices), len(set(example.references))) for example in examples)
