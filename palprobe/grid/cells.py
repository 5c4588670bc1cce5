"""The cells that a recipe asks for, in order, controls after what they are controls of; the examples that they need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from palprobe.controls.pooled import pooled_refusals
from palprobe.controls.rigor import without_untrained
from palprobe.errors import UnfinishedError
from palprobe.files import digest
from palprobe.recipe.rigor import BLIND, NO_CONTROL, PORTIONS, VERBALISER
from palprobe.recipe.sweep import Variant
from palprobe.runs import Cell
from palprobe.tasks.controls import not_applicable
from palprobe.tasks.portions import portion_name, portion_shares, share_of
from palprobe.training.workspace import Plan, Workspace
from palprobe.types import Example


def encoders_of(workspace: Workspace) -> list[str]:
    """The encoders of the recipe, those of `@all` one for each layer."""
    return [encoder for text in workspace.recipe.encoders for encoder in workspace.encoders(text)]


def cells_of(workspace: Workspace) -> list[Cell]:
    """The grid in order, and then the runs that are its controls."""
    return [*compared_cells(workspace), *control_cells(workspace)]


def compared_cells(workspace: Workspace) -> list[Cell]:
    """Encoders, then integrations, the combinations of a sweep, tasks, seeds and folds."""
    recipe = workspace.recipe
    return [
        cell
        for encoder, integration in product(encoders_of(workspace), recipe.integrations)
        for variant in workspace.variants(encoder, integration)
        for cell in _cells(workspace, encoder, integration, variant)
    ]


def control_cells(workspace: Workspace) -> list[Cell]:
    """Those of the recipe's controls that are trained runs of their own; those that mean nothing here are left out."""
    wanted, found = workspace.recipe.wanted_controls, list[Cell]()
    if BLIND in wanted:
        found += _blind_cells(workspace)
    if VERBALISER in wanted:
        found += _controlled(workspace, VERBALISER)
    if PORTIONS in wanted:
        found += _portion_cells(workspace)
    found += [cell for control in wanted if share_of(control) for cell in _controlled(workspace, control)]
    return list(dict.fromkeys(found))


def planned(workspace: Workspace, cell: Cell) -> Plan | None:
    """The plan of a cell; None of a blind one as long as not all features are there that decide how much it is shown.

    Raises:
        PalprobeError: any other reason why the cell cannot be run.
    """
    try:
        return workspace.plan(cell)
    except UnfinishedError:
        if cell.control == BLIND:
            return None
        raise


def refusals(workspace: Workspace) -> list[str]:
    """Which controls mean nothing for which tasks, and why."""
    wanted = workspace.recipe.wanted_controls
    conditional = [name for name in wanted if name in (VERBALISER, PORTIONS) or share_of(name)]
    asked = product(conditional, workspace.recipe.tasks)
    told = [f"{control} on {task} {why}" for control, task in asked if (why := _refusal(workspace, task, control))]
    told += [f"random: {name} has no parameters to draw anew" for name in without_untrained(workspace.recipe)]
    return [*told, *pooled_refusals(workspace, wanted)]


def examples_of(workspace: Workspace, tasks: Sequence[str]) -> list[Example]:
    """All examples that any fold of these tasks uses, `limit` applied; of a task that is only trained on, no others."""
    chosen: dict[tuple[str, str], Example] = {}
    for task in tasks:
        only_trained = workspace.roles(task) == ["train"]
        for fold in workspace.folds(task):
            splits = workspace.splits(task, fold)
            used = splits.train if only_trained else (*splits.train, *splits.validation, *splits.test)
            chosen |= {(task, example.id): example for example in used}
    return list(chosen.values())


def _cells(
    workspace: Workspace, encoder: str, integration: str, variant: Variant, control: str = NO_CONTROL
) -> Iterator[Cell]:
    recipe = workspace.recipe
    llm = variant.apply(recipe).llm
    for task, seed in product(recipe.tasks, recipe.training_seeds):
        for fold in workspace.folds(task):
            yield Cell(encoder, integration, llm, task, seed, fold, variant, control)


def _blind_cells(workspace: Workspace) -> Iterator[Cell]:
    """One for all encoders of an integration and combination: how many tokens it is shown is known after extraction."""
    known: set[str] = set()
    for encoder, integration in product(encoders_of(workspace), workspace.recipe.integrations):
        for variant in workspace.variants(encoder, integration):
            for choice in workspace.chosen(encoder, integration, variant).choices:
                what = digest([choice.name, variant.settings])
                if what not in known:
                    known.add(what)
                    yield from _cells(workspace, BLIND, choice.name, variant, BLIND)


def _controlled(workspace: Workspace, control: str) -> Iterator[Cell]:
    """Every compared cell once more under a control, where that means something."""
    for cell in compared_cells(workspace):
        if _refusal(workspace, cell.task, control) is None:
            yield replace(cell, control=control)


def _portion_cells(workspace: Workspace) -> Iterator[Cell]:
    """Every compared cell once more for each part of its training split."""
    for cell in _controlled(workspace, PORTIONS):
        for share in portion_shares(workspace.splits(cell.task, cell.fold)):
            yield replace(cell, control=portion_name(share))


def _refusal(workspace: Workspace, task: str, control: str) -> str | None:
    if workspace.recipe.train.named_tasks:
        return "does not apply: training is on tasks that are named."
    return not_applicable(workspace.splits(task, workspace.folds(task)[0]), control)
