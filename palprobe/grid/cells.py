"""The cells that a recipe asks for, in order, and the examples that they need."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from palprobe.runs import Cell
from palprobe.training.workspace import Workspace
from palprobe.types import Example


def encoders_of(workspace: Workspace) -> list[str]:
    """The encoders of the recipe, those of `@all` one for each layer."""
    return [encoder for text in workspace.recipe.encoders for encoder in workspace.encoders(text)]


def cells_of(workspace: Workspace) -> list[Cell]:
    """The grid in order: encoders, then integrations, the combinations of a sweep, tasks, seeds and folds."""
    recipe = workspace.recipe
    return [
        Cell(encoder, integration, variant.apply(recipe).llm, task, seed, fold, variant)
        for encoder, integration in product(encoders_of(workspace), recipe.integrations)
        for variant, task, seed in product(workspace.variants(encoder, integration), recipe.tasks, recipe.seeds)
        for fold in workspace.folds(task)
    ]


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
