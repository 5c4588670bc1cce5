"""`list`, `validate` and `doctor`: what there is, what a recipe means, and whether this machine can do it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from palprobe.cli import options
from palprobe.cli.options import DataRoot, Device, Format, RecipeFile, Settings, Store
from palprobe.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from palprobe.training.workspace import Workspace

LISTS = ("encoders", "integrations", "tasks", "llms", "metrics", "kinds", "recipes")


def list_parts(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(LISTS)}; all if not given.")] = None,
    format_: Format = None,
) -> None:
    """List the parts that can be named, a line each; of encoders also sizes, licences, and which weights are here.

    Example: palprobe list encoders
    """
    from palprobe.registry import near_miss

    form = options.chosen_format(format_)
    if kind is not None and kind not in LISTS:
        raise UnknownNameError(f"Nothing to list under {kind!r}.{near_miss(kind, LISTS)} Known: {', '.join(LISTS)}.")
    if kind == "encoders":
        from palprobe.cli.output import print_inventory

        print_inventory(form, width=options.columns())
        return
    if format_ is not None:
        raise UsageError("--format goes with `palprobe list encoders`; the other lists are plain lines.")
    for name, parts in _parts().items():
        if kind in (None, name):
            for part, summary in sorted(parts.items()):
                typer.echo(f"{name.removesuffix('s')}\t{part}\t{summary}" if kind is None else f"{part}\t{summary}")


def _parts() -> dict[str, dict[str, str]]:
    from palprobe.encoders import ENCODERS
    from palprobe.integrations import INTEGRATIONS
    from palprobe.llm import LLMS
    from palprobe.llm.families import SERVED
    from palprobe.metrics import METRICS
    from palprobe.tasks import TASKS
    from palprobe.tasks.kinds import KINDS

    registries = dict(zip(LISTS[:5], (ENCODERS, INTEGRATIONS, TASKS, LLMS, METRICS), strict=True))
    found = {kind: {n: part.summary for n, part in registry.parts.items()} for kind, registry in registries.items()}
    found["llms"] |= {"FOLDER or ORG/REPO": f"a decoder-only model in safetensors: {'; '.join(SERVED.values())}"}
    found["kinds"] = {
        kind: f"{rules.method}: {rules.reading}; by {', '.join(rules.metrics)}" for kind, rules in KINDS.items()
    }
    return found | {"recipes": {name: str(path) for name, path in options.shipped_recipes().items()}}


def validate(
    source: Annotated[str | None, typer.Argument(metavar="[RECIPE]", help="A YAML file or a shipped recipe.")] = None,
    store: Store = Path("features"),
    data_root: DataRoot = None,
    recipe: RecipeFile = None,
    set_: Settings = None,
    device: Device = "auto",
) -> None:
    """Check a recipe and what it names; print it whole, then each task's first prompt as the LLM reads it.

    Example: palprobe validate my.yaml
    """
    from palprobe.grid.check import check_parts, check_recipe
    from palprobe.recipe import dump_recipe
    from palprobe.specs import parse_task
    from palprobe.tasks import is_located

    if source is not None and recipe is not None:
        raise UsageError(f"Two recipes are given, {source!r} and --recipe {recipe!r}; give one.")
    chosen = options.recipe_from(source or recipe, set_, {})
    places = options.places_from(store=store, data_root=data_root, device=device)
    tasks = dict.fromkeys([*chosen.tasks, *chosen.train.named_tasks])
    unseen = [task for task in tasks if not is_located(parse_task(task), data_root)]
    workspace = (check_parts if unseen else check_recipe)(chosen, places)
    typer.echo(dump_recipe(workspace.recipe), nl=False)
    if unseen:
        typer.echo(f"# not looked at, as no folder is given: {', '.join(unseen)} (--data-root ROOT finds ROOT/NAME)")
        typer.echo("# As far as it was looked at, the recipe is valid.")
        return
    typer.echo("\n".join(_described(workspace)))


def _described(workspace: Workspace) -> Iterator[str]:
    """Comment lines: the sizes and the first prompt of each task, and how many cells there are."""
    from palprobe.grid.cells import cells_of
    from palprobe.llm.preview import preview

    chosen, cells = workspace.recipe, cells_of(workspace)
    llms = [workspace.llm(name) for name in dict.fromkeys(cell.llm for cell in cells)]
    for task in chosen.tasks:
        fold = workspace.folds(task)[0]
        splits = workspace.splits(task, fold)
        sizes = f"{len(splits.train)} train, {len(splits.validation)} validation, {len(splits.test)} test"
        yield f"# {task}: {sizes}" + ("" if fold is None else f" (fold {fold})")
        for llm in llms:
            for line in preview(llm, (splits.train or splits.test)[0], chosen.prompt.template):
                yield f"#   {line}" if len(llms) == 1 else f"#   {llm.name}: {line}"
    for task in dict.fromkeys([*chosen.tasks, *chosen.train.named_tasks]):
        yield from (f"# note on {task}: {note}" for note in workspace.task(task).notes)
    for task in chosen.train.named_tasks:
        yield f"# trained on {task}: {len(workspace.splits(task, workspace.folds(task)[0]).train)} train"
    yield f"# {len(cells)} cells; the recipe is valid."


doctors = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@doctors.callback()
def doctor(
    context: typer.Context,
    store: Annotated[Path | None, typer.Option(help="Folder of cached features, whose disk is measured.")] = None,
) -> None:
    """Report what is wrong with this machine (versions, cores, memory, disk, devices), or examine an encoder.

    Example: palprobe doctor
    """
    from palprobe.doctor.machine import machine_report

    if context.invoked_subcommand is None:
        for name, value in machine_report(store or Path("features")):
            typer.echo(f"{name:<16} {value}")
    elif store is not None:
        raise UsageError("--store belongs to `palprobe doctor`; an encoder is examined in a temporary folder.")


@doctors.command("encoder")
def doctor_encoder(
    spec: Annotated[str, typer.Argument(help="[random:]NAME[:VARIANT][=PATH][@LAYER] or path/to/file.py:Class.")],
    format_: Annotated[
        str | None, typer.Option("--format", help="table or json; table on a terminal, else json.")
    ] = None,
    recipe: RecipeFile = None,
    set_: Settings = None,
    device: Device = "auto",
) -> None:
    """Examine an encoder before trusting it: shapes, rates, what it hears of a clip, and what it costs.

    Needs no data. Exit code 0: every check is ok or warns; 1: one fails, or the weights are not there; 2: a wrong spec.

    Example: palprobe doctor encoder my_encoder.py:MyEncoder
    """
    from palprobe.cli.examination import EXAMINATION_FORMATS, print_examination
    from palprobe.cli.progress import Watching
    from palprobe.distributed import resolve_device
    from palprobe.doctor.encoder import encoder_report

    form = format_ or ("table" if sys.stdout.isatty() else "json")
    if form not in EXAMINATION_FORMATS:
        raise UsageError(f"--format {format_!r}: choose one of {', '.join(EXAMINATION_FORMATS)}.")
    chosen = options.recipe_from(recipe, set_, {"encoders": [spec]})
    with Watching() as watcher:
        report = encoder_report(spec, chosen, device=resolve_device(device), watcher=watcher)
    print_examination(report, form, width=options.columns())
    if report.verdict == "fail":
        raise typer.Exit(1)
