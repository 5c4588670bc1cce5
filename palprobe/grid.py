"""The grid of cells: checked whole before anything long begins, run stage by stage, a finished cell never twice."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from palprobe.distributed import check_device, resolve_device
from palprobe.errors import PalprobeError, RecipeError, UsageError, WeightsError
from palprobe.evaluation.results import evaluation_folder, is_evaluated
from palprobe.files import digest
from palprobe.integrations import chosen_layers, resolve_section
from palprobe.recipe import Recipe
from palprobe.runs import Cell, Places, check_writable, extract_command, place_flags, section_flags, train_command
from palprobe.specs import EncoderSpec, parse_encoder
from palprobe.training.progress import Report
from palprobe.training.workspace import Plan, Workspace
from palprobe.types import Example, Split

if TYPE_CHECKING:
    from palprobe.features.extraction import Extraction

STAGES = ("extract", "train", "eval")
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
class Outcome:
    """What a grid run left: result folders in the order of the cells, and the cells that failed."""

    results: tuple[Path, ...]
    failures: tuple[tuple[str, str], ...] = field(default=())  # (title, message)


def check_recipe(recipe: Recipe, places: Places) -> Workspace:
    """Everything that can be known to be wrong before work begins; all absent weights in one message.

    Returns:
        the workspace, with tasks read and encoders identified.

    Raises:
        PalprobeError: names, options, folders, splits or weights with which the grid cannot run.
    """
    check_device(places.device)
    sections = [resolve_section(integration, recipe.integration) for integration in recipe.integrations]
    workspace = Workspace(recipe, places, encoders_checked=True)
    _check_encoders(workspace)
    num_layers = workspace.llm(recipe.llm).num_layers
    for section in sections:
        if num_layers is not None:
            chosen_layers(section.layers, num_layers)
    for task in recipe.tasks:
        for fold in workspace.folds(task):
            workspace.splits(task, fold)
    _check_distinct(workspace)
    if recipe.folds and not any(workspace.task(task).folds for task in recipe.tasks):
        raise UsageError(f"folds {recipe.folds}: no task here has folds ({', '.join(recipe.tasks)}). Leave them out.")
    return workspace


def _check_encoders(workspace: Workspace) -> None:
    absent: list[str] = []
    for encoder in workspace.recipe.encoders:
        try:
            workspace.features(encoder)
        except WeightsError as error:
            absent.append(str(error))
    if len(absent) == 1:
        raise WeightsError(absent[0])
    if absent:
        listed = " ".join(f"({number}) {message}" for number, message in enumerate(absent, start=1))
        raise WeightsError(f"The weights of {len(absent)} encoders are not here. {listed}")


def _check_distinct(workspace: Workspace) -> None:
    """The same thing under two spellings would be done, and reported, once."""
    names: dict[str, str] = {}
    for task in workspace.recipe.tasks:
        name = workspace.task(task).name
        if names.setdefault(name, task) != task:
            raise UsageError(
                f"Tasks {names[name]!r} and {task!r} are both called {name!r} in reports. Leave one out, or rename it "
                "if it is a manifest."
            )
    for encoder in _encoders(workspace):
        identity = digest([store.fields for store in workspace.features(encoder)])
        if names.setdefault(identity, encoder) != encoder:
            raise UsageError(f"Encoders {names[identity]!r} and {encoder!r} are the same one. Leave one out.")


def _check_questions(workspace: Workspace) -> None:
    """Open questions are scored by generation; better known before training than after it."""
    if workspace.recipe.scoring.method != "likelihood":
        return
    for task in workspace.recipe.tasks:
        for example in workspace.task(task).examples:
            if not example.choices:
                raise RecipeError(
                    f"Task {task!r}: {example.id!r} is an open question, without choices to compare. "
                    "Add --set scoring.method=generation."
                )


def _encoders(workspace: Workspace) -> list[str]:
    """The encoders of the recipe, those of `@all` one for each layer."""
    return [encoder for text in workspace.recipe.encoders for encoder in workspace.encoders(text)]


def cells_of(workspace: Workspace) -> list[Cell]:
    """The grid in order: encoders, then integrations, tasks, seeds and folds."""
    recipe = workspace.recipe
    return [
        Cell(encoder, integration, recipe.llm, task, seed, fold)
        for encoder, integration, task, seed in product(
            _encoders(workspace), recipe.integrations, recipe.tasks, recipe.seeds
        )
        for fold in workspace.folds(task)
    ]


def examples_of(workspace: Workspace, tasks: Sequence[str]) -> list[Example]:
    """All examples that any fold of these tasks uses, `limit` applied."""
    chosen: dict[tuple[str, str], Example] = {}
    for task in tasks:
        for fold in workspace.folds(task):
            splits = workspace.splits(task, fold)
            chosen |= {(task, e.id): e for e in (*splits.train, *splits.validation, *splits.test)}
    return list(chosen.values())


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
    _check_questions(workspace)
    cells = cells_of(workspace)
    lines: dict[str, list[str]] = {
        "extract": [
            extract_command(encoder, task, recipe, places) for encoder in recipe.encoders for task in recipe.tasks
        ],
        "train": [train_command(cell, recipe, places) for cell in cells],
    }
    if stage in (None, "eval"):
        lines["eval"] = [_eval_line(workspace, cell) for cell in cells]
    chosen = STAGES if stage is None else (stage,)
    return [line for name in chosen for line in dict.fromkeys(lines[name])]


def _eval_line(workspace: Workspace, cell: Cell) -> str:
    plan, recipe = workspace.plan(cell), workspace.recipe
    words = ["palprobe", "eval", str(plan.run.folder), "--scoring", recipe.scoring.method]
    words += section_flags(recipe, "scoring", without=("method",))
    return shlex.join([*words, *place_flags("eval", workspace.places)])


def run_grid(recipe: Recipe, places: Places, watcher: Watcher, *, split: Split = "test") -> Outcome:
    """extract → train → eval of every cell that has no result yet; a cell that fails does not stop the others.

    Raises:
        PalprobeError: what `check_recipe` finds, before any work.
    """
    check_writable(places.report_folder(recipe), "--out")
    check_writable(places.runs, "--runs")
    workspace = check_recipe(recipe, places)
    _check_questions(workspace)
    plans = [workspace.plan(cell) for cell in cells_of(workspace)]
    waiting = [plan for plan in plans if not is_evaluated(plan, split, recipe.scoring)]
    if waiting:
        resolve_device(places.device)
    broken = _extract_all(workspace, waiting, watcher)
    results: list[Path] = []
    failures: list[tuple[str, str]] = []
    for number, plan in enumerate(plans, start=1):
        if plan in waiting and (reason := broken.get((plan.cell.encoder, plan.cell.task))):
            failures.append((plan.cell.title, reason))
            continue
        try:
            results.append(run_cell(workspace, plan, watcher, split=split, place=f"{number}/{len(plans)}"))
        except PalprobeError as error:
            failures.append((plan.cell.title, str(error)))
            watcher.end(f"failed: {error}")
    return Outcome(tuple(results), tuple(failures))


def run_cell(workspace: Workspace, plan: Plan, watcher: Watcher, *, split: Split, place: str) -> Path:
    """Trains and scores one cell, or finds that it has been; returns its result folder."""
    scoring = workspace.recipe.scoring
    if is_evaluated(plan, split, scoring):
        return evaluation_folder(plan, split, scoring)
    from palprobe.evaluation.evaluate import evaluate

    train_run(workspace, plan, watcher, place=place)
    watcher.stage(f"eval {place} {plan.cell.title}")
    folder = evaluate(workspace, plan, split, scoring)
    watcher.end(str(folder))
    return folder


def train_run(workspace: Workspace, plan: Plan, watcher: Watcher, *, place: str = "") -> None:
    """Trains one cell under the eyes of a watcher."""
    from palprobe.training.train_cell import train_cell

    steps, batch = plan.recipe.train.steps, plan.recipe.train.batch_size
    title = " ".join(word for word in ("train", place, plan.cell.title) if word)
    watcher.stage(title, total=steps * batch, unit="clips")
    last = Report(0, steps, math.nan, batch)

    def show(report: Report) -> None:
        nonlocal last
        last = report
        watcher.advance(report.step * report.clips, f"loss {report.loss:.3f}")

    train_cell(workspace, plan, show)
    watcher.end(f"loss {last.loss:.3f}" if last.step else "was trained already")


def extract_features(
    workspace: Workspace, encoders: Sequence[str], tasks: Sequence[str], watcher: Watcher, *, retry_failed: bool = False
) -> Extraction:
    """The features of one encoder, of one layer or several, for all clips of some tasks."""
    from palprobe.features.extraction import extract

    recipe, places = workspace.recipe, workspace.places
    examples = examples_of(workspace, tasks)
    watcher.stage(f"extract {', '.join(encoders)} · {', '.join(tasks)}", total=len(examples), unit="clips")
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


def _extract_all(workspace: Workspace, waiting: list[Plan], watcher: Watcher) -> dict[tuple[str, str], str]:
    """Extracts for the cells that wait: task by task, as a limit of losses is one of a task; all layers at once.

    Returns:
        (encoder, task) → reason, where it failed.
    """
    layers: dict[tuple[EncoderSpec, str], list[str]] = {}  # of one encoder and task
    for encoder, task in dict.fromkeys((plan.cell.encoder, plan.cell.task) for plan in waiting):
        layers.setdefault((parse_encoder(encoder).whole, task), []).append(encoder)
    broken: dict[tuple[str, str], str] = {}
    for (_, task), encoders in layers.items():
        try:
            extract_features(workspace, encoders, [task], watcher)
        except PalprobeError as error:
            broken |= {(encoder, task): str(error) for encoder in encoders}
            watcher.end(f"failed: {error}")
    return broken
