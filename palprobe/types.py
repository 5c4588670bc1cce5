"""The vocabulary: values that travel between the stages, and what a swappable part must offer.

Shape legend, the same letters in every module: B batch, S samples, T frames (encoder tokens), D encoder size,
N audio tokens, L text tokens, H LLM hidden size, V vocabulary, E examples, C clips that a batch is about (B questions,
or fewer where several are about one clip). A mask is True where something is real.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Split = Literal["train", "validation", "test", "block"]  # block: training examples that a portion leaves for later
SPLITS: tuple[Split, ...] = ("train", "validation", "test")  # those that a data set can have
BLOCK: Split = "block"
TaskKind = Literal["classification", "multi-label", "multiple-choice", "open", "captioning", "transcription"]
Kind = Literal["general", "speech"]  # what an encoder was trained on: sounds, music and speech, or speech alone


@dataclass(frozen=True)
class Example:
    """One question about one stretch of audio."""

    id: str
    group: str  # recording or speaker: never in two splits, and the unit of a clustered interval
    audio: Path
    prompt: str
    references: tuple[str, ...]  # the answers that count as right; the first is trained on, or all: see `tasks.kinds`
    choices: tuple[str, ...] = ()  # candidate answers of a closed question; empty for an open one
    start_seconds: float = 0.0
    end_seconds: float | None = None  # None: to the end of the file
    split: Split | None = None
    fold: int | None = None
    part: str | None = None  # question type, in a task that mixes several and scores each
    part_share: float | None = None  # of its part in what is drawn to train on; None: every example counts alike
    meta: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskData:
    """A task as read from disk, before splitting."""

    name: str  # canonical spec without the folder, e.g. "fsdd:digit"
    examples: tuple[Example, ...]
    missing: tuple[str, ...] = ()  # files that the layout lists and the disk lacks
    licence: str = ""
    citation: str = ""
    kind: TaskKind = "classification"
    notes: tuple[str, ...] = ()  # what a person should know before it is used

    @property
    def folds(self) -> tuple[int, ...]:
        """The fold numbers in order; empty for a task with fixed splits."""
        return tuple(sorted({example.fold for example in self.examples if example.fold is not None}))


class Task(Protocol):
    """A loader: reads an official layout and invents no split or label that is not there."""

    def __call__(self, folder: Path, variant: str | None) -> TaskData: ...


@dataclass(frozen=True, eq=False)
class Clip:
    """Mono audio, decoded and cut, not yet resampled."""

    waveform: np.ndarray  # (S,) float32, finite, nominally in [-1, 1]
    sample_rate: int  # Hz


@dataclass(frozen=True, eq=False)
class AudioFeatures:
    """Encoder output for one clip: valid tokens only, no class token, unpooled."""

    values: Tensor  # (layers, T, D), one layer for each that was asked for
    frame_rate: float  # time steps per second, Hz
    bands: int = 1  # tokens per time step, for patch encoders (time-major)


class Encoder(Protocol):
    """A frozen audio encoder.

    `encode` gets waveforms at `sample_rate`, each at least `min_samples` and at most `max_seconds` long; shorter
    clips are padded and longer ones windowed for all encoders alike, in `palprobe.encoders.windows`.
    """

    sample_rate: int  # Hz
    frame_rate: float  # time steps per second, Hz
    dim: int  # D
    bands: int  # tokens per time step, for patch encoders
    kind: Kind
    min_samples: int
    max_seconds: float | None
    depth: int  # number of the last layer, the encoder's output; 0 is the input of the first block, or all there is

    def num_tokens(self, num_samples: int) -> int:
        """Valid tokens of a waveform of that many samples at `sample_rate`."""
        ...

    def encode(self, waveforms: Sequence[Tensor], layers: Sequence[int]) -> list[Tensor]:
        """(S,) float32 waveforms → one (layers, T, D) float32 tensor each, the same alone as in any batch."""
        ...


# Runs before a layer: hidden states (B, N + L, H), their mask (B, N + L), the context's owner → hidden states.
Block = Callable[["Tensor", "Tensor", "Tensor | None"], "Tensor"]


@dataclass(frozen=True, eq=False)
class AudioContext:
    """What an integration shows the LLM of C clips; the LLM never asks which integration made it."""

    prefix: Tensor | None = None  # (C, N, H) input rows before the text
    prefix_mask: Tensor | None = None  # (C, N) bool
    prefix_sees_memory: bool = True  # the text always does
    memory: Mapping[int, Tensor] = field(default_factory=dict)  # layer -> (C, N, H), seen only as keys and values
    memory_mask: Tensor | None = None  # (C, N) bool
    memory_positions: Literal["before", "none"] = "before"
    blocks: Mapping[int, Block] = field(default_factory=dict)  # layer -> run before that layer
    prefix_stretch: int | None = None  # rows of the prefix that tell of one stretch of the clip; None: a time step's
    owner: Tensor | None = None  # (B,) the clip that each text row is about; None: row i is about clip i


@dataclass(frozen=True)
class LLMShape:
    """All that an integration may know of the LLM."""

    hidden_size: int  # H
    num_layers: int
    embedding_rms: float  # root mean square of the input embeddings: the scale that input rows should have


class Integration(Protocol):
    """A trainable map from features to an `AudioContext`; a torch module built from the shapes of both sides."""

    buckets_by: str  # what a batch should have alike: "text", or "audio and text" where audio goes through every layer

    def __call__(self, features: Tensor, mask: Tensor) -> AudioContext:
        """(B, T, D) standardised features and their (B, T) mask → what the LLM is shown."""
        ...

    def num_tokens(self, num_features: int) -> int:
        """Audio tokens shown for that many feature tokens."""
        ...

    def num_positions(self, num_features: int) -> int:
        """Of those tokens, how many take a position of the LLM, in front of the text."""
        ...


@dataclass(frozen=True)
class Prediction:
    """One item's outcome, a line of predictions.jsonl."""

    id: str
    group: str
    part: str | None
    reference: str
    prediction: str
    scores: Mapping[str, float]  # raw log likelihood of each choice, natural log; of references after generation
    correct: bool
    valid: bool  # False: generated text was no choice (counted as wrong)
    references: tuple[str, ...] = ()  # all answers that count as right, where there are several
    text: str | None = None  # as generated, to be read again another way; None under likelihood
    choices: tuple[str, ...] = ()  # of a closed question after generation, which has no scores to name them
    null_scores: Mapping[str, float] = field(default_factory=dict)  # log likelihood of each choice under null audio
    nearest: str | None = None  # the choice whose embedding is nearest to that of the text, where there is an embedder
    measures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # metric -> what it is computed of

    @property
    def all_references(self) -> tuple[str, ...]:
        """All answers that count as right, one or several."""
        return self.references or (self.reference,)


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Score:
    """One metric of one (run, split, scoring, control), with its interval and its count."""

    metric: str
    part: str | None  # None: the whole task
    interval: Interval
    n: int
    n_invalid: int
    chance: float | None


@dataclass(frozen=True)
class Counts:
    """What became of the items that a task lists: found = used + dropped, listed = found + missing."""

    found: int
    missing: int
    dropped: int
    used: int
    padded: int = 0
