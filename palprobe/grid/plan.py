"""The grid as shell lines, stage by stage, for any machines that share the folders."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from palprobe.controls.pooled import pooled_cells
from palprobe.errors import UsageError
from palprobe.evaluation.measures import unused_keys
from palprobe.evaluation.results import READS
from palprobe.features.constant import is_blind
from palprobe.grid.asked import Asked, asked_of
from palprobe.grid.cells import cells_of, planned
from palprobe.grid.check import check_questions
from palprobe.grid.pooled import pooled_lines
from palprobe.recipe.rigor import NO_CONTROL
from palprobe.runs import SCORING, Cell, extract_command, place_flags, section_flags, train_command
from palprobe.tasks.kinds import KINDS
from palprobe.training.workspace import Plan, Workspace
from palprobe.types import Split

STAGES = ("extract", "train", "eval")


def plan_lines(workspace: Workspace, stage: str | None, tell: Callable[[str], object] = lambda _: None) -> list[str]:
    """Shell lines of one stage, or of all in order; free to run in any order within a stage.

    Args:
        workspace: of the complete recipe.
        stage: extract, train or eval; None for all.
        tell: gets a sentence on cells that cannot be planned yet.

    Raises:
        UsageError: no such stage, or a task on stdin, which later lines could not read.
    """
    if stage is not None and stage not in STAGES:
        raise UsageError(f"--plan={stage}: choose one of {', '.join(STAGES)}, or --plan alone for all.")
    recipe, places = workspace.recipe, workspace.places
    if "-" in recipe.tasks:
        raise UsageError("--plan needs a manifest file: a task on stdin cannot be read again by the planned commands.")
    check_questions(workspace)
    cells = [(cell, planned(workspace, cell)) for cell in cells_of(workspace)]
    if later := sum(plan is None for _, plan in cells):
        tell(
            f"palprobe: {later} blind runs are not in the plan: how much they are shown is known after extraction. "
            "Plan again then, or leave them to compare."
        )
    lines: dict[str, list[str]] = {
        "extract": [
            extract_command(encoder, task, recipe, places)
            for encoder in recipe.single_encoders
            for task in dict.fromkeys([*recipe.tasks, *recipe.train.named_tasks])
        ],
        "train": [train_command(_counted(cell, plan), recipe, places) for cell, plan in cells if plan is not None],
    }
    if stage in (None, "eval"):
        lines["eval"] = [line for _, plan in cells if plan is not None for line in _eval_lines(workspace, plan)]
    pooled = pooled_lines(workspace, pooled_cells(workspace, recipe.wanted_controls))
    chosen = STAGES if stage is None else (stage,)
    return [line for name in chosen for line in dict.fromkeys([*lines[name], *pooled.get(name, [])])]


def _counted(cell: Cell, plan: Plan) -> Cell:
    """The cell as it was asked for, a blind one with the number of its tokens."""
    return plan.cell if is_blind(cell.encoder) else cell


def _eval_lines(workspace: Workspace, plan: Plan) -> list[str]:
    """One for each split, with all that is heard of it."""
    heard: dict[Split, list[str]] = {}
    for asked in asked_of(workspace, plan, "test"):
        heard.setdefault(asked.split, []).append(asked.heard)
    return [_eval_line(workspace, plan, split, names) for split, names in heard.items()]


def _eval_line(workspace: Workspace, plan: Plan, split: Split, heard: list[str]) -> str:
    recipe = workspace.recipe
    methods = [str(one.section.method) for one in Asked(split).evaluations(plan)]
    words = ["palprobe", "eval", str(plan.run.folder), "--scoring", ",".join(methods)]
    others = [key.removeprefix(SCORING) for key, method in READS.items() if method not in methods]
    others += unused_keys(KINDS[plan.task.kind].metrics)
    words += section_flags(recipe, "scoring", without=("method", *others))
    words += [] if split == "test" else ["--split", split]
    words += [] if heard == [NO_CONTROL] else ["--control", ",".join(heard)]
    return shlex.join([*words, *place_flags("eval", workspace.places)])
