"""The grid of costs as it is asked for, checked whole before anything is measured; loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from palprobe.bench.shapes import Shape, find_shape
from palprobe.bench.ways import APART, BASELINE, DEFAULT_WAYS, LAL, LEAST_LAYERS, Way, load_of, parse_way
from palprobe.encoders import identify
from palprobe.errors import UsageError
from palprobe.recipe import EncoderSection
from palprobe.recipe.training import Trainable
from palprobe.specs import parse_encoder

ANSWER_TOKENS = 8  # at most; the rest of the text is the prompt
NEW_TOKENS = 8  # decoded after the first
FEATURE_SIZE = 768  # D of most encoders
LARGEST_BATCH, BATCH_TOKENS = 4, 4096  # of audio and text: more does not fit small machines


@dataclass(frozen=True)
class Group:
    """One LLM and one size of batch: its cells are compared with each other."""

    shape: Shape
    audio_tokens: int
    text_tokens: int
    batch: int  # clips

    @property
    def answer_tokens(self) -> int:
        return min(ANSWER_TOKENS, self.text_tokens)

    @property
    def name(self) -> str:
        return f"{self.shape.name}, {self.batch} × {self.audio_tokens} audio and {self.text_tokens} text tokens"


@dataclass(frozen=True)
class Grid:
    """What is to be measured."""

    groups: tuple[Group, ...]
    ways: tuple[Way, ...]
    device: str
    trainable: Trainable
    encoders: tuple[str, ...]
    time_limit: float | None  # seconds

    @property
    def dtype(self) -> Literal["float32", "bfloat16"]:
        """What each kind of device is fast in."""
        return "float32" if self.device == "cpu" else "bfloat16"


def plan_grid(
    llms: Sequence[str],
    *,
    audio_tokens: Sequence[int],
    text_tokens: Sequence[int],
    integrations: Sequence[str] | None,
    device: str,
    batch: int | None = None,
    trainable: Trainable = "connector",
    encoders: Sequence[str] = (),
    time_limit: float | None = None,
) -> Grid:
    """Every group of the grid, in the order asked for.

    PLITS is always measured, since everything else is told beside it; with LAL, so is PLITS without attention among
    audio rows, which splits LAL's saving.

    Args:
        llms: shapes by name, or folders with a config.json.
        audio_tokens: of the encoder, per clip.
        text_tokens: prompt and answer.
        integrations: NAME[:CONNECTOR]; None: all that the LLMs have layers for.
        device: resolved.
        batch: clips; None: as many as `batch_of` says.
        trainable: of the LLM.
        encoders: whose time is added, by their specs.
        time_limit: in seconds.

    Raises:
        UsageError: a name that is not known, a size that is not positive, or more tokens than an LLM has positions.
        WeightsError: an encoder whose weights are not there.
    """
    sizes = {"--audio-tokens": audio_tokens, "--text-tokens": text_tokens, "--batch": [] if batch is None else [batch]}
    for option, values in sizes.items():
        if any(value < 1 for value in values) or (option != "--batch" and not values):
            raise UsageError(f"{option} {','.join(map(str, values))}: give positive whole numbers.")
    if time_limit is not None and not time_limit > 0:
        raise UsageError(f"--time-limit {time_limit:g}: give a positive number of seconds.")
    shapes = [find_shape(name) for name in dict.fromkeys(llms)]
    names = dict.fromkeys([BASELINE, *(_default_ways(shapes) if integrations is None else integrations)])
    ways = tuple(parse_way(name) for name in (names | {APART: None} if LAL in names else names))
    groups = tuple(
        Group(shape, audio, text, batch or batch_of(audio, text))
        for shape in shapes
        for audio in dict.fromkeys(audio_tokens)
        for text in dict.fromkeys(text_tokens)
    )
    for group in groups:
        _check_positions(group, ways)
    for spec in encoders:
        identify(parse_encoder(spec), EncoderSection())
    return Grid(groups, ways, device, trainable, tuple(dict.fromkeys(encoders)), time_limit)


def _default_ways(shapes: Sequence[Shape]) -> list[str]:
    fewest = min(shape.num_layers for shape in shapes)
    return [name for name in DEFAULT_WAYS if LEAST_LAYERS.get(name, 1) <= fewest]


def batch_of(audio_tokens: int, text_tokens: int) -> int:
    """Clips in a batch: four, or fewer where they would be more than BATCH_TOKENS rows under PLITS."""
    return max(1, min(LARGEST_BATCH, BATCH_TOKENS // (audio_tokens + text_tokens)))


def _check_positions(group: Group, ways: Sequence[Way]) -> None:
    for way in ways:
        load = load_of(way, group.shape, audio_tokens=group.audio_tokens, dim=FEATURE_SIZE)
        needed = load.columns + group.text_tokens + 1 + NEW_TOKENS
        if needed > group.shape.max_positions:
            raise UsageError(
                f"--audio-tokens {group.audio_tokens} --text-tokens {group.text_tokens}: {way.name} and decoding take "
                f"{needed} positions, and {group.shape.name} has {group.shape.max_positions}."
            )
