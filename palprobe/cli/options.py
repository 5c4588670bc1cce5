"""Options that several commands share, and how flags, `--set` and a recipe file become one recipe."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palprobe.errors import RecipeError, UsageError

if TYPE_CHECKING:
    from palprobe.recipe import Recipe
    from palprobe.runs import Places

FORMATS = ("table", "csv", "json", "markdown")

RecipeFile = Annotated[str | None, typer.Option("--recipe", help="A YAML file, or the name of a shipped recipe.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any recipe key, e.g. --set train.steps=200.")
]
Sweep = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=V1,V2", help="Try several values of a recipe key, e.g. integration.layers=all,from:2."),
]
TrainOn = Annotated[
    str | None, typer.Option(help="Tasks whose training splits are trained on, instead of that of the tested one.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Store = Annotated[Path, typer.Option(help="Folder of cached features.")]
Runs = Annotated[Path, typer.Option(help="Folder of trained runs.")]
DataRoot = Annotated[
    Path | None, typer.Option(envvar="PALPROBE_DATA", help="Folder that holds a folder for each task, by its name.")
]
Format = Annotated[
    str | None, typer.Option("--format", help="table, csv, json or markdown; table on a terminal, else csv.")
]
AllowMissing = Annotated[
    bool | None, typer.Option("--allow-missing", help="Go on without the audio files that a manifest names in vain.")
]
Header = Annotated[bool, typer.Option("--header/--no-header", help="Write the CSV header line.")]


def recipe_from(
    name: str | None, settings: list[str] | None, flags: dict[str, Any], sweep: dict[str, list[Any]] | None = None
) -> Recipe:
    """flag > --set > recipe file > default, validated as one whole."""
    from palprobe.recipe import load_recipe

    path = None if name is None else recipe_path(name)
    return load_recipe(path, settings=settings or [], flags=flags, sweep=sweep)


def sweep_from(lines: Sequence[str] | None, llms: Sequence[str]) -> dict[str, list[Any]]:
    """`--sweep` lines as values of each key, read as YAML; several LLMs are a sweep too.

    Raises:
        UsageError: a line without values, or a key that stands there twice.
        RecipeError: no YAML.
    """
    from palprobe.recipe.yaml12 import parse_yaml

    found: dict[str, list[Any]] = {"llm": list(llms)} if len(llms) > 1 else {}
    for line in lines or []:
        key, _, values = (part.strip() for part in line.partition("="))
        if not values:
            raise UsageError(f"--sweep {line!r} has no values. Write --sweep integration.layers=all,from:2.")
        if key in found:
            raise UsageError(f"{key} is swept over twice. Write all its values once: --sweep {key}=a,b.")
        found[key] = parse_yaml(f"[{values}]", where=f"--sweep {key}")
    return found


def recipe_folders() -> list[Path]:
    """Where shipped recipes lie: beside the package in a checkout, under share/ when installed."""
    return [Path(__file__).parents[2] / "recipes", Path(sys.prefix) / "share" / "palprobe" / "recipes"]


def shipped_recipes() -> dict[str, Path]:
    return {path.stem: path for folder in reversed(recipe_folders()) for path in sorted(folder.glob("*.yaml"))}


def recipe_path(name: str) -> Path:
    """A file as given, or a shipped recipe by name.

    Raises:
        RecipeError: neither.
    """
    from palprobe.registry import near_miss

    if Path(name).is_file():
        return Path(name)
    shipped = shipped_recipes()
    if name not in shipped:
        known = ", ".join(shipped) or "none"
        raise RecipeError(
            f"No recipe file {name!r}, and no shipped recipe.{near_miss(name, shipped)} Shipped: {known}."
        )
    return shipped[name]


def places_from(
    *, store: Path, runs: Path = Path("runs"), out: Path | None = None, data_root: Path | None, device: str
) -> Places:
    from palprobe.distributed import check_device
    from palprobe.runs import Places

    check_device(device)
    return Places(store=store, runs=runs, out=out, data_root=data_root, device=device)


def chosen_format(given: str | None) -> str:
    """The format asked for; else a table for people and CSV for pipes."""
    if given is not None and given not in FORMATS:
        raise UsageError(f"--format {given!r}: choose one of {', '.join(FORMATS)}.")
    return given or ("table" if sys.stdout.isatty() else "csv")


def names(text: str | None) -> list[str] | None:
    """A comma-separated option as a list; None where it was not given."""
    from palprobe.specs import split_list

    return None if text is None else split_list(text)


def numbers(text: str | None, option: str) -> list[int] | None:
    """A comma-separated option as whole numbers.

    Raises:
        UsageError: something else is in it.
    """
    try:
        return None if text is None else [int(word) for word in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: give whole numbers with commas between, e.g. {option} 0,1,2.") from error


def only(recipe: Recipe, key: str, option: str) -> Any:
    """The one entry of a list in the recipe; of a default list, the first.

    Raises:
        UsageError: the recipe names several.
    """
    values = getattr(recipe, key)
    if len(values) > 1 and key in recipe.model_fields_set:
        raise UsageError(f"The recipe's {key} are several ({', '.join(map(str, values))}): choose one with {option}.")
    return values[0]


def columns() -> int:
    """Width for tables: COLUMNS, or the terminal's."""
    return shutil.get_terminal_size((120, 24)).columns
