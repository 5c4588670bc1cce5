"""Recipes: what a person asks for, validated as one whole."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from palprobe.errors import RecipeError, UsageError
from palprobe.recipe.rigor import PRESETS, Control, Rigor
from palprobe.recipe.scoring import ScoringSection
from palprobe.recipe.section import Section
from palprobe.recipe.training import StageSection, TrainSection
from palprobe.recipe.yaml12 import parse_yaml
from palprobe.registry import near_miss
from palprobe.specs import split_encoders

Template = Literal["raw", "chat", "xares"]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]  # what both numpy and torch take


class DataSection(Section):
    """Which items are used, and how many losses are borne."""

    limit: int | None = Field(None, ge=1, description="use at most this many items of each split, drawn by split_seed")
    max_dropped: float = Field(0.01, ge=0, le=1, description="share of undecodable files above which extraction stops")
    allow_missing: bool = Field(False, description="go on although a manifest names files that are not there")
    validation_fraction: float = Field(
        0.1, gt=0, lt=0.5, description="of the training groups, where a task has no validation split"
    )
    split_seed: int = Field(0, description="draws the validation groups and the limit; not the training seed")


class StoreSection(Section):
    dtype: Literal["float16", "float32"] = "float16"
    shard_items: int = Field(512, ge=1, description="a shard is written after so many clips")


class EncoderSection(Section):
    init_seed: Seed = Field(0, description="weights of a random: control")
    untrained_window_seconds: float = Field(
        5.0, gt=0, le=30, description="window of an untrained whisper (or tower like it); trained ones keep 30 s"
    )


class IntegrationSection(Section):
    connector: str | None = Field(
        None, description="plits: mlp | linear | qformer; lal, pal@…: shared | per_layer; flamingo: mlp | linear"
    )
    layers: str | list[int] = Field(
        "all", description="lal, pal@…, flamingo: all (pal@v1: from:4), from:k (0-based) or a list of layers"
    )
    positions: Literal["before", "none"] = Field("before", description="lal, pal@…: rotary positions of audio keys")
    rank: int = Field(16, ge=1, description="lal, pal@… per_layer: rank of each layer's own map")
    queries: int = Field(16, ge=1, description="plits qformer: tokens for each window")
    window: int = Field(64, ge=1, description="plits qformer: features in a window")
    summary_tokens: int = Field(16, ge=1, description="pal@v3: tokens before the text, means of equal stretches")
    summary_sees_memory: bool = Field(
        True, description="pal@v3: whether the summary tokens attend to the full sequence"
    )
    route: dict[str, Literal["plits", "lal"]] = Field(
        default_factory=dict,
        description="pal: plits or lal for an encoder, or for a kind: {speech: plits, general: lal} if not given",
    )
    pool: str = Field(
        "none",
        description="averaged on reading: none | bands (all of a time step of patches) | time:k (k steps)",
    )
    tokens_per_second: float | None = Field(
        None, gt=0, description="instead of pool: at most about so many audio tokens per second, alike for all encoders"
    )
    dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.tokens_per_second is not None and self.pool != "none":
            raise ValueError("pool and tokens_per_second both decide how many tokens there are: leave one out")
        return self

    @field_validator("pool")
    @classmethod
    def _pool(cls, value: str) -> str:
        if not re.fullmatch(r"none|bands|time:[1-9]\d*", value):
            raise ValueError("write none, bands, or time:k with a whole number k")
        return value

    @field_validator("layers")
    @classmethod
    def _layers(cls, value: str | list[int]) -> str | list[int]:
        if isinstance(value, str) and not re.fullmatch(r"all|from:\d+", value):
            raise ValueError("write all, from:k with a 0-based layer k, or a list of layers")
        if isinstance(value, list) and (not value or min(value) < 0 or len(set(value)) < len(value)):
            raise ValueError("a list of layers holds distinct 0-based numbers")
        return value


class PromptSection(Section):
    """What stands around a question's text; audio comes before all of it."""

    template: Template = Field(
        "raw",
        description="raw: the prompt and a newline | chat: one user turn of the LLM's own chat template | "
        "xares: the prompt alone, as xares-llm has it",
    )
    options: Literal["hidden", "listed"] = Field(
        "hidden", description="of multiple-choice questions: scored by their text alone, or also listed in the prompt"
    )


class Recipe(Section):
    """Everything that decides a result, and the places, device and format that do not."""

    name: str = Field("compare", pattern=r"^\w[\w.-]*$", description="folder under results/")
    encoders: list[str] = Field(default_factory=lambda: ["logmel"], min_length=1)
    integrations: list[str] = Field(default_factory=lambda: ["plits", "lal"], min_length=1)
    tasks: list[str] = Field(default_factory=lambda: ["diagnostics"], min_length=1)
    llm: str = "tiny"
    rigor: Rigor = Field("standard", description="of compare: seeds and controls, where these do not say")
    seeds: list[Seed] | None = Field(None, min_length=1, description="of compare, if not given: those of its rigor")
    controls: list[Control] | None = Field(None, description="the same of controls; [] for none")
    folds: list[int] | None = Field(None, min_length=1)
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="dotted key: values in its place, every combination a run, see recipe/sweep.py",
    )
    data: DataSection = DataSection()
    store: StoreSection = StoreSection()
    encoder: EncoderSection = EncoderSection()
    integration: IntegrationSection = IntegrationSection()
    prompt: PromptSection = PromptSection()
    train: TrainSection = TrainSection()
    scoring: ScoringSection = ScoringSection()

    @field_validator("encoders", "integrations", "tasks", "seeds", "folds", "controls")
    @classmethod
    def _distinct(cls, value: list[Any] | None) -> list[Any] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("the same entry stands there twice")
        return value

    @property
    def training_seeds(self) -> list[int]:
        """Those of a comparison."""
        return list(PRESETS[self.rigor].seeds) if self.seeds is None else self.seeds

    @property
    def wanted_controls(self) -> list[str]:
        """Those of a comparison."""
        return list(PRESETS[self.rigor].controls) if self.controls is None else self.controls

    @property
    def single_encoders(self) -> list[str]:
        """The encoders that are heard, alone or together with others, each once."""
        return list(dict.fromkeys(name for text in self.encoders for name in split_encoders(text)))


def load_recipe(
    source: Path | None = None,
    *,
    settings: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    sweep: Mapping[str, Sequence[Any]] | None = None,
) -> Recipe:
    """The recipe that flags, `--set` lines and a file make together: flag > --set > recipe > default.

    Args:
        source: a YAML file; None for the defaults.
        settings: `key=value` lines with dotted keys, values read as YAML.
        flags: dotted keys of command-line flags; None values were not given.
        sweep: values of dotted keys, beside and before those that the recipe sweeps over.

    Raises:
        RecipeError: no YAML, an unknown key (the nearest is named), or a value out of range (its key is named).
        UsageError: a setting without value, or a key that is both set and swept over.
    """
    values: dict[str, Any] = {}
    if source is not None:
        loaded = parse_yaml(_read_text(source), where=str(source))
        if not isinstance(loaded, dict | None):
            raise RecipeError(f"{source} holds {type(loaded).__name__}, not keys and values. recipes/ has examples.")
        values = loaded or {}
    given = {key for key, value in (flags or {}).items() if value is not None}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting!r} has no '='. Write --set train.steps=200.")
        _put(values, key.strip(), parse_yaml(value, where=f"--set {key}"))
        given.add(key.strip())
    for key, value in (flags or {}).items():
        if value is not None:
            _put(values, key, value)
    if isinstance(swept := values.get("sweep", {}), dict):  # else it is named below
        values["sweep"] = swept | dict(sweep or {})
        _check_given_once(values["sweep"], given)
    return _validated(values, source)


def with_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other values of some dotted keys.

    Raises:
        RecipeError: an unknown key, or a value out of range.
    """
    content = recipe.model_dump(exclude_unset=True)
    for key, value in values.items():
        _put(content, key, value)
    return _validated(content, None)


def _check_given_once(sweep: Mapping[str, Any], given: set[str]) -> None:
    if both := sorted(given & sweep.keys()):
        raise UsageError(
            f"{both[0]} is set on the command line, and swept over ({sweep[both[0]]}): leave one out. "
            "--set sweep={} leaves out what the recipe sweeps over."
        )


def _validated(values: Mapping[str, Any], source: Path | None) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(_explain(error, source)) from error


def _read_text(source: Path) -> str:
    try:
        return source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"The recipe {source} cannot be read: {error}.") from error


def _put(values: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, last = dotted.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"{dotted}: {section} is a single value, not a section.")
        values = inner
    values[last] = value


def known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """The dotted keys of a recipe, sections among them."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += known_keys(field.annotation, f"{prefix}{name}.")
    return keys


def _explain(error: ValidationError, source: Path | None) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    where = f"{source}: " if source else ""
    if first["type"] == "extra_forbidden":
        beside = [f"{key.rpartition('.')[0]}.{name}" for name in StageSection.model_fields if ".stages." in key]
        hint = near_miss(key, beside or known_keys(Recipe))
        return f"{where}no recipe key is named {key!r}.{hint} `palprobe validate` prints all keys."
    hint = " Write [a, b]." if first["type"] == "list_type" else ""
    return f"{where}{key} = {first['input']!r}: {first['msg'].removeprefix('Value error, ')}.{hint}"


def dump_recipe(recipe: Recipe) -> str:
    """The recipe with every default written out, as YAML that `load_recipe` reads back."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
