"""A run folder, opened again by its recipe: for scoring it on its own, long after training, on any machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from palprobe.errors import IdentityError
from palprobe.files import differences, read_json
from palprobe.recipe.rigor import NO_CONTROL
from palprobe.runs import Cell, Places, Run, run_recipe
from palprobe.training.workspace import Plan, Workspace


def reopen(folder: Path, places: Places, settings: Sequence[str] = ()) -> tuple[Workspace, Plan]:
    """The workspace and plan that a run was made from.

    Args:
        folder: the run.
        places: where features and data are now.
        settings: `scoring.…=…` lines; anything else is what the run was trained with.

    Raises:
        UsageError: a setting that belongs to training.
        UnfinishedError: this is no run folder, or training did not begin.
        IdentityError: what the names stand for now (data, features, weights) is not what was trained on.
    """
    recipe = run_recipe(folder, settings)
    workspace = Workspace(recipe, places)
    cell = Cell(
        encoder=recipe.encoders[0],
        integration=recipe.integrations[0],
        llm=recipe.llm,
        task=recipe.tasks[0],
        seed=recipe.training_seeds[0],
        fold=None if recipe.folds is None else recipe.folds[0],
        control=(recipe.controls or [NO_CONTROL])[0],  # runs of before say nothing of controls
    )
    plan = workspace.plan(cell)
    check_same(folder, plan.run)
    return workspace, plan


def check_same(folder: Path, run: Run) -> None:
    """Raises IdentityError unless the folder holds that run, under its name."""
    lines = differences(read_json(folder / "identity.json"), run.identity)
    if lines:
        raise IdentityError(f"{folder} was trained from something else ({'; '.join(lines)}). Train it again.")
    if run.folder.name != folder.resolve().name:
        raise IdentityError(f"{folder} holds run {run.id}; name the folder so, or it cannot be told from others.")
