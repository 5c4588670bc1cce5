"""The grid as shell lines, stage by stage, for any machines that share the folders."""

from __future__ import annotations

import shlex

from palprobe.errors import UsageError
from palprobe.evaluation.measures import unused_keys
from palprobe.evaluation.results import READS, scorings
from palprobe.grid.cells import cells_of
from palprobe.grid.check import check_questions
from palprobe.runs import SCORING, Cell, extract_command, place_flags, section_flags, train_command
from palprobe.tasks.kinds import KINDS
from palprobe.training.workspace import Workspace

STAGES = ("extract", "train", "eval")


def plan_lines(workspace: Workspace, stage: str | None) -> list[str]:
    """Shell lines of one stage, or of all in order; free to run in any order within a stage.

    Raises:
        UsageError: no such stage, or a task on stdin, which later lines could not read.
    """
    if stage is not None and stage not in STAGES:
        raise UsageError(f"--plan={stage}: choose one of {', '.join(STAGES)}, or --plan alone for all.")
    recipe, places = workspace.recipe, workspace.places
    if "-" in recipe.tasks:
        raise UsageError("--plan needs a manifest file: a task on stdin cannot be read again by the planned commands.")
    check_questions(workspace)
    cells = cells_of(workspace)
    lines: dict[str, list[str]] = {
        "extract": [
            extract_command(encoder, task, recipe, places)
            for encoder in recipe.single_encoders
            for task in dict.fromkeys([*recipe.tasks, *recipe.train.named_tasks])
        ],
        "train": [train_command(cell, recipe, places) for cell in cells],
    }
    if stage in (None, "eval"):
        lines["eval"] = [_eval_line(workspace, cell) for cell in cells]
    chosen = STAGES if stage is None else (stage,)
    return [line for name in chosen for line in dict.fromkeys(lines[name])]


def _eval_line(workspace: Workspace, cell: Cell) -> str:
    plan, recipe = workspace.plan(cell), workspace.recipe
    methods = [str(section.method) for section in scorings(recipe.scoring, plan.task.kind)]
    words = ["palprobe", "eval", str(plan.run.folder), "--scoring", ",".join(methods)]
    others = [key.removeprefix(SCORING) for key, method in READS.items() if method not in methods]
    others += unused_keys(KINDS[plan.task.kind].metrics)
    words += section_flags(recipe, "scoring", without=("method", *others))
    return shlex.join([*words, *place_flags("eval", workspace.places)])
