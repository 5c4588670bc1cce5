"""Features for the grid: task by task, all layers of an encoder at once, and of silence where a control needs it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from palprobe.distributed import resolve_device
from palprobe.errors import PalprobeError
from palprobe.features.constant import is_blind
from palprobe.grid.cells import encoders_of, examples_of
from palprobe.grid.watcher import Watcher
from palprobe.recipe.rigor import SILENCE
from palprobe.runs import Cell
from palprobe.specs import EncoderSpec, parse_encoder, split_encoders
from palprobe.tasks.silence import STIMULI, silent_example
from palprobe.training.workspace import Workspace
from palprobe.types import Example

if TYPE_CHECKING:
    from palprobe.features.extraction import Extraction

SHOWN_FAILURES = 3  # clips that could not be decoded, with the reason; the store lists all
Part = tuple[str, str]  # an encoder, and the task whose clips it encodes


def extract_features(
    workspace: Workspace, encoders: Sequence[str], tasks: Sequence[str], watcher: Watcher, *, retry_failed: bool = False
) -> Extraction:
    """The features of one encoder, of one layer or several, for all clips of some tasks.

    Args:
        workspace: of the recipe.
        encoders: specs of one encoder; none is `A+B`.
        tasks: whose clips.
        watcher: is told.
        retry_failed: tries files again that could not be decoded.
    """
    notes = [note for task in tasks for note in workspace.task(task).notes]
    examples = examples_of(workspace, tasks)
    return _extract(workspace, encoders, examples, ", ".join(tasks), watcher, notes=notes, retry_failed=retry_failed)


def extract_silence(workspace: Workspace, encoders: Sequence[str], watcher: Watcher) -> None:
    """The features of a silent clip, where the recipe asks for the control that is heard in it."""
    if SILENCE in (workspace.recipe.controls or []):
        silence = silent_example(workspace.places.store / STIMULI)
        _extract(workspace, encoders, [silence], SILENCE, watcher)


def extract_missing(workspace: Workspace, cells: Sequence[Cell], watcher: Watcher) -> dict[Part, str]:
    """Extracts what some cells need: task by task, as a limit of losses is one of a task; all layers at once.

    Returns:
        what failed, and why.
    """
    layers: dict[tuple[EncoderSpec, str], list[str]] = {}  # of one encoder and task
    for encoder, task in dict.fromkeys(part for cell in cells for part in needed(workspace, cell)):
        layers.setdefault((parse_encoder(encoder).whole, task), []).append(encoder)
    broken: dict[Part, str] = {}
    for (_, task), encoders in layers.items():
        try:
            extract_features(workspace, encoders, [task], watcher)
        except PalprobeError as error:
            broken |= {(encoder, task): str(error) for encoder in encoders}
            watcher.end(f"failed: {error}")
    of_silence = {spec: encoders for (spec, _), encoders in layers.items()}
    for encoders in of_silence.values():
        try:
            extract_silence(workspace, encoders, watcher)
        except PalprobeError as error:  # the control will say so of every cell
            watcher.end(f"failed: {error}")
    return broken


def needed(workspace: Workspace, cell: Cell) -> list[Part]:
    """Whose features of which tasks a cell needs: its own task, and those that it is trained on.

    A blind cell needs none but for the number of its tokens, which all encoders decide.
    """
    tasks = dict.fromkeys([cell.task, *cell.recipe(workspace.recipe).train.named_tasks])
    texts = encoders_of(workspace) if is_blind(cell.encoder) else [cell.encoder]
    return [(encoder, task) for text in texts for encoder in split_encoders(text) for task in tasks]


def _extract(
    workspace: Workspace,
    encoders: Sequence[str],
    examples: Sequence[Example],
    title: str,
    watcher: Watcher,
    *,
    notes: Iterable[str] = (),
    retry_failed: bool = False,
) -> Extraction:
    from palprobe.features.extraction import extract

    recipe, places = workspace.recipe, workspace.places
    watcher.stage(f"extract {', '.join(encoders)} · {title}", total=len(examples), unit="clips")
    for note in notes:
        watcher.end(f"note: {note}")
    found = extract(
        [parse_encoder(encoder) for encoder in encoders],
        examples,
        recipe,
        places.store,
        device=resolve_device(places.device),
        progress=lambda done, _: watcher.advance(done),
        retry_failed=retry_failed,
    )
    shown = "; ".join(f"{name}: {reason}" for name, _, reason in found.failures[:SHOWN_FAILURES])
    why = f" ({shown}{'; …' if found.dropped > SHOWN_FAILURES else ''})" if shown else ""
    watcher.end(f"{found.encoded} clips encoded, {found.reused} were there, {found.dropped} dropped{why}")
    for note in found.notes:
        watcher.end(f"warning: {note}")
    return found
