"""Which integration each encoder of a cell takes: the one that is named, or with `pal` the one that its kind asks for.

PAL's second version sends speech encoders (Whisper) through PLITS, since their tokens gain from the LLM's layers, and
general ones (SSLAM, CLAP) through LAL (arXiv 2506.10423 v2). With one encoder that is plits or lal and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from palprobe.errors import RecipeError
from palprobe.integrations import CONNECTORS, INTEGRATIONS, identity_fields, resolve_section
from palprobe.recipe import IntegrationSection
from palprobe.registry import near_miss
from palprobe.types import Kind

PAL = "pal"
ALIASES = {"pal@v2": PAL, "pal-summary": "pal@v3"}
ROUTES: Mapping[Kind, str] = {"speech": "plits", "general": "lal"}


@dataclass(frozen=True)
class Choice:
    """The integration that one encoder takes, with the options that it reads."""

    name: str
    section: IntegrationSection


@dataclass(frozen=True)
class Chosen:
    """What an integration's name comes to for the encoders of a cell."""

    name: str  # plits, lal, … where all take the same; else pal
    choices: tuple[Choice, ...]  # one for each encoder

    @property
    def identity(self) -> Any:
        """What of it stands in a run's identity; of one encoder, as if no other had ever been thought of."""
        fields = [identity_fields(choice.name, choice.section) for choice in self.choices]
        return fields[0] if len(fields) == 1 else fields

    def shown(self, asked: str) -> str:
        """How the cell is called where it was asked for by that name: `pal (= lal)`."""
        name = ALIASES.get(asked, asked)
        return name if name == self.name else f"{name} (= {self.name})"


def check_integration(name: str, section: IntegrationSection) -> str:
    """The name itself in place of an alias, once it and its connector are known to be there.

    Raises:
        UnknownNameError: no integration of that name.
        RecipeError: a connector that it does not have.
    """
    name = ALIASES.get(name, name)
    INTEGRATIONS.check(name)
    if name != PAL:
        resolve_section(name, section)
    elif section.connector is not None:
        known = [kind for route in ROUTES.values() for kind in CONNECTORS[route]]
        if section.connector not in known:
            hint = near_miss(section.connector, known)
            raise RecipeError(f"integration.connector = {section.connector!r}: pal has {', '.join(known)}.{hint}")
    return name


def check_route(section: IntegrationSection, encoders: Sequence[str]) -> None:
    """Raises RecipeError if `integration.route` names what is neither a kind nor one of the encoders."""
    known = [*get_args(Kind), *encoders]
    for name in section.route:
        if name not in known:
            raise RecipeError(
                f"integration.route names {name!r}, which is no kind and no encoder here.{near_miss(name, known)} "
                f"Known: {', '.join(known)}."
            )


def choose(name: str, section: IntegrationSection, encoders: Mapping[str, Kind]) -> Chosen:
    """What each encoder takes.

    Args:
        name: registered, or an alias.
        section: for `pal`, `route` sends an encoder or a kind elsewhere, and `connector` counts for the encoders whose
            integration has it.
        encoders: their kinds, in the order in which they are heard.

    Raises:
        as `check_integration`.
    """
    name = check_integration(name, section)
    if name != PAL:
        return Chosen(name, (Choice(name, resolve_section(name, section)),) * len(encoders))
    by_kind = {kind: section.route.get(kind, ROUTES[kind]) for kind in ROUTES}
    routes = [section.route.get(encoder, by_kind[kind]) for encoder, kind in encoders.items()]
    choices = tuple(Choice(route, resolve_section(route, fitting(route, section))) for route in routes)
    return Chosen(routes[0] if len(set(routes)) == 1 else PAL, choices)


def fitting(route: str, section: IntegrationSection) -> IntegrationSection:
    """The section without a connector that is another integration's."""
    if section.connector in CONNECTORS[route]:
        return section
    return section.model_copy(update={"connector": None})
