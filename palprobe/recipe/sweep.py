"""Sweeps: one recipe for each combination of the values that some of its keys are to take.

A sweep is an axis of the grid like encoders and seeds. What has an axis of its own (encoders, integrations, tasks,
seeds, folds) is not swept over, nor what all rows of one comparison share: items, features, scoring.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from palprobe.errors import RecipeError
from palprobe.files import canonical_json, digest
from palprobe.recipe import Recipe, known_keys, with_values
from palprobe.registry import near_miss

LLM = "llm"
SECTIONS = ("integration", "train")
AXES = ("encoders", "integrations", "tasks", "seeds", "folds")
OWN_COLUMN = (LLM, "train.trainable")  # in every table: they need no label
REASONS = {
    "data": "all rows of a comparison are about the same items",
    "store": "all rows of an encoder read the same features",
    "encoder": "all rows of an encoder read the same features",
    "scoring": "it scores a finished run another way; `palprobe eval --scoring` does that",
    "train.checkpoint_steps": "it changes no result",
    "train.checkpointing": "it changes no result",
}


@dataclass(frozen=True)
class Variant:
    """One combination: values of some keys in place of the recipe's own."""

    settings: tuple[tuple[str, str], ...] = ()  # dotted key, value as JSON
    label: str = ""  # what tells it from the others in a table, "layers=from:2"; no part of any identity

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe of this combination alone.

        Raises:
            RecipeError: values that do not go together.
        """
        if not self.settings:
            return recipe
        return with_values(recipe, {key: json.loads(value) for key, value in self.settings} | {"sweep": {}})


PLAIN = Variant()  # the recipe as it is


def variants(recipe: Recipe) -> list[Variant]:
    """Every combination, the last key changing fastest; without a sweep one that changes nothing.

    Raises:
        RecipeError: a key that is unknown or not to be swept over, or a value that it does not take or has twice.
    """
    axes = [[(key, value) for value in _values(recipe, key)] for key in recipe.sweep]
    found = [Variant(settings) for settings in product(*axes)]
    for variant in found:
        variant.apply(recipe)
    return found


def distinct(recipe: Recipe, identity: Callable[[Variant], Any]) -> list[Variant]:
    """The combinations that differ in effect, each under a label.

    An option that an integration does not read makes no second run of it, and does not stand in the label of the one.

    Args:
        recipe: with its sweep.
        identity: what a combination comes to, as JSON; alike for two that give the same run.
    """
    alike: dict[str, list[Variant]] = {}
    for variant in variants(recipe):
        alike.setdefault(digest(identity(variant)), []).append(variant)
    return [replace(group[0], label=_label(recipe.sweep, group)) for group in alike.values()]


def _label(sweep: Mapping[str, Sequence[Any]], alike: Sequence[Variant]) -> str:
    """The keys that have several values, on one of which all that are alike agree."""
    told = [
        f"{_short(key)}={_shown(value)}"
        for key, value in alike[0].settings
        if key not in OWN_COLUMN and len(sweep[key]) > 1 and all((key, value) in other.settings for other in alike)
    ]
    return " ".join(told)


def _values(recipe: Recipe, key: str) -> list[str]:
    """The values of one key, as JSON of what the recipe would hold."""
    _check_key(key)
    found: list[str] = []
    for given in recipe.sweep[key]:
        held: Any = with_values(recipe, {key: given, "sweep": {}})
        for name in key.split("."):
            held = getattr(held, name)
        value = canonical_json(held)
        if value in found:
            raise RecipeError(f"sweep: {key} takes {_shown(value)} twice. Leave one out.")
        found.append(value)
    return found


def _check_key(key: str) -> None:
    swept = _sweepable()
    if key in swept:
        return
    if key not in known_keys(Recipe):
        hint = near_miss(key, swept)
        raise RecipeError(f"sweep: no recipe key is named {key!r}.{hint} `palprobe validate` prints all keys.")
    if key in AXES:
        raise RecipeError(f"sweep: {key} has an axis of its own. Write {key}: [a, b], or --{key} a,b.")
    section = key.split(".")[0]
    reason = REASONS.get(key) or REASONS.get(section) or "it decides no run"
    if key in SECTIONS:
        reason = f"it is a section; take one of its keys, as {next(one for one in swept if one.startswith(section))}"
    raise RecipeError(f"sweep: {key} cannot be swept over: {reason}.")


def _sweepable() -> list[str]:
    of_sections = [key for key in known_keys(Recipe) if "." in key and key.split(".")[0] in SECTIONS]
    return [LLM, *(key for key in of_sections if key not in REASONS)]


def _short(key: str) -> str:
    """The last word of a key, where no other key that can be swept over ends in it."""
    last = key.split(".")[-1]
    return last if sum(known.split(".")[-1] == last for known in _sweepable()) == 1 else key


def _shown(value: str) -> str:
    """A value as it is written on the command line."""
    plain = json.loads(value)
    return plain if isinstance(plain, str) else value
