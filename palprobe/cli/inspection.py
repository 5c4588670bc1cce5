"""`list`, `validate` and `doctor`: what there is, what a recipe means, and whether this machine can do it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from palprobe.cli import options
from palprobe.cli.options import DataRoot, Device, RecipeFile, Settings, Store
from palprobe.errors import UnknownNameError, UsageError

KINDS = ("encoders", "integrations", "tasks", "llms", "metrics", "recipes")


def list_parts(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(KINDS)}; all if not given.")] = None,
) -> None:
    """List the parts that can be named, a line each.

    Example: palprobe list encoders
    """
    from palprobe.registry import near_miss

    if kind is not None and kind not in KINDS:
        raise UnknownNameError(f"Nothing to list under {kind!r}.{near_miss(kind, KINDS)} Known: {', '.join(KINDS)}.")
    for name, parts in _parts().items():
        if kind in (None, name):
            for part, summary in sorted(parts.items()):
                typer.echo(f"{name.removesuffix('s')}\t{part}\t{summary}" if kind is None else f"{part}\t{summary}")


def _parts() -> dict[str, dict[str, str]]:
    from palprobe.encoders import ENCODERS
    from palprobe.integrations import INTEGRATIONS
    from palprobe.llm import LLMS
    from palprobe.metrics import METRICS
    from palprobe.tasks import TASKS

    registries = dict(zip(KINDS[:5], (ENCODERS, INTEGRATIONS, TASKS, LLMS, METRICS), strict=True))
    found = {kind: {n: part.summary for n, part in registry.parts.items()} for kind, registry in registries.items()}
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
    from palprobe.grid import cells_of, check_recipe
    from palprobe.llm.preview import preview
    from palprobe.recipe import dump_recipe

    if source is not None and recipe is not None:
        raise UsageError(f"Two recipes are given, {source!r} and --recipe {recipe!r}; give one.")
    chosen = options.recipe_from(source or recipe, set_, {})
    workspace = check_recipe(chosen, options.places_from(store=store, data_root=data_root, device=device))
    typer.echo(dump_recipe(chosen), nl=False)
    tokenizer = workspace.llm(chosen.llm)
    for task in chosen.tasks:
        fold = workspace.folds(task)[0]
        splits = workspace.splits(task, fold)
        sizes = f"{len(splits.train)} train, {len(splits.validation)} validation, {len(splits.test)} test"
        typer.echo(f"# {task}: {sizes}" + ("" if fold is None else f" (fold {fold})"))
        for line in preview(tokenizer, splits.train[0]):
            typer.echo(f"#   {line}")
    typer.echo(f"# {len(cells_of(workspace))} cells; the recipe is valid.")


def doctor(store: Store = Path("features")) -> None:
    """Report versions, cores, memory, disk and devices of this machine, and what is wrong with them.

    Example: palprobe doctor
    """
    from palprobe.doctor import machine_report

    for name, value in machine_report(store):
        typer.echo(f"{name:<16} {value}")
