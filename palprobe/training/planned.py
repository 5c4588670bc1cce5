"""What a cell's names stand for, whatever is trained in it: its examples, features and run folder."""

from __future__ import annotations

from dataclasses import dataclass

from palprobe.features.identity import StoreIdentity
from palprobe.files import digest
from palprobe.recipe import Recipe
from palprobe.runs import Cell, Run
from palprobe.tasks.splits import Splits, task_digest_fields
from palprobe.types import Counts, Example, Split, TaskData

EncoderFeatures = tuple[StoreIdentity, ...]  # one store, or one for each layer that the probe weighs


@dataclass(frozen=True, eq=False)
class Planned:
    """A cell with everything that its names stand for; nothing heavy is loaded."""

    cell: Cell
    recipe: Recipe
    task: TaskData
    splits: Splits
    keys: dict[str, str]  # example id -> clip key
    features: tuple[EncoderFeatures, ...]  # of each encoder
    run: Run

    def examples(self, split: Split) -> tuple[Example, ...]:
        chosen: tuple[Example, ...] = getattr(self.splits, split)
        return chosen


@dataclass(frozen=True, eq=False)
class Usable:
    """A split's examples whose features are there, of every encoder, and what became of the others."""

    examples: tuple[Example, ...]
    keys: tuple[str, ...]  # in parallel
    counts: Counts


def task_digest(splits: Splits, keys: dict[str, str]) -> str:
    """What a run is taught and asked, for its identity.

    Args:
        splits: of its task.
        keys: of the clips, by example id.
    """
    examples = (*splits.train, *splits.validation, *splits.test)
    return digest([task_digest_fields(splits), [keys[example.id] for example in examples]])
