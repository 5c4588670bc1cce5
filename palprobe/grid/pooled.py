"""The linear and nearest-neighbour probes of a grid: those that wait, their shell lines, and their work."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from palprobe.controls.pooled import PooledCell
from palprobe.errors import PalprobeError
from palprobe.grid.asked import splits_asked
from palprobe.grid.extraction import Part, needed
from palprobe.grid.watcher import Watcher
from palprobe.recipe.scoring import ScoringSection
from palprobe.runs import place_flags, section_flags, train_command
from palprobe.training.workspace import Workspace
from palprobe.types import Split


def is_scored(workspace: Workspace, cell: PooledCell, split: Split) -> bool:
    """Whether all that is asked of a probe is there."""
    return all(cell.evaluation(asked).is_there for asked in splits_asked(workspace, cell, split))


def pooled_preview(workspace: Workspace, cells: Sequence[PooledCell], split: Split) -> list[str]:
    """A line for people on what is about to be done; none where there is nothing."""
    if not cells:
        return []
    waiting = sum(not is_scored(workspace, cell, split) for cell in cells)
    kinds = Counter(cell.kind for cell in cells)
    listed = " and ".join(f"{count} {kind}" for kind, count in kinds.items())
    return [f"{listed} probes without an LLM: {waiting} of {len(cells)} to fit and score"]


def pooled_lines(workspace: Workspace, cells: Sequence[PooledCell]) -> dict[str, list[str]]:
    """Shell lines that do the same, by stage."""
    places, unread = workspace.places, ScoringSection.model_fields.keys() - {"bootstrap_draws"}
    evals = [
        ["palprobe", "eval", str(cell.run.folder), *section_flags(cell.recipe, "scoring", without=unread)]
        + ([] if split == "test" else ["--split", split])
        for cell in cells
        for split in splits_asked(workspace, cell, "test")
    ]
    return {
        "train": [train_command(cell.cell, cell.recipe, places) for cell in cells],
        "eval": [shlex.join([*words, *place_flags("eval", places)]) for words in evals],
    }


def run_pooled_cells(
    workspace: Workspace, cells: Sequence[PooledCell], watcher: Watcher, *, split: Split, broken: Mapping[Part, str]
) -> tuple[list[tuple[Path, str]], list[tuple[str, str]]]:
    """Fits and scores what has not been; a probe that fails does not stop the others.

    Args:
        workspace: of the grid.
        cells: in order, those of one encoder and task together.
        watcher: is told.
        split: that is scored; of a layer that is one of several, validation too.
        broken: features that could not be made, and why.

    Returns:
        result folders in order, each with the kind of its probe; and of each failure the cell's title and a message.
    """
    from palprobe.controls.pooled_run import run_pooled

    waiting = [cell for cell in cells if not is_scored(workspace, cell, split)]
    results: list[tuple[Path, str]] = []
    failures: list[tuple[str, str]] = []
    if waiting:
        watcher.stage(f"fit {' and '.join(dict.fromkeys(cell.kind for cell in waiting))}", total=len(waiting))
    for cell in cells:
        reasons = [broken[part] for part in needed(workspace, cell.cell) if part in broken] if cell in waiting else []
        try:
            if reasons:
                failures.append((cell.cell.title, reasons[0]))
            else:
                splits = splits_asked(workspace, cell, split)
                results += [(run_pooled(workspace, cell, asked), cell.kind) for asked in splits]
        except PalprobeError as error:
            failures.append((cell.cell.title, str(error)))
        if cell in waiting:
            watcher.advance(waiting.index(cell) + 1, cell.cell.title)
    if waiting:
        watcher.end(f"{len(waiting) - len(failures)} of {len(cells)} fitted and scored" if failures else "done")
    return results, failures
