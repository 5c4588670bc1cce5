"""Everything that can be known to be wrong with a recipe, found before work begins."""

from __future__ import annotations

from itertools import product

from palprobe.controls.pooled import SETTINGS as POOLED
from palprobe.controls.rigor import completed
from palprobe.distributed import check_device
from palprobe.errors import UsageError, WeightsError
from palprobe.evaluation.measures import check_models, check_models_are_used
from palprobe.evaluation.results import check_scoring, scorings
from palprobe.features.constant import is_blind
from palprobe.files import digest
from palprobe.grid.cells import encoders_of
from palprobe.integrations import chosen_layers
from palprobe.integrations.routing import ALIASES, check_integration
from palprobe.recipe import Recipe
from palprobe.recipe.rigor import BLIND
from palprobe.recipe.sweep import variants
from palprobe.runs import Places
from palprobe.tasks.kinds import KINDS
from palprobe.training.curriculum import check_named
from palprobe.training.workspace import Workspace


def check_recipe(recipe: Recipe, places: Places, *, only_encoding: bool = False) -> Workspace:
    """Everything that can be known to be wrong before work begins; all absent weights in one message.

    Args:
        recipe: of the whole grid.
        places: where things are read and written.
        only_encoding: features are made, and no probe is trained or tested.

    Returns:
        the workspace, with tasks read and encoders identified.

    Raises:
        PalprobeError: names, options, folders, splits or weights with which the grid cannot run.
    """
    check_named(recipe.train)
    workspace = check_parts(recipe, places, only_encoding=only_encoding)
    recipe = workspace.recipe
    for task in (*recipe.tasks, *recipe.train.named_tasks):
        for fold in workspace.folds(task):
            workspace.splits(task, fold)
    _check_distinct(workspace)
    if recipe.folds and not any(workspace.task(task).folds for task in recipe.tasks):
        raise UsageError(f"folds {recipe.folds}: no task here has folds ({', '.join(recipe.tasks)}). Leave them out.")
    _check_options(workspace)
    return workspace


def check_parts(recipe: Recipe, places: Places, *, only_encoding: bool = False) -> Workspace:
    """The same of everything but the tasks: encoders, integrations, the LLM and the device.

    Returns:
        the workspace, with encoders identified.
    """
    check_device(places.device)
    for encoder in filter(is_blind, recipe.encoders):
        raise UsageError(f"Encoder {encoder!r} is a control, not to be compared: --set controls=[{BLIND}].")
    for kind in (name for name in recipe.integrations if name in POOLED):
        raise UsageError(f"Integration {kind!r} is a control, beside the others: --set controls=[{kind}].")
    recipe = recipe if only_encoding else completed(recipe)
    for variant, integration in product(variants(recipe), recipe.integrations):
        check_integration(integration, variant.apply(recipe).integration)
    for variant in () if only_encoding else variants(recipe):
        check_models(variant.apply(recipe).scoring)
    workspace = Workspace(recipe, places, encoders_checked=True, only_encoding=only_encoding)
    _check_encoders(workspace)
    _check_layers(workspace)
    return workspace


def _check_encoders(workspace: Workspace) -> None:
    absent: list[str] = []
    for encoder in workspace.recipe.single_encoders:
        try:
            workspace.features(encoder)
        except WeightsError as error:
            absent.append(str(error))
    if len(absent) == 1:
        raise WeightsError(absent[0])
    if absent:
        listed = " ".join(f"({number}) {message}" for number, message in enumerate(absent, start=1))
        raise WeightsError(f"The weights of {len(absent)} encoders are not here. {listed}")


def _check_options(workspace: Workspace) -> None:
    """Options are listed of multiple choice alone, and what has no effect is not asked for."""
    recipe = workspace.recipe
    tasks = (*recipe.tasks, *recipe.train.named_tasks)
    if recipe.prompt.options == "listed" and not any(workspace.task(task).kind == "multiple-choice" for task in tasks):
        raise UsageError(f"prompt.options = listed: no task here is multiple choice ({', '.join(tasks)}). Drop it.")


def _check_layers(workspace: Workspace) -> None:
    recipe = workspace.recipe
    for variant in variants(recipe):
        num_layers = workspace.llm(variant.apply(recipe).llm).num_layers
        for encoder, integration in product(encoders_of(workspace), recipe.integrations):
            for choice in workspace.chosen(encoder, integration, variant).choices:
                if num_layers is not None:
                    chosen_layers(choice.section.layers, num_layers)


def _check_distinct(workspace: Workspace) -> None:
    """The same thing under two spellings would be done, and reported, once."""
    names: dict[str, str] = {}
    for integration in workspace.recipe.integrations:
        name = ALIASES.get(integration, integration)
        if names.setdefault(name, integration) != integration:
            raise UsageError(f"Integrations {names[name]!r} and {integration!r} are the same one. Leave one out.")
    for task in workspace.recipe.tasks:
        name = workspace.task(task).name
        if names.setdefault(name, task) != task:
            raise UsageError(
                f"Tasks {names[name]!r} and {task!r} are both called {name!r} in reports. Leave one out, or rename it "
                "if it is a manifest."
            )
    for encoder in encoders_of(workspace):
        identity = digest([[store.fields for store in stores] for stores in workspace.features(encoder)])
        if names.setdefault(identity, encoder) != encoder:
            raise UsageError(f"Encoders {names[identity]!r} and {encoder!r} are the same one. Leave one out.")
    for llm in dict.fromkeys(variant.apply(workspace.recipe).llm for variant in variants(workspace.recipe)):
        identity = digest(workspace.llm(llm).identity)
        if names.setdefault(identity, llm) != llm:
            raise UsageError(f"LLMs {names[identity]!r} and {llm!r} are the same one. Leave one out.")


def check_questions(workspace: Workspace) -> None:
    """Whether every task can be scored as the recipe asks; better known before training than after it.

    Raises:
        RecipeError: one cannot.
        UsageError: a model of texts is named, and no task here is scored by it.
    """
    asked = []
    for name in workspace.recipe.tasks:
        task = workspace.task(name)
        for section in scorings(workspace.recipe.scoring, task.kind):
            check_scoring(task, section, named=name)
            asked.append((section, KINDS[task.kind].metrics))
    check_models_are_used(asked)
