"""How much is done so that a difference can be believed: seeds and controls, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator

from palprobe.errors import RecipeError
from palprobe.registry import near_miss

Rigor = Literal["quick", "standard", "paper"]
NO_CONTROL = "none"  # the trained probe with its own audio
BLIND, VERBALISER, PORTIONS = "blind", "verbaliser", "portions"
SHUFFLED, SILENCE, GAUSSIAN = "shuffled", "silence", "gaussian"


@dataclass(frozen=True)
class ControlRules:
    """What a control is made of."""

    does: Literal["encoder", "trained", "evaluated", "pooled"]  # what is added to the grid
    summary: str


CONTROLS: Mapping[str, ControlRules] = MappingProxyType(
    {
        "floor": ControlRules("encoder", "the encoder logmel, where it is not compared anyway"),
        "random": ControlRules("encoder", "each encoder that has weights, untrained, with two seeds of its weights"),
        BLIND: ControlRules("trained", "a probe that is shown a learned constant in place of audio"),
        VERBALISER: ControlRules("trained", "a probe that is taught the classes under each other's names"),
        PORTIONS: ControlRules("trained", "probes that are trained on parts of the training split: code length, curve"),
        SHUFFLED: ControlRules("evaluated", "every question is asked about another clip of the test set"),
        SILENCE: ControlRules("evaluated", "the features of a silent clip, as long as the clip's own"),
        GAUSSIAN: ControlRules("evaluated", "noise with the mean and deviation of the features, as long as the clip"),
        "linear": ControlRules("pooled", "a linear classifier on the mean of the same features over time; no LLM"),
        "knn": ControlRules("pooled", "nearest neighbours by the mean of the same features over time; no LLM"),
    }
)
PORTION = re.compile(r"portion (0?\.\d+)")  # the control of one run: trained on that share of the groups


@dataclass(frozen=True)
class Preset:
    """What a level of rigor comes to where a recipe does not say."""

    seeds: tuple[int, ...]
    controls: tuple[str, ...]


_QUICK = (SHUFFLED, "floor")
_STANDARD = (*_QUICK, BLIND, "linear")
PRESETS: Mapping[Rigor, Preset] = MappingProxyType(
    {
        "quick": Preset((0,), _QUICK),
        "standard": Preset((0, 1, 2), _STANDARD),
        "paper": Preset((0, 1, 2, 3, 4), (*_STANDARD, "random", SILENCE, GAUSSIAN, VERBALISER, "knn", PORTIONS)),
    }
)


def _known(name: str) -> str:
    """Raises ValueError unless it is a control, or that of one run."""
    if name not in CONTROLS and not PORTION.fullmatch(name):
        raise ValueError(f"no control is named {name!r}.{near_miss(name, CONTROLS)} Known: {', '.join(CONTROLS)}")
    return name


Control = Annotated[str, AfterValidator(_known)]


def controls_that(does: str) -> tuple[str, ...]:
    """The names of the controls of one sort."""
    return tuple(name for name, rules in CONTROLS.items() if rules.does == does)


def check_trained(name: str) -> str:
    """The control of one run, as it is named in its recipe.

    Raises:
        RecipeError: it is no control that a run is trained with.
    """
    known = [NO_CONTROL, VERBALISER, "portion 0.1"]
    if name not in known and not PORTION.fullmatch(name):
        hint = near_miss(name, known)
        raise RecipeError(f"No run is trained with the control {name!r}.{hint} Known: {', '.join(known)} (or so).")
    return name
