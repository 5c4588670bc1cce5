"""`compare`: the whole job in one sentence; and `report`: its tables again from what is on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    Sweep,
    TrainOn,
)


def compare(
    encoders: Annotated[str | None, typer.Option(help="Encoders, with commas between; A+B hears both.")] = None,
    integrations: Annotated[str | None, typer.Option(help="plits, lal, pal, flamingo …, with commas between.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Tasks, with commas between.")] = None,
    train_on: TrainOn = None,
    llm: Annotated[str | None, typer.Option(help="tiny, local folders or hub ids, with commas between.")] = None,
    sweep: Sweep = None,
    seeds: Annotated[
        str | None, typer.Option(help="Training seeds, e.g. 0,1,2; those of the rigor if not given.")
    ] = None,
    folds: Annotated[str | None, typer.Option(help="Only these test folds.")] = None,
    rigor: Annotated[str | None, typer.Option(help="quick, standard or paper: how many seeds, which controls.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most this many items of each split.")] = None,
    plan: Annotated[
        str | None,
        typer.Option(help="Print the stage commands instead: all, extract, train or eval.", metavar="[=STAGE]"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report; results/<recipe name> if not given.")] = None,
    store: Store = Path("features"),
    runs: Runs = Path("runs"),
    data_root: DataRoot = None,
    allow_missing: AllowMissing = None,
    recipe: RecipeFile = None,
    set_: Settings = None,
    format_: Format = None,
    header: Header = True,
    device: Device = "auto",
) -> None:
    """Compare encoders: extract, train and evaluate what is missing, then report.

    Example: palprobe compare --encoders logmel,whisper:tiny --tasks esc50=ESC-50-master
    """
    form = options.chosen_format(format_)
    llms = options.names(llm) or []
    flags = {
        "encoders": options.names(encoders),
        "integrations": options.names(integrations),
        "tasks": options.names(tasks),
        "train.tasks": options.names(train_on),
        "llm": None if len(llms) > 1 else next(iter(llms), llm),
        "seeds": options.numbers(seeds, "--seeds"),
        "folds": options.numbers(folds, "--folds"),
        "rigor": rigor,
        "data.limit": limit,
        "data.allow_missing": allow_missing,
    }
    chosen = options.recipe_from(recipe, set_, flags, options.sweep_from(sweep, llms))
    places = options.places_from(store=store, runs=runs, out=out, data_root=data_root, device=device)
    if plan is not None:
        from palprobe.cli.progress import say
        from palprobe.grid.check import check_recipe
        from palprobe.grid.plan import plan_lines

        workspace = check_recipe(chosen, places)
        typer.echo("\n".join(plan_lines(workspace, None if plan == "all" else plan, say)))
        return

    from palprobe.cli.output import end_with, print_results
    from palprobe.cli.progress import Watching, say
    from palprobe.grid.work import run_grid
    from palprobe.report.forms import write_report
    from palprobe.report.results import read_result

    with Watching() as watcher:
        outcome = run_grid(chosen, places, watcher, tell=say)
    results = [read_result(found.folder, integration=found.integration) for found in outcome.results]
    if results:
        findings = write_report(results, places.report_folder(chosen))
        print_results(results, form, header=header, width=options.columns(), findings=findings)
        say(f"Report: {places.report_folder(chosen)}")
    end_with([f"{title} failed: {message}" for title, message in outcome.failures], some=bool(results))


def report(
    results: Annotated[list[Path], typer.Argument(help="Folders of runs, single runs or evaluations.")],
    out: Annotated[
        Path | None, typer.Option(help="Also write the report there: CSVs, report.html, report.md, report.tex.")
    ] = None,
    format_: Format = None,
    header: Header = True,
) -> None:
    """Report results that are on disk; nothing is computed again but the intervals.

    Example: palprobe report runs --format markdown > report.md
    """
    from palprobe.cli.output import print_results
    from palprobe.cli.progress import say
    from palprobe.report.forms import write_report
    from palprobe.report.results import find_results

    form = options.chosen_format(format_)
    found = find_results(results, on_unfinished=say)
    findings = write_report(found, out) if out is not None else None
    print_results(found, form, header=header, width=options.columns(), findings=findings)
