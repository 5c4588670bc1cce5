"""`extract`, `train` and `eval`: one stage each, on their own for clusters and pipelines."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from palprobe.cli import options
from palprobe.cli.options import (
    AllowMissing,
    DataRoot,
    Device,
    Format,
    Header,
    RecipeFile,
    Runs,
    Settings,
    Store,
    TrainOn,
)
from palprobe.errors import PalprobeError, RecipeError, UsageError

if TYPE_CHECKING:
    from palprobe.runs import Places
    from palprobe.types import Split


def extract(
    encoder: Annotated[str, typer.Option(help="[random:]NAME[:VARIANT][=PATH][@LAYER], path/to/file.py:Class or A+B.")],
    data: Annotated[str, typer.Option(help="Tasks, with commas: NAME[:VARIANT][=FOLDER], FILE.csv, FILE.jsonl or -.")],
    store: Store = Path("features"),
    data_root: DataRoot = None,
    allow_missing: AllowMissing = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try undecodable files again.")] = False,
    recipe: RecipeFile = None,
    set_: Settings = None,
    device: Device = "auto",
) -> None:
    """Encode the clips of a task into the feature store; a clip is never encoded twice.

    Example: palprobe extract --encoder whisper:tiny --data esc50=ESC-50-master
    """
    from palprobe.cli.progress import Watching
    from palprobe.grid.check import check_recipe
    from palprobe.grid.extraction import extract_features, extract_silence

    flags = {"encoders": [encoder], "tasks": options.names(data), "data.allow_missing": allow_missing}
    chosen = options.recipe_from(recipe, set_, flags)
    places = options.places_from(store=store, data_root=data_root, device=device)
    workspace = check_recipe(chosen, places, only_encoding=True)
    with Watching() as watcher:
        found = [
            extract_features(workspace, [name], chosen.tasks, watcher, retry_failed=retry_failed)
            for name in chosen.single_encoders
        ]
        for name in chosen.single_encoders:
            extract_silence(workspace, [name], watcher)
    typer.echo("\n".join(str(store) for extraction in found for store in extraction.stores))


def train(
    encoder: Annotated[str, typer.Option(help="Whose features to train on; A+B for both.")],
    task: Annotated[str, typer.Option(help="NAME[:VARIANT][=FOLDER], FILE.csv, FILE.jsonl or -.")],
    integration: Annotated[
        str | None, typer.Option(help="plits (if not given), lal, pal, …; linear or knn: no LLM.")
    ] = None,
    llm: Annotated[str | None, typer.Option(help="tiny, a local folder or a hub id.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of initial weights, order and masks; 0 if not given.")] = None,
    fold: Annotated[int | None, typer.Option(help="Test fold, of a task with folds.")] = None,
    control: Annotated[str, typer.Option(help="none, verbaliser, portion 0.1 …; blind is --encoder blind:N.")] = "none",
    train_on: TrainOn = None,
    store: Store = Path("features"),
    runs: Runs = Path("runs"),
    data_root: DataRoot = None,
    allow_missing: AllowMissing = None,
    recipe: RecipeFile = None,
    set_: Settings = None,
    device: Device = "auto",
) -> None:
    """Train one probe on cached features, or go on where it stopped; prints the run folder.

    Example: palprobe train --encoder logmel --task esc50=ESC-50-master --integration lal --fold 1
    """
    from palprobe.cli.progress import Watching
    from palprobe.controls.pooled import is_pooled, only_pooled
    from palprobe.controls.pooled_run import fit_pooled
    from palprobe.evaluation.measures import check_models
    from palprobe.grid.work import train_run
    from palprobe.recipe.rigor import NO_CONTROL, check_trained
    from palprobe.runs import Cell
    from palprobe.specs import parse_encoder, split_encoders
    from palprobe.training.workspace import Workspace

    flags = {
        "encoders": [encoder],
        "tasks": [task],
        "integrations": None if integration is None else [integration],
        "llm": llm,
        "seeds": None if seed is None else [seed],
        "folds": None if fold is None else [fold],
        "train.tasks": options.names(train_on),
        "data.allow_missing": allow_missing,
    }
    chosen = options.recipe_from(recipe, set_, flags)
    if chosen.sweep:
        raise UsageError(
            f"train makes one run, and the recipe sweeps over {', '.join(chosen.sweep)}. "
            "Add --set sweep={}, and what is to be trained."
        )
    check_models(chosen.scoring)
    places = options.places_from(store=store, runs=runs, data_root=data_root, device=device)
    workspace = Workspace(chosen, places)
    if any(parse_encoder(name).layer == "all" for name in split_encoders(encoder)):
        raise UsageError(f"--encoder {encoder}: that is one run for each layer. Name one (@N), or mix them: @weighted.")
    if is_pooled(chosen):
        if control != NO_CONTROL:
            raise UsageError(
                f"--control {control} goes with an LLM, and {chosen.integrations[0]} has none. Leave it out."
            )
        typer.echo(fit_pooled(workspace, only_pooled(workspace)).folder)
        return
    cell = Cell(
        encoder,
        options.only(chosen, "integrations", "--integration"),
        chosen.llm,
        task,
        0 if chosen.seeds is None else options.only(chosen, "seeds", "--seed"),
        None if chosen.folds is None else options.only(chosen, "folds", "--fold"),
        control=check_trained(control),
    )
    plan = workspace.plan(cell)
    with Watching() as watcher:
        train_run(workspace, plan, watcher)
    typer.echo(plan.run.folder)


def evaluate(
    run: Annotated[list[Path], typer.Argument(help="Run folders.", metavar="RUN…")],
    split: Annotated[str, typer.Option(help="test or validation; of a portion also block, what comes next.")] = "test",
    scoring: Annotated[str | None, typer.Option(help="likelihood, generation, or both with a comma between.")] = None,
    drop: Annotated[str | None, typer.Option(help="Encoders of A+B that the LLM is not shown.")] = None,
    control: Annotated[
        str, typer.Option(help="What is heard: none (the clips), shuffled, silence, gaussian; commas between.")
    ] = "none",
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Read stored answers by another scoring.rule or scoring.parse; no model.")
    ] = False,
    hard: Annotated[
        Path | None, typer.Option(help="Write a manifest of the questions missed without audio.", metavar="FILE.jsonl")
    ] = None,
    attention: Annotated[bool, typer.Option("--attention", help="Store where attention goes, and plot it.")] = False,
    format_: Format = None,
    header: Header = True,
    store: Store = Path("features"),
    data_root: DataRoot = None,
    set_: Settings = None,
    device: Device = "auto",
) -> None:
    """Score finished runs; prints a table, or CSV rows in a pipe.

    Example: palprobe eval runs/* --no-header >> board.csv
    """
    from palprobe.cli.output import end_with, print_results
    from palprobe.cli.progress import say
    from palprobe.evaluation.results import check_heard
    from palprobe.recipe.rigor import NO_CONTROL
    from palprobe.report.remarks import remarks
    from palprobe.report.results import read_result

    form = options.chosen_format(format_)
    if split not in ("test", "validation", "block"):
        raise UsageError(f"--split {split!r}: choose test, validation or block; what was trained on is not scored.")
    settings = [*(set_ or []), *([] if scoring is None else [f"scoring.method=[{scoring}]"])]
    if rescore and (attention or hard):
        raise UsageError(
            f"--{'attention' if attention else 'hard'} needs the model or the data, and --rescore reads neither."
        )
    if hard and len(run) > 1:
        raise UsageError(f"--hard {str(hard)!r}: {len(run)} runs would write one file. Name one run.")
    dropped, heard = options.names(drop) or [], [check_heard(name) for name in options.names(control) or []]
    if (dropped or attention or hard) and heard != [NO_CONTROL]:
        raise UsageError(f"--control {control} goes with neither --drop, --hard nor --attention. Leave them out.")
    results, failures = [], []
    for folder in {path.resolve(): path for path in run}.values():
        try:
            if rescore:
                from palprobe.evaluation.rescore import rescore as read_again

                asked_split = cast("Split", split)
                folders = [
                    found
                    for name in heard
                    for found in read_again(folder, asked_split, settings, dropped=dropped, heard=name)
                ]
            else:
                # Resolved, or "." would have no parent.
                runs = folder.resolve().parent
                places = options.places_from(store=store, runs=runs, data_root=data_root, device=device)
                asked = _Asked(cast("Split", split), settings, dropped, heard, attention=attention, hard=hard)
                folders = _evaluate(folder, places, asked)
            results += [read_result(found) for found in folders]
        except PalprobeError as error:
            if len(run) == 1 or isinstance(error, UsageError):
                raise
            failures.append(str(error))
    if results:
        print_results(results, form, header=header, width=options.columns(), aggregate=False)
        if form in ("csv", "json"):  # which have no place for it
            for line in remarks(results):
                say(f"palprobe: {line}")
    end_with(failures, some=bool(results))


@dataclass(frozen=True)
class _Asked:
    """What `eval` is to do with each run."""

    split: Split
    settings: list[str]
    dropped: list[str]
    heard: list[str]
    attention: bool
    hard: Path | None


def _evaluate(folder: Path, places: Places, asked: _Asked) -> list[Path]:
    """Evaluates one run by each method asked for; returns the folders of the results."""
    from palprobe.cli.progress import say
    from palprobe.controls.pooled import is_pooled
    from palprobe.evaluation.attention import add_attention
    from palprobe.evaluation.evaluate import evaluate as evaluate_run
    from palprobe.evaluation.hard import check_hard, write_hard
    from palprobe.evaluation.results import check_dropped, check_effect, check_heard, scorings
    from palprobe.report.attention import draw_attention
    from palprobe.report.results import read_result
    from palprobe.runs import run_recipe
    from palprobe.tasks.kinds import KINDS
    from palprobe.training.reopen import reopen

    if is_pooled(run_recipe(folder)):
        return [_evaluate_pooled(folder, places, asked)]
    workspace, plan = reopen(folder, places, asked.settings)
    sections = scorings(workspace.recipe.scoring, plan.task.kind)
    check_effect(asked.settings, sections, KINDS[plan.task.kind].metrics)
    if asked.hard is not None:
        check_hard(sections, plan.cell.control)
    dropped = check_dropped(folder, plan.cell.encoder, asked.dropped)
    heard = [check_heard(name, plan.cell.control) for name in asked.heard]
    folders = [
        evaluate_run(workspace, plan, asked.split, section, dropped=dropped, heard=name)
        for name, section in product(heard, sections)
    ]
    if asked.hard is not None:
        found = [item for result in folders for item in read_result(result).predictions if item.text is None]
        count = write_hard(asked.hard, found, plan.examples(asked.split))
        say(f"hard: {count} of {len(found)} questions are missed without audio → {asked.hard}")
    for section in sections if asked.attention else ():
        path = add_attention(workspace, plan, asked.split, section, dropped=dropped)
        say(f"attention: {draw_attention(path)}")
    return folders


def _evaluate_pooled(folder: Path, places: Places, asked: _Asked) -> Path:
    """The same of a probe without an LLM."""
    from palprobe.controls.pooled import reopen_pooled
    from palprobe.controls.pooled_run import evaluate_pooled
    from palprobe.recipe.rigor import NO_CONTROL

    if asked.dropped or asked.attention or asked.hard or asked.heard != [NO_CONTROL]:
        raise RecipeError(f"{folder} has no LLM: leave --drop, --control, --hard and --attention out.")
    return evaluate_pooled(*reopen_pooled(folder, places, asked.settings), asked.split)
