"""The work of the grid: extract, train and evaluate what is missing, under the eyes of a watcher."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from palprobe.controls.pooled import pooled_cells
from palprobe.distributed import resolve_device
from palprobe.errors import PalprobeError
from palprobe.evaluation.results import Evaluation
from palprobe.grid.asked import Asked, asked_of, is_evaluated
from palprobe.grid.cells import cells_of, planned
from palprobe.grid.check import check_questions, check_recipe
from palprobe.grid.extraction import Part, extract_missing, needed
from palprobe.grid.pooled import is_scored, pooled_preview, run_pooled_cells
from palprobe.grid.preview import preview
from palprobe.grid.watcher import Watcher
from palprobe.recipe import Recipe
from palprobe.recipe.rigor import NO_CONTROL
from palprobe.runs import Cell, Places, check_writable
from palprobe.training.progress import Report
from palprobe.training.workspace import Plan, Workspace
from palprobe.types import Split

Failure = tuple[str, str]  # (title, message)


@dataclass(frozen=True)
class Found:
    """A result of the grid, and what its integration is called there: `pal (= lal)`, `lal layers=from:2`."""

    folder: Path
    integration: str


@dataclass(frozen=True)
class Outcome:
    """What a grid run left: results in the order of the cells, and the cells that failed."""

    results: tuple[Found, ...]
    failures: tuple[Failure, ...] = field(default=())  # (title, message)


def run_grid(
    recipe: Recipe,
    places: Places,
    watcher: Watcher,
    *,
    split: Split = "test",
    tell: Callable[[str], object] = lambda _: None,
) -> Outcome:
    """extract → train → eval of every cell that has no result yet; a cell that fails does not stop the others.

    Args:
        recipe: what is compared; controls and seeds that it leaves to its rigor are filled in.
        places: where things are read and written.
        watcher: is told how it goes on.
        split: that is scored.
        tell: gets lines on what is about to be done and what it can show, before anything is.

    Raises:
        PalprobeError: what `check_recipe` finds, before any work.
    """
    check_writable(places.report_folder(recipe), "--out")
    check_writable(places.runs, "--runs")
    workspace = check_recipe(recipe, places)
    check_questions(workspace)
    cells = cells_of(workspace)
    plans = [planned(workspace, cell) for cell in cells]
    waiting = [
        cell
        for cell, plan in zip(cells, plans, strict=True)
        if plan is None or not is_evaluated(workspace, plan, split)
    ]
    pooled = pooled_cells(workspace, workspace.recipe.wanted_controls)
    unscored = [cell.cell for cell in pooled if not is_scored(workspace, cell, split)]
    if waiting or unscored:
        resolve_device(places.device)
        for line in [*preview(workspace, cells, plans, split), *pooled_preview(workspace, pooled, split)]:
            tell(line)
    broken = extract_missing(workspace, [*waiting, *unscored], watcher)
    workspace.look_again()
    scored, failures = run_pooled_cells(workspace, pooled, watcher, split=split, broken=broken)
    results = [Found(folder, kind) for folder, kind in scored]
    for number, (cell, early) in enumerate(zip(cells, plans, strict=True), start=1):
        reasons = _reasons(workspace, cell, broken) if cell in waiting else []
        if reasons:
            failures.append((cell.title if early is None else early.cell.title, reasons[0]))
            continue
        try:
            plan = early or workspace.plan(cell)
            done = run_cell(workspace, plan, watcher, split=split, place=f"{number}/{len(plans)}")
        except PalprobeError as error:
            failures.append((cell.title if early is None else early.cell.title, str(error)))
            watcher.end(f"failed: {error}")
            continue
        shown = workspace.chosen(cell.encoder, cell.integration, cell.variant).shown(cell.integration)
        results += [Found(folder, f"{shown} {cell.variant.label}".rstrip()) for folder in done.folders]
        failures += done.failures
    return Outcome(tuple(results), tuple(failures))


def _reasons(workspace: Workspace, cell: Cell, broken: dict[Part, str]) -> list[str]:
    """Why the features of a cell could not be made."""
    return [broken[part] for part in needed(workspace, cell) if part in broken]


@dataclass(frozen=True)
class Done:
    """What became of a cell: result folders, one for each scoring and control, and the controls that failed."""

    folders: tuple[Path, ...]
    failures: tuple[Failure, ...] = ()


def run_cell(workspace: Workspace, plan: Plan, watcher: Watcher, *, split: Split, place: str) -> Done:
    """Trains and scores one cell, or finds that it has been; a control that fails does not stop the others.

    Raises:
        PalprobeError: training fails, or scoring of the run as such.
    """
    asked = asked_of(workspace, plan, split)
    if is_evaluated(workspace, plan, split):
        return Done(tuple(found.folder for one in asked for found in one.evaluations(plan)))
    train_run(workspace, plan, watcher, place=place)
    folders: list[Path] = []
    failures: list[Failure] = []
    for one, evaluation in [(each, found) for each in asked for found in each.evaluations(plan)]:
        try:
            folders.append(_evaluated(workspace, plan, one, evaluation, watcher, place=place))
        except PalprobeError as error:
            if one.heard == NO_CONTROL:
                raise
            failures.append((f"{plan.cell.title} · {one.heard}", str(error)))
            watcher.end(f"failed: {error}")
    return Done(tuple(folders), tuple(failures))


def _evaluated(
    workspace: Workspace, plan: Plan, asked: Asked, evaluation: Evaluation, watcher: Watcher, *, place: str
) -> Path:
    from palprobe.evaluation.evaluate import evaluate

    what = "" if asked.heard == NO_CONTROL else f" · {asked.heard}"
    watcher.stage(f"eval {place} {plan.cell.title}{what}")
    folder = evaluate(workspace, plan, asked.split, evaluation.section, heard=asked.heard)
    watcher.end(str(folder))
    return folder


def train_run(workspace: Workspace, plan: Plan, watcher: Watcher, *, place: str = "") -> None:
    """Trains one cell under the eyes of a watcher."""
    from palprobe.training.train_cell import train_cell

    course = plan.recipe.train.course
    questions = sum(section.steps * section.batch_size for section in course)
    title = " ".join(word for word in ("train", place, plan.cell.title) if word)
    watcher.stage(title, total=questions, unit="clips")
    last = Report(0, sum(section.steps for section in course), math.nan, 0)

    def show(report: Report) -> None:
        nonlocal last
        last = report
        watcher.advance(report.questions, f"loss {report.loss:.3f}")

    train_cell(workspace, plan, show)
    watcher.end(f"loss {last.loss:.3f}" if last.step else "was trained already")
