"""What a probe is trained on: tokenised questions, the clips they are about, and a way to read the clips' features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from palprobe.llm.tokenizer import Question
from palprobe.training.batches import Mix
from palprobe.training.probe import STANDARDISE_CLIPS, Probe
from palprobe.types import Example

Reader = Callable[[Sequence[int]], list[Tensor]]  # example numbers → (T, D) features each, of one encoder
CHUNK = 64  # clips that are read at once


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Tokenised questions with a way to read their features: a reader for each encoder.

    `num_features` counts the T of each example and encoder without reading.
    """

    ids: Sequence[str]
    questions: Sequence[Question]
    num_features: np.ndarray  # (E, encoders)
    readers: Sequence[Reader]
    keys: Sequence[str] = ()  # of each example's clip; empty: every example has its own
    mix: Mix | None = None  # None: every example counts alike

    def read(self, numbers: Sequence[int]) -> list[list[Tensor]]:
        """For each encoder, the features of those examples."""
        return [reader(numbers) for reader in self.readers]

    @cached_property
    def clips(self) -> np.ndarray:
        """(E,) the number of each example's clip, in the order of first appearance."""
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(key, len(numbers)) for key in self.keys or self.ids])

    @property
    def shares_clips(self) -> bool:
        """Whether some clip is asked several questions."""
        return bool(len(self.clips) and self.clips.max() + 1 < len(self.clips))


@dataclass(frozen=True)
class Heard:
    """The clips of some examples, each once: which example to read it of, and the clip of each example."""

    examples: list[int]  # (C,) numbers in the training set
    owner: list[int]  # (B,) places in `examples`

    def part(self, rows: Sequence[int]) -> Heard:
        """What some of the examples hear; `examples` are places in this one's."""
        places, owner = np.unique([self.owner[row] for row in rows], return_inverse=True)
        return Heard(places.tolist(), owner.tolist())

    @property
    def one_each(self) -> bool:
        """Whether the examples hear a clip of their own each, in order."""
        return self.owner == list(range(len(self.examples)))


def heard_by(data: TrainingSet, numbers: Sequence[int]) -> Heard:
    """What those examples hear. Where no clip is asked several questions, an example that stands twice is read twice.

    Two epochs can meet in a step. Such a row was always masked by itself, and stays so.
    """
    if not data.shares_clips:
        return Heard(list(numbers), list(range(len(numbers))))
    first: dict[int, int] = {}  # clip → an example about it
    for number in numbers:
        first.setdefault(int(data.clips[number]), int(number))
    places = {clip: place for place, clip in enumerate(first)}
    return Heard(list(first.values()), [places[int(data.clips[number])] for number in numbers])


def mix_of(tasks: Sequence[Sequence[Example]]) -> Mix | None:
    """How the examples of several tasks are mixed; None where no task has parts with a share of their own.

    A task counts by its examples, and is divided among its parts by their shares.
    """
    if all(example.part_share is None for examples in tasks for example in examples):
        return None
    total = sum(map(len, tasks))
    shares: dict[tuple[int, str | None], float] = {}
    names: list[tuple[int, str | None]] = []
    for number, examples in enumerate(tasks):
        for example in examples:
            own = example.part_share is not None
            names.append((number, example.part if own else None))
            shares[names[-1]] = (example.part_share or 0.0 if own else 1.0) * len(examples) / total
    order = {name: place for place, name in enumerate(shares)}
    weights = np.array(list(shares.values()))
    return Mix(np.array([order[name] for name in names]), weights / weights.sum())


def standardise(probe: Probe, sets: Sequence[TrainingSet]) -> None:
    """Measures the features of (at most STANDARDISE_CLIPS evenly chosen) training clips of all the sets together."""
    chosen = np.unique(np.linspace(0, sum(len(data.ids) for data in sets) - 1, STANDARDISE_CLIPS).astype(int))
    chunks: list[tuple[TrainingSet, list[int]]] = []
    start = 0
    for data in sets:
        own = chosen[(chosen >= start) & (chosen < start + len(data.ids))] - start
        chunks += [(data, chunk.tolist()) for chunk in np.array_split(own, max(1, len(own) // CHUNK))]
        start += len(data.ids)
    for number, branch in enumerate(probe.branches):
        branch.standardise.measure(clip for data, chunk in chunks for clip in data.readers[number](chunk))


def sort_keys(probe: Probe, data: TrainingSet) -> np.ndarray:
    """(E, 2): what this integration's batches should have alike, then the other length."""
    audio = np.array([probe.num_audio_tokens(counts) for counts in data.num_features])
    text = np.array([len(question.prompt) + len(question.answer) for question in data.questions])
    if probe.buckets_by == "text":
        return np.stack([text, audio], axis=1)
    return np.stack([audio + text, audio], axis=1)
