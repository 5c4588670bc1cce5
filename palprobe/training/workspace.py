"""From a cell's names to what it stands for: its examples, clip keys, features, LLM and run folder, each found once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from palprobe.errors import UnfinishedError, UsageError
from palprobe.features.clips import ClipIndex
from palprobe.features.constant import constant_of, is_blind
from palprobe.features.identity import feature_identities, recorded_identities
from palprobe.features.source import FeatureSource, Source
from palprobe.files import digest
from palprobe.integrations.routing import Choice, Chosen, check_route, choose, fitting
from palprobe.llm import LLMSource, find_llm, load_tokenizer, template_fields
from palprobe.recipe import Recipe
from palprobe.recipe.rigor import NO_CONTROL
from palprobe.recipe.sweep import Variant, distinct
from palprobe.recipe.training import Trainable
from palprobe.runs import Cell, Places, extract_command, run_of, trainable_of
from palprobe.specs import parse_encoder, parse_task, split_encoders
from palprobe.tasks import load_task
from palprobe.tasks.controls import controlled
from palprobe.tasks.options import drawn, lists_options, options_fields
from palprobe.tasks.silence import STIMULI
from palprobe.tasks.splits import Splits, split_task
from palprobe.training.blind import counted
from palprobe.training.curriculum import Material, Stage, plan_course, train_fields
from palprobe.training.planned import EncoderFeatures, Planned, Usable, task_digest
from palprobe.training.resolution import options, resolved
from palprobe.types import Counts, Example, Split, TaskData

LLM_INDEX = "llms.jsonl"  # beside the features: sha256 of the files of LLMs
VERSION = 1  # of the training loop and the probe; part of every run's identity


@dataclass(frozen=True, eq=False)
class Plan(Planned):
    """A cell of an LLM, whose probe is trained in stages."""

    llm: LLMSource
    integrations: tuple[Choice, ...]  # in parallel
    trainable: Trainable  # the widest of all stages
    course: tuple[Stage, ...]


class Workspace:
    """What several cells share is found once: tasks, clip keys, identities, stores.

    Args:
        recipe: of the whole grid.
        places: where features and runs are.
        encoders_checked: True where extraction has just seen the encoders themselves; else the identity of a user's
            own encoder is taken from the record that extraction left, so that it is not loaded.
        only_encoding: True where no probe is trained or tested, so that a task may lack what that takes.
    """

    def __init__(
        self, recipe: Recipe, places: Places, *, encoders_checked: bool = False, only_encoding: bool = False
    ) -> None:
        self.recipe, self.places = recipe, places
        self._encoders_checked, self._only_encoding = encoders_checked, only_encoding
        self._clips = ClipIndex(places.store)
        self._tasks: dict[str, TaskData] = {}
        self._keys: dict[str, dict[str, str]] = {}
        self._features: dict[str, EncoderFeatures] = {}
        self._llms: dict[str, LLMSource] = {}
        self._sources: dict[str, Source] = {}

    def task(self, spec: str) -> TaskData:
        if spec not in self._tasks:
            self._tasks[spec] = load_task(
                parse_task(spec),
                data_root=self.places.data_root,
                cache=self.places.store / STIMULI,
                allow_missing=self.recipe.data.allow_missing,
            )
        return self._tasks[spec]

    def splits(self, spec: str, fold: int | None) -> Splits:
        splits = split_task(self.task(spec), fold, self.recipe.data, needs=self.roles(spec))
        if lists_options(self.recipe.prompt, self.task(spec).kind):  # scoring asks in every cyclic order instead
            return replace(splits, train=tuple(map(drawn, splits.train)))
        return splits

    def roles(self, spec: str) -> list[Split]:
        """What the recipe does with a task: it trains on it, tests it, or both; nothing where it is only encoded."""
        tested, training = spec in self.recipe.tasks and not self._only_encoding, self.recipe.train
        trained = spec in training.named_tasks or (tested and training.trains_on(spec))
        roles: dict[Split, bool] = {"train": trained, "test": tested}
        return [split for split, wanted in roles.items() if wanted]

    def folds(self, spec: str) -> list[int | None]:
        """The folds to run of a task: those of the recipe, else all; [None] for a task without folds."""
        known = self.task(spec).folds
        if not known:
            return [None]
        chosen = self.recipe.folds if spec in self.recipe.tasks else None  # other tasks are only trained on
        return list(chosen or known)

    def features(self, encoder: str) -> tuple[EncoderFeatures, ...]:
        """The identities of the features of each encoder in `A+B`."""
        if constant := constant_of(encoder):
            return ((constant.identity,),)
        return tuple(self._features_of(name) for name in split_encoders(encoder))

    def _features_of(self, encoder: str) -> EncoderFeatures:
        if encoder not in self._features:
            spec = parse_encoder(encoder)
            if self._encoders_checked:
                self._features[encoder] = feature_identities(spec, self.recipe)
            else:
                self._features[encoder] = recorded_identities(spec, self.recipe, self.places.store)
        return self._features[encoder]

    def encoders(self, text: str) -> list[str]:
        """The encoders that are compared under that spec: itself, or with `@all` one for each of its layers.

        Raises:
            UsageError: `@all` of an encoder that is heard together with others.
        """
        names = split_encoders(text)
        if not any(parse_encoder(name).layer == "all" for name in names):
            return [text]
        if len(names) > 1:
            raise UsageError(f"Encoders {text!r}: @all is one cell for each layer. Name one (@N), or mix: @weighted.")
        return [parse_encoder(text).at(identity.layers[0]).text for identity in self._features_of(text)]

    def chosen(self, encoder: str, integration: str, variant: Variant) -> Chosen:
        """What that integration comes to for each encoder in `A+B`, under one combination of a sweep.

        Raises:
            PalprobeError: names or options that are not there.
        """
        section = variant.apply(self.recipe).integration
        if is_blind(encoder):  # where `pal` asks for it, its cell is of the integration that this comes to
            return choose(integration, fitting(integration, section), {encoder: "general"})
        check_route(section, self.recipe.single_encoders)
        kinds = {name: self._features_of(name)[0].kind for name in split_encoders(encoder)}
        return choose(integration, section, kinds)

    def variants(self, encoder: str, integration: str) -> list[Variant]:
        """The combinations of the recipe's sweep that are cells of their own with this encoder and integration."""

        def identity(variant: Variant) -> dict[str, Any]:
            recipe = variant.apply(self.recipe)
            return {"llm": recipe.llm, **options(self.chosen(encoder, integration, variant), recipe)}

        return distinct(self.recipe, identity)

    def llm(self, name: str) -> LLMSource:
        if name not in self._llms:
            self._llms[name] = find_llm(name, self.places.store / LLM_INDEX)
            if self.recipe.prompt.template != "raw":
                load_tokenizer(self._llms[name], self.recipe.prompt.template)  # refused here, not after extraction
        return self._llms[name]

    def plan(self, cell: Cell) -> Plan:
        """Everything about a cell but its features.

        Raises:
            PalprobeError: any name, file or value that the cell cannot be run with.
        """
        splits = controlled(self.splits(cell.task, cell.fold), cell.control, self.recipe.data, seed=cell.seed)
        keys = self.clip_keys(cell.task, splits.everything)
        llm, cell = self.llm(cell.llm), counted(self, cell, splits, keys)
        try:
            features = self.features(cell.encoder)
            chosen = self.chosen(cell.encoder, cell.integration, cell.variant)
        except UnfinishedError as error:  # a user's own encoder, of which nothing was extracted
            raise self._not_extracted(cell, "no features") from error
        cell, recipe = resolved(cell, chosen, cell.recipe(self.recipe))
        trainable, course = trainable_of(recipe), plan_course(self, cell, recipe.train, splits, keys)
        fields = [[store.fields for store in stores] for stores in features]
        identity = {
            "version": VERSION,
            "features": fields[0] if len(fields) == 1 else fields,
            "task": task_digest(splits, keys),
            "llm": llm.identity,
            "integration": chosen.identity,
            "train": train_fields(recipe.train, course) | {"trainable": trainable},
            "seed": cell.seed,
            "fold": cell.fold,
            **template_fields(llm, recipe.prompt.template),
            **options_fields(recipe.prompt, self.task(cell.task).kind),
            **({} if cell.control == NO_CONTROL else {"control": cell.control}),
        }
        run = run_of(self.places, identity)
        task, choices = self.task(cell.task), chosen.choices
        return Plan(cell, recipe, task, splits, keys, features, run, llm, choices, trainable, course)

    def sources(self, plan: Planned) -> tuple[Source, ...]:
        """The cell's features, of each encoder.

        Raises:
            UnfinishedError: there are none, with the command that makes them.
        """
        if constant := constant_of(plan.cell.encoder):
            return (constant,)
        return tuple(self.source(stores, plan.cell) for stores in plan.features)

    def source(self, stores: EncoderFeatures, cell: Cell) -> Source:
        """The features of one encoder, on behalf of a cell.

        Raises:
            UnfinishedError: there are none, with the command that makes them.
        """
        name = digest([store.fields for store in stores])
        if name not in self._sources:
            try:
                self._sources[name] = FeatureSource.open(self.places.store, stores)
            except UnfinishedError as error:
                raise self._not_extracted(cell, "no features") from error
        return self._sources[name]

    def look_again(self) -> None:
        """After extraction: forgets what the stores held before."""
        self._sources.clear()

    def usable(self, plan: Planned, split: Split) -> Usable:
        """The split's examples that have features; clips that could not be decoded are counted as dropped.

        Raises:
            UnfinishedError: clips that extraction has not reached, with the command that makes their features.
        """
        return self.usable_of(plan, Material(plan.cell.task, plan.examples(split), plan.keys), what=split)

    def usable_of(self, plan: Planned, material: Material, *, what: str) -> Usable:
        """The same of any examples that a cell is trained on, perhaps of another task; `what` says which they are."""
        sources = self.sources(plan)
        failed = {key for source in sources for key in source.failures()}
        listed, clips = material.examples, material.keys
        present = tuple(example for example in listed if all(clips[example.id] in source for source in sources))
        there = {example.id for example in present}
        dropped = sum(clips[example.id] in failed for example in listed if example.id not in there)
        if len(present) + dropped < len(listed):
            absent = len(listed) - len(present) - dropped
            cell = replace(plan.cell, task=material.task)
            raise self._not_extracted(cell, f"no features of {absent} of {len(listed)} {what} items")
        keys = tuple(clips[example.id] for example in present)
        counts = Counts(
            found=len(listed),
            missing=len(self.task(material.task).missing),
            dropped=dropped,
            used=len(present),
            padded=sum(any(source.padded(key) for source in sources) for key in keys),
        )
        return Usable(present, keys, counts)

    def _not_extracted(self, cell: Cell, found: str) -> UnfinishedError:
        line = extract_command(cell.encoder, cell.task, self.recipe, self.places)
        return UnfinishedError(f"{cell.encoder} on {cell.task}: {found}. Run: {line}")

    def clip_keys(self, spec: str, examples: Sequence[Example]) -> dict[str, str]:
        """The key of each example's clip by the example's id; perhaps of more examples of that task."""
        known = self._keys.setdefault(spec, {})
        new = [example for example in examples if example.id not in known]
        known |= zip((example.id for example in new), self._clips.keys(new), strict=True)
        return known
