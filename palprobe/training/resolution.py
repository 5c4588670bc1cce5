"""What a cell's names come to: the integration that each encoder takes, and the options that make a difference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

from palprobe.integrations.routing import PAL, Chosen
from palprobe.recipe import Recipe
from palprobe.runs import Cell, trainable_of
from palprobe.specs import split_encoders
from palprobe.training.curriculum import WITHOUT_EFFECT
from palprobe.types import Kind


def options(chosen: Chosen, recipe: Recipe) -> dict[str, Any]:
    """What tells combinations of a sweep apart; the recipe is of one of them alone."""
    train = recipe.train.model_dump(exclude=WITHOUT_EFFECT) | {"trainable": trainable_of(recipe)}
    return {"integration": chosen.identity, "train": train}


def resolved(cell: Cell, chosen: Chosen, recipe: Recipe) -> tuple[Cell, Recipe]:
    """The cell under the name that its integration comes to, and the recipe that gives this cell alone.

    `pal` of one encoder is the lal or plits cell itself, and asking for that one finds the same run.
    """
    section = chosen.choices[0].section
    if chosen.name == PAL:  # routes of encoders of other cells are none of this one's business
        known = {*split_encoders(cell.encoder), *get_args(Kind)}
        route = {name: way for name, way in recipe.integration.route.items() if name in known}
        section = recipe.integration.model_copy(update={"route": route})
    cell = replace(cell, integration=chosen.name)
    return cell, cell.recipe(recipe).model_copy(update={"integration": section})
