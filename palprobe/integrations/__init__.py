"""How audio reaches the LLM, by name; each is a module that turns features into an `AudioContext`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from palprobe.errors import RecipeError
from palprobe.recipe import IntegrationSection
from palprobe.registry import Part, Registry, near_miss
from palprobe.types import LLMShape

if TYPE_CHECKING:
    from torch import nn

INTEGRATIONS = Registry(
    "integration",
    {
        "plits": Part("palprobe.integrations.plits:Plits", "audio tokens before the text, through every layer"),
        "lal": Part("palprobe.integrations.lal:Lal", "audio as keys and values only: no queries, no feed-forward"),
        "pal": Part(
            "palprobe.integrations.routing:choose",
            "speech encoders through plits, general ones through lal (pal@v2); of one encoder, the cell that this is",
        ),
        "pal@v1": Part("palprobe.integrations.lal:Lal", "lal from layer 4 on (0-based)"),
        "pal@v3": Part(
            "palprobe.integrations.pal_summary:PalSummary",
            "a few summary tokens through plits, the full sequence through lal",
        ),
        "flamingo": Part(
            "palprobe.integrations.flamingo:Flamingo",
            "the baseline: gated cross-attention blocks with a feed-forward of their own",
        ),
    },
)

# The first is the default; names only, so that a recipe is checked without loading torch.
CONNECTORS: dict[str, tuple[str, ...]] = {
    "plits": ("mlp", "linear", "qformer"),
    "lal": ("shared", "per_layer"),
    "pal@v1": ("shared", "per_layer"),
    "pal@v3": ("shared", "per_layer"),
    "flamingo": ("mlp", "linear"),
}
# What each reads beside connector, dropout and pooling, and what only some connectors read.
OPTIONS: dict[str, tuple[str, ...]] = {
    "plits": (),
    "lal": ("layers", "positions"),
    "pal": ("route",),
    "pal@v1": ("layers", "positions"),
    "pal@v3": ("layers", "positions", "summary_tokens", "summary_sees_memory"),
    "flamingo": ("layers",),
}
CONNECTOR_OPTIONS: dict[str, tuple[str, ...]] = {"per_layer": ("rank",), "qformer": ("queries", "window")}
DEFAULT_LAYERS = {"pal@v1": "from:4"}  # the first version left out the first four; "all" elsewhere
ALWAYS_TOLD = {"layers", "positions", "rank"}  # in the identity of every run, at the default where it is not read


def _unread(name: str, connector: str) -> set[str]:
    every = {option for options in (*OPTIONS.values(), *CONNECTOR_OPTIONS.values()) for option in options}
    return every - {*OPTIONS[name], *CONNECTOR_OPTIONS.get(connector, ())}


def resolve_section(name: str, section: IntegrationSection) -> IntegrationSection:
    """The options that this integration reads, the connector filled in, and what it does not read at its default.

    Options without effect are left out of a run's identity, so `layers` for lal does not retrain plits.

    Raises:
        UnknownNameError: no integration of that name.
        RecipeError: a connector that it does not have.
    """
    INTEGRATIONS.check(name)
    known = CONNECTORS[name]
    connector = section.connector or known[0]
    if connector not in known:
        hint = near_miss(connector, known)
        raise RecipeError(f"integration.connector = {connector!r}: {name} has {', '.join(known)}.{hint}")
    values = section.model_dump() | {"connector": connector}
    for option in _unread(name, connector):
        values[option] = IntegrationSection.model_fields[option].get_default(call_default_factory=True)
    if values["layers"] == "all":
        values["layers"] = DEFAULT_LAYERS.get(name, "all")
    return IntegrationSection.model_validate(values)


def identity_fields(name: str, section: IntegrationSection) -> dict[str, Any]:
    """What of the options stands in a run's identity.

    An option that only other integrations read does not, so that a new one leaves the runs that are there valid.

    Args:
        name: registered.
        section: from `resolve_section`.
    """
    return {"name": name, **section.model_dump(exclude=_unread(name, str(section.connector)) - ALWAYS_TOLD)}


def chosen_layers(layers: str | list[int], num_layers: int) -> list[int]:
    """`all`, `from:k` or a list, as 0-based layer numbers.

    Raises:
        RecipeError: a layer that the LLM does not have.
    """
    if layers == "all":
        return list(range(num_layers))
    chosen = list(range(int(layers.removeprefix("from:")), num_layers)) if isinstance(layers, str) else sorted(layers)
    if not chosen or chosen[-1] >= num_layers:
        raise RecipeError(
            f"integration.layers = {layers!r}: the LLM has layers 0 to {num_layers - 1}. Name some of those."
        )
    return chosen


def build_integration(name: str, *, dim: int, shape: LLMShape, section: IntegrationSection, seed: int) -> nn.Module:
    """The integration's module with initial weights from `seed`; the global generator is left alone.

    Args:
        name: registered.
        dim: D of the features.
        shape: of the LLM.
        section: from `resolve_section`.
        seed: of the weights.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module: nn.Module = INTEGRATIONS.load(name)(dim, shape, section)
    return module
