"""Linear and nearest-neighbour probes as cells: how much of a score is in the encoder, with no LLM to help.

They learn from the same training clips and cached features as the other probes of a task, choose their one setting on
its validation clips, and leave a run folder like any other. Nothing in them is drawn, so there is one seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from palprobe.controls.pooled_probes import NUMBERS, STRENGTHS
from palprobe.controls.pooled_questions import not_applicable
from palprobe.controls.pooled_vectors import PooledVectors
from palprobe.errors import RecipeError, UsageError
from palprobe.evaluation.results import Evaluation, evaluation_of
from palprobe.recipe import IntegrationSection, PromptSection, Recipe
from palprobe.recipe.training import TrainSection
from palprobe.runs import Cell, Places, run_of, run_recipe
from palprobe.training.planned import Planned, task_digest
from palprobe.training.reopen import check_same
from palprobe.training.workspace import Workspace
from palprobe.types import Split

VERSION = 1  # of the vectors and the probes; part of every run's identity
LINEAR, KNN = "linear", "knn"
NO_LLM = "none"
SETTINGS = {LINEAR: STRENGTHS, KNN: NUMBERS}  # that validation chooses among


@dataclass(frozen=True, eq=False)
class PooledCell(Planned):
    """A pooled probe of one encoder on one task and fold, with everything that its names stand for."""

    vectors: PooledVectors  # shared by the cells of a grid

    @property
    def kind(self) -> str:
        """`linear` or `knn`."""
        return self.cell.integration

    def evaluation(self, split: Split) -> Evaluation:
        """Of that split, there or not."""
        return evaluation_of(self, split, self.recipe.scoring)


def pooled_cells(workspace: Workspace, names: Sequence[str]) -> list[PooledCell]:
    """The cells of those probes on every encoder and task of the recipe; tasks that they cannot answer are left out.

    Args:
        workspace: of the whole grid.
        names: of probes, and perhaps of other controls.
    """
    kinds, vectors = _kinds(names), PooledVectors()
    tasks = [task for task in workspace.recipe.tasks if kinds and _refusal(workspace, task) is None]
    encoders = [encoder for text in workspace.recipe.encoders for encoder in workspace.encoders(text)]
    return [
        plan_pooled(workspace, Cell(encoder, kind, NO_LLM, task, 0, fold), vectors)
        for encoder, task in product(encoders, tasks)
        for fold, kind in product(workspace.folds(task), kinds)
    ]


def pooled_refusals(workspace: Workspace, names: Sequence[str]) -> list[str]:
    """Which of those probes cannot answer which tasks, and why: a sentence for each task."""
    kinds = _kinds(names)
    reasons = {task: _refusal(workspace, task) for task in workspace.recipe.tasks if kinds}
    return [f"{' and '.join(kinds)} on {task}: {reason}." for task, reason in reasons.items() if reason]


def plan_pooled(workspace: Workspace, cell: Cell, vectors: PooledVectors) -> PooledCell:
    """Everything about a cell but its features.

    Args:
        workspace: whose recipe names the encoder and the task.
        cell: whose integration is one of SETTINGS.
        vectors: shared with other cells, so that none is made twice.

    Raises:
        UsageError: such a probe cannot answer the task.
        PalprobeError: any name or file with which the cell cannot be run.
    """
    splits = workspace.splits(cell.task, cell.fold)
    if reason := not_applicable(splits):
        raise UsageError(f"{cell.integration} on {cell.task}: {reason}. Name another integration or task.")
    keys = workspace.clip_keys(cell.task, (*splits.train, *splits.validation, *splits.test))
    features = workspace.features(cell.encoder)
    fields = [[store.fields for store in stores] for stores in features]
    identity: dict[str, Any] = {
        "pooled": VERSION,
        "probe": cell.integration,
        "settings": list(SETTINGS[cell.integration]),
        "features": fields[0] if len(fields) == 1 else fields,
        "task": task_digest(splits, keys),
        "fold": cell.fold,
    }
    run, task = run_of(workspace.places, identity), workspace.task(cell.task)
    return PooledCell(cell, _recipe(cell, workspace.recipe), task, splits, keys, features, run, vectors)


def is_pooled(recipe: Recipe) -> bool:
    """Whether a recipe of one run is that of a pooled probe."""
    return recipe.integrations[0] in SETTINGS


def only_pooled(workspace: Workspace) -> PooledCell:
    """The one cell of a recipe of one run.

    Raises:
        as `plan_pooled`; or UsageError: the recipe asks for what such a probe does not have.
    """
    recipe, kind = workspace.recipe, workspace.recipe.integrations[0]
    fold = None if recipe.folds is None else recipe.folds[0]
    if recipe.train.named_tasks:
        raise UsageError(
            f"{kind} learns from the task itself; leave --train-on {','.join(recipe.train.named_tasks)} out."
        )
    if recipe.seeds not in (None, [0]):
        raise UsageError(f"{kind} draws nothing, so a seed changes nothing; leave --seed {recipe.seeds[0]} out.")
    return plan_pooled(workspace, Cell(recipe.encoders[0], kind, NO_LLM, recipe.tasks[0], 0, fold), PooledVectors())


def reopen_pooled(folder: Path, places: Places, settings: Sequence[str] = ()) -> tuple[Workspace, PooledCell]:
    """The workspace and cell that a run was made from.

    Args:
        folder: the run.
        places: where features and data are now.
        settings: `scoring.…=…` lines.

    Raises:
        RecipeError: a setting asks for an LLM.
        IdentityError: what the names stand for now is not what the probe was fitted to.
    """
    recipe = run_recipe(folder, settings)
    if (recipe.scoring.method, recipe.scoring.rule) not in (("likelihood", "sum"), (["likelihood"], "sum")):
        raise RecipeError(
            f"{folder} is a {recipe.integrations[0]} probe: it has probabilities of choices, which no rule corrects, "
            "and writes no text. Leave --scoring and scoring.rule out."
        )
    workspace = Workspace(recipe, places)
    cell = only_pooled(workspace)
    check_same(folder, cell.run)
    return workspace, cell


def _kinds(names: Sequence[str]) -> list[str]:
    return [kind for kind in SETTINGS if kind in names]


def _refusal(workspace: Workspace, task: str) -> str | None:
    """Why pooled probes cannot answer a task; None where they can, on every fold."""
    found = (not_applicable(workspace.splits(task, fold)) for fold in workspace.folds(task))
    return next((reason for reason in found if reason is not None), None)


def _recipe(cell: Cell, recipe: Recipe) -> Recipe:
    """The recipe of this cell alone, without what it does not read; no rule corrects its probabilities."""
    scoring = recipe.scoring.model_copy(update={"method": "likelihood", "rule": "sum"})
    unread = {"integration": IntegrationSection(), "prompt": PromptSection(), "train": TrainSection()}
    return cell.recipe(recipe).model_copy(update={"scoring": scoring, **unread})
