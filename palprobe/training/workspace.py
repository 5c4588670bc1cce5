"""From a cell's names to what it stands for: its examples, clip keys, features, LLM and run folder, each found once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from palprobe.errors import UnfinishedError
from palprobe.features.clips import ClipIndex
from palprobe.features.identity import feature_identity, recorded_identity
from palprobe.features.store import FeatureStore
from palprobe.files import digest
from palprobe.integrations import resolve_section
from palprobe.llm import LLMSource, find_llm
from palprobe.recipe import IntegrationSection, Recipe, Trainable, parse_encoder, parse_task
from palprobe.runs import Cell, Places, Run, run_of, stage_command, trainable_of
from palprobe.tasks import load_task
from palprobe.tasks.splits import Splits, split_task, task_digest_fields
from palprobe.types import Counts, Example, Split, TaskData

VERSION = 1  # of the training loop and the probe; part of every run's identity


@dataclass(frozen=True, eq=False)
class Plan:
    """A cell with everything that its names stand for; nothing heavy is loaded."""

    cell: Cell
    recipe: Recipe
    task: TaskData
    splits: Splits
    keys: dict[str, str]  # example id -> clip key
    features: dict[str, Any]  # the features' identity
    llm: LLMSource
    integration: IntegrationSection
    trainable: Trainable
    run: Run

    def examples(self, split: Split) -> tuple[Example, ...]:
        chosen: tuple[Example, ...] = getattr(self.splits, split)
        return chosen


@dataclass(frozen=True, eq=False)
class Usable:
    """A split's examples whose features are there, and what became of the others."""

    examples: tuple[Example, ...]
    keys: tuple[str, ...]  # in parallel
    counts: Counts


class Workspace:
    """What several cells share is found once: tasks, clip keys, identities, stores.

    Args:
        recipe: of the whole grid.
        places: where features and runs are.
        encoders_checked: True where extraction has just seen the encoders themselves; else the identity of a user's
            own encoder is taken from the record that extraction left, so that it is not loaded.
    """

    def __init__(self, recipe: Recipe, places: Places, *, encoders_checked: bool = False) -> None:
        self.recipe, self.places = recipe, places
        self._encoders_checked = encoders_checked
        self._clips = ClipIndex(places.store)
        self._tasks: dict[str, TaskData] = {}
        self._keys: dict[str, dict[str, str]] = {}
        self._features: dict[str, dict[str, Any]] = {}
        self._llms: dict[str, LLMSource] = {}
        self._stores: dict[str, FeatureStore] = {}

    def task(self, spec: str) -> TaskData:
        if spec not in self._tasks:
            self._tasks[spec] = load_task(
                parse_task(spec),
                data_root=self.places.data_root,
                cache=self.places.store / "stimuli",
                allow_missing=self.recipe.data.allow_missing,
            )
        return self._tasks[spec]

    def splits(self, spec: str, fold: int | None) -> Splits:
        return split_task(self.task(spec), fold, self.recipe.data)

    def folds(self, spec: str) -> list[int | None]:
        """The folds to run of a task: those of the recipe, else all; [None] for a task without folds."""
        known = self.task(spec).folds
        if not known:
            return [None]
        return list(self.recipe.folds or known)

    def features(self, encoder: str) -> dict[str, Any]:
        if encoder not in self._features:
            spec = parse_encoder(encoder)
            if self._encoders_checked:
                self._features[encoder] = feature_identity(spec, self.recipe)
            else:
                self._features[encoder] = recorded_identity(spec, self.recipe, self.places.store)
        return self._features[encoder]

    def llm(self, name: str) -> LLMSource:
        if name not in self._llms:
            self._llms[name] = find_llm(name)
        return self._llms[name]

    def plan(self, cell: Cell) -> Plan:
        """Everything about a cell but its features.

        Raises:
            PalprobeError: any name, file or value that the cell cannot be run with.
        """
        recipe = cell.recipe(self.recipe)
        splits = self.splits(cell.task, cell.fold)
        examples = (*splits.train, *splits.validation, *splits.test)
        keys = self._clip_keys(cell.task, examples)
        section = resolve_section(cell.integration, recipe.integration)
        llm, trainable = self.llm(cell.llm), trainable_of(recipe)
        try:
            features = self.features(cell.encoder)
        except UnfinishedError as error:  # a user's own encoder, of which nothing was extracted
            raise self._not_extracted(cell, "no features") from error
        identity = {
            "version": VERSION,
            "features": features,
            "task": digest([task_digest_fields(splits), [keys[example.id] for example in examples]]),
            "llm": llm.identity,
            "integration": {"name": cell.integration, **section.model_dump()},
            "train": recipe.train.model_dump(exclude={"checkpoint_steps"}) | {"trainable": trainable},
            "seed": cell.seed,
            "fold": cell.fold,
        }
        run = run_of(self.places, identity)
        return Plan(cell, recipe, self.task(cell.task), splits, keys, features, llm, section, trainable, run)

    def store(self, plan: Plan) -> FeatureStore:
        """The cell's features.

        Raises:
            UnfinishedError: there are none, with the command that makes them.
        """
        name = digest(plan.features)
        if name not in self._stores:
            try:
                self._stores[name] = FeatureStore.open(self.places.store, plan.features)
            except UnfinishedError as error:
                raise self._not_extracted(plan.cell, "no features") from error
        return self._stores[name]

    def usable(self, plan: Plan, split: Split) -> Usable:
        """The split's examples that have features; clips that could not be decoded are counted as dropped.

        Raises:
            UnfinishedError: clips that extraction has not reached, with the command that makes their features.
        """
        store, failed = self.store(plan), self.store(plan).failures()
        listed = plan.examples(split)
        present = tuple(example for example in listed if plan.keys[example.id] in store)
        dropped = sum(plan.keys[example.id] in failed for example in listed if plan.keys[example.id] not in store)
        if len(present) + dropped < len(listed):
            absent = len(listed) - len(present) - dropped
            raise self._not_extracted(plan.cell, f"no features of {absent} of {len(listed)} {split} items")
        keys = tuple(plan.keys[example.id] for example in present)
        counts = Counts(
            found=len(listed),
            missing=len(plan.task.missing),
            dropped=dropped,
            used=len(present),
            padded=sum(store.padded(key) for key in keys),
        )
        return Usable(present, keys, counts)

    def _not_extracted(self, cell: Cell, found: str) -> UnfinishedError:
        line = stage_command("extract", cell, self.recipe, self.places)
        return UnfinishedError(f"{cell.encoder} on {cell.task}: {found}. Run: {line}")

    def _clip_keys(self, spec: str, examples: Sequence[Example]) -> dict[str, str]:
        known = self._keys.setdefault(spec, {})
        new = [example for example in examples if example.id not in known]
        known |= zip((example.id for example in new), self._clips.keys(new), strict=True)
        return known
