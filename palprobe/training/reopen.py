"""A run folder, opened again by its recipe: for scoring it on its own, long after training, on any machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from palprobe.errors import IdentityError, UnfinishedError, UsageError
from palprobe.files import differences, read_json
from palprobe.recipe import load_recipe
from palprobe.runs import Cell, Places
from palprobe.training.workspace import Plan, Workspace

SCORING = "scoring."


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
    for setting in settings:
        if not setting.startswith(SCORING):
            raise UsageError(f"--set {setting}: a finished run only takes {SCORING}… keys; train again for others.")
    if not (folder / "recipe.yaml").is_file() or not (folder / "identity.json").is_file():
        raise UnfinishedError(
            f"{folder} is no run folder: it has no recipe.yaml and identity.json. Name folders of runs/."
        )
    recipe = load_recipe(folder / "recipe.yaml", settings=settings)
    workspace = Workspace(recipe, places)
    cell = Cell(
        encoder=recipe.encoders[0],
        integration=recipe.integrations[0],
        llm=recipe.llm,
        task=recipe.tasks[0],
        seed=recipe.seeds[0],
        fold=None if recipe.folds is None else recipe.folds[0],
    )
    plan = workspace.plan(cell)
    lines = differences(read_json(folder / "identity.json"), plan.run.identity)
    if lines:
        raise IdentityError(f"{folder} was trained from something else ({'; '.join(lines)}). Train it again.")
    if plan.run.folder.name != folder.resolve().name:
        raise IdentityError(f"{folder} holds run {plan.run.id}; name the folder so, or it cannot be told from others.")
    return workspace, plan
