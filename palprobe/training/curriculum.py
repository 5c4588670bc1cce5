"""What a cell is trained on, stage by stage: its own task or others, but nothing that its test asks about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from palprobe.errors import DataError, UsageError
from palprobe.files import digest
from palprobe.recipe.training import TrainSection
from palprobe.runs import Cell
from palprobe.tasks.kinds import learnt_answers
from palprobe.tasks.splits import Splits, task_digest_fields
from palprobe.types import Example, TaskKind

if TYPE_CHECKING:
    from palprobe.training.workspace import Workspace

# Of no effect on a result: a run goes on with another value.
WITHOUT_EFFECT = {"checkpoint_steps", "checkpointing"}
# In an identity only where they are not at their default: runs that were made before there were such keys stay valid.
YOUNG = ("accumulate", "precision", "stages")


@dataclass(frozen=True, eq=False)
class Material:
    """Examples of one task, with the keys of their clips."""

    task: str  # as named in the recipe
    examples: tuple[Example, ...]
    keys: dict[str, str]  # example id -> clip key, of these and perhaps more
    kind: TaskKind = "classification"

    @property
    def clips(self) -> list[str]:
        return [self.keys[example.id] for example in self.examples]

    @property
    def learns_several(self) -> bool:
        """Whether several answers to some question are learnt, as captions and labels are."""
        return any(len(learnt_answers(example, self.kind)) > 1 for example in self.examples)


@dataclass(frozen=True, eq=False)
class Stage:
    """What is trained on in a stage, and how; a cell without a curriculum has one stage."""

    section: TrainSection
    materials: tuple[Material, ...]


def plan_course(
    workspace: Workspace, cell: Cell, section: TrainSection, splits: Splits, keys: dict[str, str]
) -> tuple[Stage, ...]:
    """The stages of a cell.

    Of another task, the training split is used; where it has folds, with the cell's own held out, or else its first.

    Args:
        workspace: finds other tasks.
        cell: whose task is trained on unless a stage names others.
        section: of the cell.
        splits: of the task.
        keys: of its clips.

    Raises:
        DataError: a stage trains on audio that the cell's test asks about.
        UsageError: a stage trains on stdin.
    """
    own = Material(cell.task, splits.train, keys, workspace.task(cell.task).kind)
    if section.stages is None:
        return (Stage(section, (own,)),)
    others = {name: _material(workspace, name, cell.fold) for name in section.stage_tasks if name != cell.task}
    known = others | {cell.task: own}
    stages = tuple(
        Stage(part, tuple(known[name] for name in stage.tasks or [cell.task]))
        for part, stage in zip(section.course, section.stages, strict=True)
    )
    test = Material(cell.task, splits.test, keys)
    for number, stage in enumerate(stages, start=1):
        for material in stage.materials:
            if material is not own:
                _check_unheard(number, material, test)
    return stages


def train_fields(section: TrainSection, course: Iterable[Stage]) -> dict[str, Any]:
    """What of training stands in a run's identity, beside the trainable set."""
    stages, usual = tuple(course), TrainSection()
    at_default = {key for key in YOUNG if getattr(section, key) == getattr(usual, key)}
    fields = section.model_dump(exclude={*WITHOUT_EFFECT, *at_default, "stages"})
    if section.stages is not None:
        fields["stages"] = [_stage_fields(stage) for stage in stages]
    if any(len(set(clips)) < len(clips) for stage in stages for clips in [_clips(stage)]):
        fields["clips"] = "shared"  # questions about one clip go together and hear it once
    if any(part.learns_several for stage in stages for part in stage.materials):
        fields["answers"] = "all"  # those of a clip; runs of before learnt its first alone
    return fields


def _material(workspace: Workspace, task: str, fold: int | None) -> Material:
    if task == "-":
        raise UsageError("A stage trains on task -, but stdin is read once. Write it to a manifest file and name that.")
    data = workspace.task(task)
    folds = data.folds
    held_out = None if not folds else fold if fold in folds else folds[0]
    examples = workspace.splits(task, held_out).train
    return Material(task, examples, workspace.clip_keys(task, examples), data.kind)


def _clips(stage: Stage) -> list[str]:
    return [clip for material in stage.materials for clip in material.clips]


def _stage_fields(stage: Stage) -> dict[str, Any]:
    section = stage.section
    data = [[task_digest_fields(Splits(part.examples, (), (), part.kind)), part.clips] for part in stage.materials]
    return {
        "trainable": section.trainable,
        "steps": section.steps,
        "learning_rate": section.learning_rate,
        "batch_size": section.batch_size,
        "data": digest(data),
    }


def _check_unheard(number: int, material: Material, test: Material) -> None:
    """Raises DataError if a stage trains on a stretch of audio that overlaps one of the test."""
    tested: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for key in test.clips:
        sha, first, last = _stretch(key)
        tested[sha].append((first, last))
    leaks = []
    for example, key in zip(material.examples, material.clips, strict=True):
        sha, first, last = _stretch(key)
        if any(first < end and begin < last for begin, end in tested.get(sha, ())):
            leaks.append(example.id)
    if leaks:
        raise DataError(
            f"Stage {number}: {len(leaks)} training examples of {material.task!r} are about audio that the test of "
            f"{test.task!r} asks about (first: {leaks[0]!r}), so its scores would mean nothing. Train that stage on "
            "another task, or test another fold."
        )


def _stretch(key: str) -> tuple[str, float, float]:
    """The file of a clip key, and from which sample to which; see `ClipIndex`."""
    sha, _, stretch = key.rpartition(":")
    first, _, last = stretch.partition("-")
    if "s" in stretch:  # in seconds: it could not be decoded, and is trained on by nobody
        return key, 0.0, 0.0
    return sha, float(first), float("inf") if last == "end" else float(last)
