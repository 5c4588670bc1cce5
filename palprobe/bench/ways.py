"""Ways into the LLM: integrations by name, with a connector if not the default, and what each puts through it."""

from __future__ import annotations

from dataclasses import dataclass

from palprobe.bench.shapes import Shape
from palprobe.errors import RecipeError, UsageError
from palprobe.integrations import INTEGRATIONS, chosen_layers, resolve_section
from palprobe.recipe import IntegrationSection
from palprobe.registry import near_miss

BASELINE, LAL = "plits", "lal"
APART = "plits-apart"  # PLITS without attention among audio rows: not an integration, it splits LAL's saving in two
DEFAULT_WAYS = ("plits", "lal", "pal@v1", "pal@v3", "flamingo", "plits:qformer")
LEAST_LAYERS = {"pal@v1": 5}  # it begins with the fifth
FLAMINGO_WIDENING = 4  # of the feed-forward network in a block
QFORMER_WIDEST, QFORMER_BLOCKS = 768, 2


@dataclass(frozen=True)
class Way:
    """An integration with its options."""

    name: str  # as written, NAME[:CONNECTOR]
    integration: str  # registered
    section: IntegrationSection
    apart: bool = False


@dataclass(frozen=True)
class Map:
    """A trained matrix and how many rows of a clip it meets."""

    rows: int
    inputs: int
    outputs: int
    deep: bool = True  # whether something trained lies before it, so that its inputs need a gradient


@dataclass(frozen=True)
class Load:
    """What one clip puts through an LLM and through the trained modules before it."""

    prefix: int = 0  # rows before the text, in every layer
    memory: int = 0  # keys and values alone
    memory_layers: tuple[int, ...] = ()
    block_layers: tuple[int, ...] = ()  # before which a block of cross-attention and feed-forward runs on the text
    block_audio: int = 0  # keys and values of each block
    maps: tuple[Map, ...] = ()  # connectors, and the audio's side of blocks
    own_attention: int = 0  # floating point operations of attention inside the connector, forward
    own_products: int = 0  # of products without weights inside it, forward
    apart: bool = False  # prefix rows attend to themselves alone

    @property
    def columns(self) -> int:
        """Audio positions that the text can see in the LLM's own attention."""
        return self.prefix + self.memory


def parse_way(text: str) -> Way:
    """`NAME[:CONNECTOR]`, e.g. lal, plits:qformer, lal:per_layer.

    Raises:
        UsageError: no integration or connector of that name, or one whose cost is not known.
    """
    if text == APART:
        return Way(text, BASELINE, resolve_section(BASELINE, IntegrationSection()), apart=True)
    name, _, connector = text.partition(":")
    if name not in COUNTED:
        raise UsageError(
            f"--integrations: no cost is known of {name!r}.{near_miss(name, COUNTED)} Known: {', '.join(COUNTED)}, "
            "with :CONNECTOR where it is not the default."
        )
    INTEGRATIONS.check(name)
    try:
        section = resolve_section(name, IntegrationSection(connector=connector or None))
    except RecipeError as error:
        raise UsageError(f"--integrations {text}: {error}") from error
    return Way(text, name, section)


def load_of(way: Way, shape: Shape, *, audio_tokens: int, dim: int) -> Load:
    """What that way puts through the LLM for a clip of so many encoder tokens of `dim` numbers."""
    load = COUNTED[way.integration](way.section, shape, audio_tokens, dim)
    return Load(prefix=load.prefix, maps=load.maps, apart=True) if way.apart else load


def _connector(kind: str, rows: int, dim: int, hidden: int) -> tuple[Map, ...]:
    first = Map(rows, dim, hidden, deep=False)
    return (first, Map(rows, hidden, hidden)) if kind == "mlp" else (first,)


def _plits(section: IntegrationSection, shape: Shape, audio_tokens: int, dim: int) -> Load:
    if section.connector == "qformer":
        return _qformer(section, shape, audio_tokens, dim)
    maps = _connector(str(section.connector), audio_tokens, dim, shape.hidden_size)
    return Load(prefix=audio_tokens, maps=maps)


def _qformer(section: IntegrationSection, shape: Shape, audio_tokens: int, dim: int) -> Load:
    width = min(shape.hidden_size, QFORMER_WIDEST)
    windows = -(-audio_tokens // section.window)
    queries, seen = windows * section.queries, windows * section.window
    block = (
        Map(queries, width, 3 * width),
        Map(queries, width, width),
        Map(queries, width, width),  # queries of the cross-attention
        Map(seen, width, 2 * width),
        Map(queries, width, width),
        Map(queries, width, 4 * width),
        Map(queries, 4 * width, width),
    )
    maps = (Map(seen, dim, width, deep=False), *(QFORMER_BLOCKS * block), Map(queries, width, shape.hidden_size))
    attention = QFORMER_BLOCKS * 4 * width * queries * (section.queries + section.window)
    return Load(prefix=queries, maps=maps, own_attention=attention)


def _lal(section: IntegrationSection, shape: Shape, audio_tokens: int, dim: int) -> Load:
    layers = tuple(chosen_layers(section.layers, shape.num_layers))
    maps = _connector("mlp", audio_tokens, dim, shape.hidden_size)
    if section.connector == "per_layer":
        down = Map(audio_tokens, shape.hidden_size, section.rank)
        up = Map(audio_tokens, section.rank, shape.hidden_size)
        maps += (down, up) * len(layers)
    return Load(memory=audio_tokens, memory_layers=layers, maps=maps)


def _pal_summary(section: IntegrationSection, shape: Shape, audio_tokens: int, dim: int) -> Load:
    full, count = _lal(section, shape, audio_tokens, dim), section.summary_tokens
    return Load(
        prefix=count,
        memory=full.memory,
        memory_layers=full.memory_layers,
        maps=full.maps + _connector("mlp", count, dim, shape.hidden_size),
        own_products=2 * count * audio_tokens * dim,  # means of stretches
    )


def _flamingo(section: IntegrationSection, shape: Shape, audio_tokens: int, dim: int) -> Load:
    layers = tuple(chosen_layers(section.layers, shape.num_layers))
    hidden = shape.hidden_size
    maps = _connector(str(section.connector), audio_tokens, dim, hidden)
    maps += (Map(audio_tokens, hidden, 2 * hidden),) * len(layers)
    return Load(block_layers=layers, block_audio=audio_tokens, maps=maps)


COUNTED = {"plits": _plits, "lal": _lal, "pal@v1": _lal, "pal@v3": _pal_summary, "flamingo": _flamingo}
