"""From a cell's names to what it stands for: its examples, clip keys, features, LLM and run folder, each found once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from palprobe.errors import UnfinishedError
from palprobe.features.clips import ClipIndex
from palprobe.features.identity import StoreIdentity, feature_identities, recorded_identities
from palprobe.features.source import FeatureSource
from palprobe.files import digest
from palprobe.integrations import identity_fields, resolve_section
from palprobe.llm import LLMSource, find_llm
from palprobe.recipe import IntegrationSection, Recipe, Trainable
from palprobe.runs import Cell, Places, Run, extract_command, run_of, trainable_of
from palprobe.specs import parse_encoder, parse_task
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
    features: tuple[StoreIdentity, ...]  # one, or one for each layer that the probe weighs
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
        self._features: dict[str, tuple[StoreIdentity, ...]] = {}
        self._llms: dict[str, LLMSource] = {}
        self._sources: dict[str, FeatureSource] = {}

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

    def features(self, encoder: str) -> tuple[StoreIdentity, ...]:
        if encoder not in self._features:
            spec = parse_encoder(encoder)
            if self._encoders_checked:
                self._features[encoder] = feature_identities(spec, self.recipe)
            else:
                self._features[encoder] = recorded_identities(spec, self.recipe, self.places.store)
        return self._features[encoder]

    def encoders(self, text: str) -> list[str]:
        """The encoders that are compared under that spec: itself, or with `@all` one for each of its layers."""
        spec = parse_encoder(text)
        if spec.layer != "all":
            return [text]
        return [spec.at(identity.layers[0]).text for identity in self.features(text)]

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
            "features": [identity.fields for identity in features],
            "task": digest([task_digest_fields(splits), [keys[example.id] for example in examples]]),
            "llm": llm.identity,
            "integration": identity_fields(cell.integration, section),
            "train": recipe.train.model_dump(exclude={"checkpoint_steps"}) | {"trainable": trainable},
            "seed": cell.seed,
            "fold": cell.fold,
        }
        run = run_of(self.places, identity)
        return Plan(cell, recipe, self.task(cell.task), splits, keys, features, llm, section, trainable, run)

    def source(self, plan: Plan) -> FeatureSource:
        """The cell's features.

        Raises:
            UnfinishedError: there are none, with the command that makes them.
        """
        name = digest([identity.fields for identity in plan.features])
        if name not in self._sources:
            try:
                self._sources[name] = FeatureSource.open(self.places.store, plan.features)
            except UnfinishedError as error:
                raise self._not_extracted(plan.cell, "no features") from error
        return self._sources[name]

    def usable(self, plan: Plan, split: Split) -> Usable:
        """The split's examples that have features; clips that could not be decoded are counted as dropped.

        Raises:
            UnfinishedError: clips that extraction has not reached, with the command that makes their features.
        """
        source = self.source(plan)
        failed = source.failures()
        listed = plan.examples(split)
        present = tuple(example for example in listed if plan.keys[example.id] in source)
        dropped = sum(plan.keys[example.id] in failed for example in listed if plan.keys[example.id] not in source)
        if len(present) + dropped < len(listed):
            absent = len(listed) - len(present) - dropped
            raise self._not_extracted(plan.cell, f"no features of {absent} of {len(listed)} {split} items")
        keys = tuple(plan.keys[example.id] for example in present)
        counts = Counts(
            found=len(listed),
            missing=len(plan.task.missing),
            dropped=dropped,
            used=len(present),
            padded=sum(source.padded(key) for key in keys),
        )
        return Usable(present, keys, counts)

    def _not_extracted(self, cell: Cell, found: str) -> UnfinishedError:
        line = extract_command(cell.encoder, cell.task, self.recipe, self.places)
        return UnfinishedError(f"{cell.encoder} on {cell.task}: {found}. Run: {line}")

    def _clip_keys(self, spec: str, examples: Sequence[Example]) -> dict[str, str]:
        known = self._keys.setdefault(spec, {})
        new = [example for example in examples if example.id not in known]
        known |= zip((example.id for example in new), self._clips.keys(new), strict=True)
        return known
