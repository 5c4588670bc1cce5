"""How many constant tokens a blind probe is shown: as many as one with ears, to learn as much from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median_low
from typing import TYPE_CHECKING

from palprobe.errors import UnfinishedError, UsageError
from palprobe.features.constant import constant_of, is_blind
from palprobe.features.pooling import choose_pooling
from palprobe.recipe.rigor import BLIND
from palprobe.runs import Cell
from palprobe.tasks.splits import Splits
from palprobe.training.curriculum import plan_course

if TYPE_CHECKING:
    from palprobe.training.workspace import Workspace


def counted(workspace: Workspace, cell: Cell, splits: Splits, keys: dict[str, str]) -> Cell:
    """A blind cell with its number of tokens; any other as it is.

    The number is the median over the training clips of what comes in from the encoder of the recipe that has most of
    it, pooled as the cell says: `blind:57`. It is the same for every clip, so that no length is told.

    Args:
        workspace: of the recipe whose encoders are meant.
        cell: any.
        splits: of its task.
        keys: of the task's clips.

    Raises:
        UnfinishedError: an encoder has no features of these clips yet, so that the number is not known.
        UsageError: the recipe has no encoder but this one.
    """
    if not is_blind(cell.encoder):
        return cell
    if constant_of(cell.encoder):
        return replace(cell, control=BLIND)
    heard = [text for named in workspace.recipe.encoders if not is_blind(named) for text in workspace.encoders(named)]
    if not heard:
        raise UsageError(f"Encoder {cell.encoder!r}: write {BLIND}:N with the number of constant tokens.")
    course = plan_course(workspace, cell, cell.recipe(workspace.recipe).train, splits, keys)
    clips = list(dict.fromkeys(key for stage in course for part in stage.materials for key in part.clips))
    most = max(_median_tokens(workspace, replace(cell, encoder=encoder), clips) for encoder in heard)
    return replace(cell, encoder=f"{BLIND}:{most}", control=BLIND)


def _median_tokens(workspace: Workspace, cell: Cell, clips: Sequence[str]) -> int:
    """Tokens of a clip, after pooling, of all the encoders that are heard together."""
    section = cell.recipe(workspace.recipe).integration
    sources = [workspace.source(stores, cell) for stores in workspace.features(cell.encoder)]
    failed = {key for source in sources for key in source.failures()}
    there = [key for key in clips if all(key in source for source in sources)]
    if len(there) + sum(key in failed for key in clips) < len(clips) or not there:
        raise UnfinishedError(f"{BLIND} on {cell.task}: the features of {cell.encoder} are not all there, so that the "
                              "number of tokens is not known yet.")  # fmt: skip
    poolings = [choose_pooling(section, frame_rate=each.frame_rate, bands=each.bands) for each in sources]
    return median_low(
        sum(pooling.count(source.num_tokens(key)) for pooling, source in zip(poolings, sources, strict=True))
        for key in there
    )
