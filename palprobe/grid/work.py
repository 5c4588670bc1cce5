"""The work of the grid: extract, train and evaluate what is missing, under the eyes of a watcher."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from palprobe.distributed import resolve_device
from palprobe.errors import PalprobeError
from palprobe.evaluation.results import Evaluation, evaluations
from palprobe.features.constant import is_blind
from palprobe.grid.cells import cells_of, encoders_of, examples_of, planned
from palprobe.grid.check import check_questions, check_recipe
from palprobe.recipe import Recipe
from palprobe.runs import Cell, Places, check_writable
from palprobe.specs import EncoderSpec, parse_encoder, split_encoders
from palprobe.training.progress import Report
from palprobe.training.workspace import Plan, Workspace
from palprobe.types import BLOCK, Split

if TYPE_CHECKING:
    from palprobe.features.extraction import Extraction

SHOWN_FAILURES = 3  # clips that could not be decoded, with the reason; the store lists all


class Watcher(Protocol):
    """Who is told how the work goes on; the command line shows bars or lines."""

    def stage(self, title: str, *, total: int | None = None, unit: str = "") -> None:
        """A piece of work begins."""
        ...

    def advance(self, done: int, detail: str = "") -> None:
        """So much of it is done."""
        ...

    def end(self, note: str) -> None:
        """It is finished, in a phrase."""
        ...


@dataclass(frozen=True)
class Found:
    """A result of the grid, and what its integration is called there: `pal (= lal)`, `lal layers=from:2`."""

    folder: Path
    integration: str


@dataclass(frozen=True)
class Outcome:
    """What a grid run left: results in the order of the cells, and the cells that failed."""

    results: tuple[Found, ...]
    failures: tuple[tuple[str, str], ...] = field(default=())  # (title, message)


def run_grid(recipe: Recipe, places: Places, watcher: Watcher, *, split: Split = "test") -> Outcome:
    """extract → train → eval of every cell that has no result yet; a cell that fails does not stop the others.

    Raises:
        PalprobeError: what `check_recipe` finds, before any work.
    """
    check_writable(places.report_folder(recipe), "--out")
    check_writable(places.runs, "--runs")
    workspace = check_recipe(recipe, places)
    check_questions(workspace)
    cells = cells_of(workspace)
    plans = [planned(workspace, cell) for cell in cells]
    waiting = [cell for cell, plan in zip(cells, plans, strict=True) if plan is None or not _is_evaluated(plan, split)]
    if waiting:
        resolve_device(places.device)
    broken = _extract_all(workspace, waiting, watcher)
    workspace.look_again()
    results: list[Found] = []
    failures: list[tuple[str, str]] = []
    for number, (cell, early) in enumerate(zip(cells, plans, strict=True), start=1):
        reasons = [broken[part] for part in _needed(workspace, cell) if part in broken]
        if cell in waiting and reasons:
            failures.append((cell.title if early is None else early.cell.title, reasons[0]))
            continue
        try:
            plan = early or workspace.plan(cell)
            folders = run_cell(workspace, plan, watcher, split=split, place=f"{number}/{len(plans)}")
            shown = workspace.chosen(cell.encoder, cell.integration, cell.variant).shown(cell.integration)
            results += [Found(folder, f"{shown} {cell.variant.label}".rstrip()) for folder in folders]
        except PalprobeError as error:
            failures.append((cell.title if early is None else early.cell.title, str(error)))
            watcher.end(f"failed: {error}")
    return Outcome(tuple(results), tuple(failures))


def run_cell(workspace: Workspace, plan: Plan, watcher: Watcher, *, split: Split, place: str) -> list[Path]:
    """Trains and scores one cell, or finds that it has been; returns its result folders, one for each scoring."""
    asked = asked_of(plan, split)
    if _is_evaluated(plan, split):
        return [evaluation.folder for evaluation in asked]
    from palprobe.evaluation.evaluate import evaluate

    train_run(workspace, plan, watcher, place=place)
    folders = []
    for evaluation in asked:
        watcher.stage(f"eval {place} {plan.cell.title}")
        folders.append(evaluate(workspace, plan, evaluation.split, evaluation.section))
        watcher.end(str(folders[-1]))
    return folders


def asked_of(plan: Plan, split: Split) -> list[Evaluation]:
    """The evaluations of one cell: of the split, and where likelihoods are asked for, of the block after a portion."""
    tested = evaluations(plan, split, plan.recipe.scoring)
    blocks = evaluations(plan, BLOCK, plan.recipe.scoring) if plan.splits.block else ()
    return [*tested, *(block for block in blocks if block.section.method == "likelihood")]


def _is_evaluated(plan: Plan, split: Split) -> bool:
    return all(evaluation.is_there for evaluation in asked_of(plan, split))


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


def extract_features(
    workspace: Workspace, encoders: Sequence[str], tasks: Sequence[str], watcher: Watcher, *, retry_failed: bool = False
) -> Extraction:
    """The features of one encoder, of one layer or several, for all clips of some tasks.

    Args:
        workspace: of the recipe.
        encoders: specs of one encoder; none is `A+B`.
        tasks: whose clips.
        watcher: is told.
        retry_failed: tries files again that could not be decoded.
    """
    from palprobe.features.extraction import extract

    recipe, places = workspace.recipe, workspace.places
    examples = examples_of(workspace, tasks)
    watcher.stage(f"extract {', '.join(encoders)} · {', '.join(tasks)}", total=len(examples), unit="clips")
    for note in (note for task in tasks for note in workspace.task(task).notes):
        watcher.end(f"note: {note}")
    found = extract(
        [parse_encoder(encoder) for encoder in encoders],
        examples,
        recipe,
        places.store,
        device=resolve_device(places.device),
        progress=lambda done, _: watcher.advance(done),
        retry_failed=retry_failed,
    )
    shown = "; ".join(f"{name}: {reason}" for name, _, reason in found.failures[:SHOWN_FAILURES])
    why = f" ({shown}{'; …' if found.dropped > SHOWN_FAILURES else ''})" if shown else ""
    watcher.end(f"{found.encoded} clips encoded, {found.reused} were there, {found.dropped} dropped{why}")
    for note in found.notes:
        watcher.end(f"warning: {note}")
    return found


def _needed(workspace: Workspace, cell: Cell) -> list[tuple[str, str]]:
    """The (encoder, task) pairs whose features a cell needs: its own task, and those that it is trained on.

    A blind cell needs none but for the number of its tokens, which all encoders decide.
    """
    tasks = dict.fromkeys([cell.task, *cell.recipe(workspace.recipe).train.named_tasks])
    texts = encoders_of(workspace) if is_blind(cell.encoder) else [cell.encoder]
    return [(encoder, task) for text in texts for encoder in split_encoders(text) for task in tasks]


def _extract_all(workspace: Workspace, waiting: Sequence[Cell], watcher: Watcher) -> dict[tuple[str, str], str]:
    """Extracts for the cells that wait: task by task, as a limit of losses is one of a task; all layers at once.

    Returns:
        (encoder, task) → reason, where it failed.
    """
    layers: dict[tuple[EncoderSpec, str], list[str]] = {}  # of one encoder and task
    wanted = [part for cell in waiting for part in _needed(workspace, cell)]
    for encoder, task in dict.fromkeys(wanted):
        layers.setdefault((parse_encoder(encoder).whole, task), []).append(encoder)
    broken: dict[tuple[str, str], str] = {}
    for (_, task), encoders in layers.items():
        try:
            extract_features(workspace, encoders, [task], watcher)
        except PalprobeError as error:
            broken |= {(encoder, task): str(error) for encoder in encoders}
            watcher.end(f"failed: {error}")
    return broken
