"""Evaluations: what decides each, where its result lies, and whether it is there; needs neither data nor weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palprobe.errors import IdentityError, PalprobeError, RecipeError, UsageError
from palprobe.evaluation.measures import INDEX, MODEL_KEYS, USES, check_models_are_used, model_fields, named_in
from palprobe.evaluation.xares import judging_fields
from palprobe.files import digest, read_json
from palprobe.recipe.rigor import NO_CONTROL, controls_that
from palprobe.recipe.scoring import Method, ScoringSection
from palprobe.registry import near_miss
from palprobe.specs import split_encoders
from palprobe.tasks.kinds import KINDS
from palprobe.types import BLOCK, Split, TaskData, TaskKind

if TYPE_CHECKING:
    from palprobe.training.planned import Planned

VERSION = 1  # of the scorer
RESULT = "result.json"
USUAL = ScoringSection()
# Of an identity: how answers are read; the rest is how they were got.
HOW_READ = ("rule", "parse", "bootstrap_draws", *MODEL_KEYS)
# Which answers a key is about.
READS: dict[str, Method] = {
    "scoring.rule": "likelihood",
    "scoring.parse": "generation",
    **{f"scoring.{key}": "generation" for key in USES},
}


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of one run, by what decides it."""

    run: Path  # the folder
    run_id: str
    encoder: str  # perhaps A+B
    split: Split
    section: ScoringSection  # of one method
    dropped: tuple[str, ...] = ()  # encoders that the LLM is not shown
    heard: str = NO_CONTROL  # what is heard in place of the clips
    trained: str = NO_CONTROL  # the control that the run itself is
    judging: Mapping[str, Any] = field(
        default_factory=dict
    )  # what else decides scores: peers' metrics, a block's items
    models: Mapping[str, Any] = field(default_factory=dict)  # that texts are compared by; from `model_fields`
    source: Mapping[str, Any] | None = None  # identity of the evaluation whose stored answers are read again

    @property
    def control(self) -> str:
        """What is done otherwise than in a comparison: to the run, or to what it hears."""
        if self.dropped:
            return f"without {'+'.join(self.dropped)}"
        return self.trained if self.heard == NO_CONTROL else self.heard

    @property
    def scoring(self) -> str:
        """The method, and what is not the default of it: likelihood, likelihood:per-byte, generation:contains."""
        return ":".join([str(self.section.method), *self._unusual.values()])

    @property
    def folder(self) -> Path:
        name = "-".join([self.split, str(self.section.method), *self._unusual.values()])
        if self.dropped:  # by their places, as a spec may hold what no folder's name may
            names = split_encoders(self.encoder)
            name += "-without-" + "-".join(str(names.index(encoder) + 1) for encoder in self.dropped)
        if self.heard != NO_CONTROL:
            name += f"-{self.heard}"
        return self.run / "eval" / name

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the result; what is at its default and younger than results without it is left out."""
        asked = self._asked if self.source is None else self.source
        kept = {key: value for key, value in asked.items() if key not in HOW_READ}
        return {**kept, "bootstrap_draws": self.section.bootstrap_draws, **self._unusual, **self.models}

    @property
    def is_there(self) -> bool:
        """Whether a result of the same identity is there."""
        path = self.folder / RESULT
        if not path.is_file():
            return False
        result = read_json(path)
        if not isinstance(result, dict) or not {"run_id", "identity"} <= result.keys():
            raise PalprobeError(
                f"{path} is damaged: it lacks run_id and identity. Delete it and run the command again."
            )
        if result["run_id"] != self.run_id:
            raise IdentityError(
                f"{path} is of run {result['run_id']}, not of {self.run_id}. Move it away and evaluate again."
            )
        return bool(result["identity"] == self.identity)

    @property
    def _asked(self) -> dict[str, Any]:
        """What decides what the model answers."""
        section = self.section
        asked: dict[str, Any] = {
            "run": self.run_id,
            "split": self.split,
            "scoring": section.method,
            "control": self.control,
            "scorer": VERSION,
            **self.judging,
        }
        if section.method == "generation":
            asked["max_new_tokens"] = section.max_new_tokens
            if section.beams > 1:
                asked["beams"] = section.beams
            if section.repetition_penalty != 1:
                asked["repetition_penalty"] = section.repetition_penalty
        return asked

    @property
    def _unusual(self) -> dict[str, str]:
        """The rule or the parser, where it is not the default."""
        key = "rule" if self.section.method == "likelihood" else "parse"
        value = getattr(self.section, key)
        return {} if value == getattr(USUAL, key) else {key: value}


def scorings(section: ScoringSection, kind: TaskKind) -> tuple[ScoringSection, ...]:
    """The section once for each method that it asks for; where it asks for none, for that of the kind of task."""
    asked = section.method or KINDS[kind].method
    methods = [asked] if isinstance(asked, str) else asked
    return tuple(section.model_copy(update={"method": method}) for method in methods)


def evaluations(
    plan: Planned, split: Split, section: ScoringSection, dropped: Sequence[str] = (), heard: str = NO_CONTROL
) -> tuple[Evaluation, ...]:
    """What evaluating a planned run so comes to, one for each method."""
    run, cell, judging = plan.run, plan.cell, judging_fields(plan.examples(split)) | _block_fields(plan, split)
    metrics, index = KINDS[plan.task.kind].metrics, run.folder.parent / INDEX
    return tuple(
        Evaluation(
            run.folder,
            run.id,
            cell.encoder,
            split,
            one,
            tuple(dropped),
            heard,
            cell.control,
            judging,
            model_fields(one, metrics, index),
        )
        for one in scorings(section, plan.task.kind)
    )


def _block_fields(plan: Planned, split: Split) -> dict[str, str]:
    """Which examples a portion's block is: the run does not know, as it is trained on none of them."""
    return {"items": digest([example.id for example in plan.examples(split)])} if split == BLOCK else {}


def evaluation_of(
    plan: Planned, split: Split, section: ScoringSection, dropped: Sequence[str] = (), heard: str = NO_CONTROL
) -> Evaluation:
    """The same of a section that asks for one method."""
    (found,) = evaluations(plan, split, section, dropped, heard)
    return found


def check_scoring(task: TaskData, section: ScoringSection, *, named: str | None = None) -> None:
    """Refuses a method that the task cannot be scored by; better known before training than after it.

    Args:
        task: that is tested.
        section: of one method.
        named: how the task was named, if not as it calls itself.

    Raises:
        RecipeError: choices of an open question were to be compared, labels ranked that were only written, or choices
            calibrated that one item alone has.
    """
    name = named or task.name
    if section.method == "generation" and task.kind == "multi-label":
        raise RecipeError(
            f"Task {name!r} ranks every label of a clip, and generated text ranks none. "
            "Add --set scoring.method=likelihood."
        )
    for example in task.examples if section.method == "likelihood" else ():
        if not example.choices:
            raise RecipeError(
                f"Task {name!r}: {example.id!r} is an open question, without choices to compare. "
                "Add --set scoring.method=generation."
            )
    if section.method == "likelihood" and section.rule == "batch-calibrated":
        batches = Counter((example.part, frozenset(example.choices)) for example in task.examples)
        for example in task.examples:
            if batches[example.part, frozenset(example.choices)] == 1:
                raise RecipeError(
                    f"Task {name!r}: scoring.rule=batch-calibrated compares items that share their choices, and no "
                    f"other item has those of {example.id!r}. Use audio-pmi, or sum."
                )


def key_of(setting: str) -> str:
    """The key of a `key=value` line."""
    return setting.partition("=")[0].strip()


def check_effect(settings: Sequence[str], sections: Sequence[ScoringSection], metrics: Sequence[str]) -> None:
    """Refuses a rule where nothing is ranked, a parser where nothing is generated, a model that nothing is scored by.

    Args:
        settings: `scoring.…=…` lines.
        sections: that they are part of, each of one method.
        metrics: of the kind of task.

    Raises:
        UsageError: the setting, and what it would take.
    """
    for setting in settings:
        method = READS.get(key_of(setting))
        if method is not None and all(section.method != method for section in sections):
            raise UsageError(f"--set {setting} is about {method}, which is not asked for here. Add --scoring {method}.")
    check_models_are_used([(named_in(settings, section), metrics) for section in sections])


def check_dropped(run: Path, encoder: str, dropped: Sequence[str]) -> list[str]:
    """The encoders to leave out, in the order in which the LLM would hear them.

    Args:
        run: the folder.
        encoder: that it was trained with, perhaps A+B.
        dropped: as asked for.

    Raises:
        UsageError: not one of the run's encoders, or all of them.
    """
    names = split_encoders(encoder)
    for name in dropped:
        if name not in names:
            hint = near_miss(name, names)
            raise UsageError(f"--drop {name}: {run} hears {' and '.join(names)}.{hint} Name one of those.")
    if set(dropped) == set(names):
        raise UsageError(f"--drop {','.join(dropped)}: {run} would hear nothing. Keep one of its encoders.")
    return [name for name in names if name in dropped]


def check_heard(control: str, trained: str = NO_CONTROL) -> str:
    """The name of a control that a finished run is evaluated under.

    Args:
        control: as asked for.
        trained: the control that the run itself is.

    Raises:
        UsageError: there is none of that name, or the run is a control itself.
    """
    known = (NO_CONTROL, *controls_that("evaluated"))
    if control not in known:
        raise UsageError(f"--control {control}: no such control.{near_miss(control, known)} Known: {', '.join(known)}.")
    if NO_CONTROL not in (control, trained):
        raise UsageError(f"--control {control}: the run is a control itself ({trained}). Name one that is not.")
    return control
