"""What stands beside a row: the same probe without its audio, and simpler ones on the same task."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from palprobe.recipe.rigor import BLIND, NO_CONTROL
from palprobe.report.contest import Place
from palprobe.report.sides import Side

FLOOR = "floor"
FLOOR_ENCODER = "logmel"
EVALUATED = ("shuffled", "silence", "gaussian")  # a trained probe tested on other audio
VERBALISER = "verbaliser"
POOLED = ("linear", "knn")  # integrations without an LLM
CONTROLS = (BLIND, *EVALUATED, VERBALISER)
UNTRAINED = re.compile(r"(random\d*):(.+)", re.DOTALL)
UNTRAINED_NAME = re.compile(r"random\d*")
NO_LLM = "none"

Beside = Mapping[str, Mapping[Place, Side]]


def is_pooled(side: Side) -> bool:
    """Whether it is a classifier on pooled features, without an LLM."""
    return side.row.llm == NO_LLM


def beside(rows: Sequence[Side], others: Sequence[Side]) -> Beside:
    """What stands beside each row, by name in the order in which it is shown; names without any are left out.

    Args:
        rows: probes with their own audio, of one contest.
        others: all sides of the same task, split and scoring.
    """
    model = (rows[0].row.llm, rows[0].row.trainable)
    same_model = [side for side in others if (side.row.llm, side.row.trainable) == model]
    found: dict[str, dict[Place, Side]] = {BLIND: _blind(rows, same_model)}
    for control in (*EVALUATED, VERBALISER):
        found[control] = {side.place: side for side in same_model if side.row.control == control}
    found |= {FLOOR: _floor(rows), **_untrained(rows), **_pooled(rows, others)}
    places = {side.place for side in rows}
    kept = {name: {place: side for place, side in by.items() if place in places} for name, by in found.items()}
    return {name: by for name, by in kept.items() if by}


def _blind(rows: Sequence[Side], others: Sequence[Side]) -> dict[Place, Side]:
    """One for all encoders of an integration."""
    by_integration = {side.row.integration: side for side in others if side.row.control == BLIND}
    return {side.place: by_integration[side.row.integration] for side in rows if side.row.integration in by_integration}


def _floor(rows: Sequence[Side]) -> dict[Place, Side]:
    by_integration = {side.row.integration: side for side in rows if side.row.encoder == FLOOR_ENCODER}
    learned = [side for side in rows if side.row.encoder != FLOOR_ENCODER]
    return {
        side.place: by_integration[side.row.integration] for side in learned if side.row.integration in by_integration
    }


def _untrained(rows: Sequence[Side]) -> dict[str, dict[Place, Side]]:
    """'random1' → the place of each trained encoder → the same architecture with random weights."""
    found: dict[str, dict[Place, Side]] = {}
    for side in rows:
        if match := UNTRAINED.fullmatch(side.row.encoder):
            found.setdefault(match[1], {})[match[2], side.row.integration] = side
    return dict(sorted(found.items()))


def _pooled(rows: Sequence[Side], others: Sequence[Side]) -> dict[str, dict[Place, Side]]:
    """The probes without an LLM on the features of the same encoder, beside each of its integrations."""
    if is_pooled(rows[0]):
        return {}
    plain = [side for side in others if is_pooled(side) and side.row.control == NO_CONTROL]
    by_encoder = {(side.row.integration, side.row.encoder): side for side in plain}
    return {
        name: {
            side.place: by_encoder[name, side.row.encoder] for side in rows if (name, side.row.encoder) in by_encoder
        }
        for name in POOLED
    }
