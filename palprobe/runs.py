"""Cells and the folders they leave behind: what a run is made of, and whether one that is there is the same."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from palprobe.errors import IdentityError, UnfinishedError, UsageError
from palprobe.files import differences, digest, read_json, write_json, write_text
from palprobe.recipe import Recipe, dump_recipe, load_recipe
from palprobe.recipe.rigor import BLIND, NO_CONTROL, SILENCE
from palprobe.recipe.sweep import PLAIN, Variant
from palprobe.recipe.training import Trainable
from palprobe.specs import parse_task

RUN_ID_DIGITS = 16  # of the identity's digest
SCORING = "scoring."  # keys that a finished run still takes


@dataclass(frozen=True)
class Places:
    """Where things are read and written, and on what device: never part of an identity."""

    store: Path = Path("features")
    runs: Path = Path("runs")
    out: Path | None = None  # None: results/<recipe name>
    data_root: Path | None = None
    device: str = "auto"

    def report_folder(self, recipe: Recipe) -> Path:
        return self.out if self.out is not None else Path("results") / recipe.name


@dataclass(frozen=True)
class Cell:
    """One run: encoder × integration × llm × task × seed × fold by the names used in tables, and what a sweep sets.

    A control is a run of its own where training is another: `blind`, `verbaliser`, `portion 0.1`.
    """

    encoder: str
    integration: str
    llm: str
    task: str
    seed: int
    fold: int | None = None
    variant: Variant = PLAIN
    control: str = NO_CONTROL

    @property
    def shown(self) -> str:
        """The integration as tables show it: "lal layers=from:2"."""
        return f"{self.integration} {self.variant.label}".rstrip()

    @property
    def title(self) -> str:
        fold = "" if self.fold is None else f", fold {self.fold}"
        control = "" if self.control == NO_CONTROL else f", {self.control}"
        return f"{self.task} · {self.encoder} · {self.shown} · {self.llm} (seed {self.seed}{fold}{control})"

    def recipe(self, recipe: Recipe) -> Recipe:
        """The same recipe, for this cell alone."""
        return self.variant.apply(recipe).model_copy(
            update={
                "encoders": [self.encoder],
                "integrations": [self.integration],
                "tasks": [self.task],
                "llm": self.llm,
                "seeds": [self.seed],
                "folds": None if self.fold is None else [self.fold],
                "controls": [] if self.control == NO_CONTROL else [self.control],
                "sweep": {},
            }
        )


def trainable_of(recipe: Recipe) -> Trainable:
    """What is trained unless the recipe says: everything of the built-in model, adapters of a pretrained one.

    Of several stages, the widest set, which contains the others.
    """
    if recipe.train.stages:
        return max((stage.trainable for stage in recipe.train.stages), key=get_args(Trainable).index)
    return recipe.train.trainable or ("full" if recipe.llm == "tiny" else "lora")


def trainable_label(recipe: Recipe) -> str:
    """The same for tables: `lora`, or stage by stage `connector>lora`; and on which tasks, if not on the tested one."""
    stages = recipe.train.stages
    label = ">".join(stage.trainable for stage in stages) if stages else trainable_of(recipe)
    others = [parse_task(name).text for name in recipe.train.tasks or []]
    return f"{label} on {'+'.join(others)}" if others else label


@dataclass(frozen=True)
class Run:
    """A run folder: recipe.yaml and identity.json first, train.json last."""

    folder: Path
    identity: dict[str, Any]

    @property
    def id(self) -> str:
        return digest(self.identity)[:RUN_ID_DIGITS]

    @property
    def probe_file(self) -> Path:
        return self.folder / "probe.safetensors"

    @property
    def log_file(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def finished(self) -> bool:
        return (self.folder / "train.json").is_file()

    def begin(self, recipe: Recipe) -> None:
        """Makes the folder, or checks that the one there is of this identity.

        Raises:
            IdentityError: it holds another run; the differing fields are named.
        """
        self.check()
        write_json(self.folder / "identity.json", self.identity)
        write_text(self.folder / "recipe.yaml", dump_recipe(recipe))

    def check(self) -> None:
        """Raises IdentityError when the folder holds a run of another identity."""
        path = self.folder / "identity.json"
        if path.is_file() and (lines := differences(read_json(path), self.identity)):
            raise IdentityError(
                f"{self.folder} holds another run ({'; '.join(lines)}). Move it away, or give another --runs folder."
            )

    def finish(self, summary: dict[str, Any]) -> None:
        write_json(self.folder / "train.json", summary)

    def summary(self) -> dict[str, Any]:
        """What training wrote at its end.

        Raises:
            UnfinishedError: training did not get there.
        """
        if not self.finished:
            raise UnfinishedError(
                f"{self.folder} is not finished (no train.json). Run the same `palprobe train` again to resume it."
            )
        summary: dict[str, Any] = read_json(self.folder / "train.json")
        return summary


def run_of(places: Places, identity: dict[str, Any]) -> Run:
    """The run of that identity, there or not."""
    return Run(places.runs / digest(identity)[:RUN_ID_DIGITS], identity)


def run_recipe(folder: Path, settings: Sequence[str] = ()) -> Recipe:
    """The recipe that a run was made with.

    Args:
        folder: the run.
        settings: `scoring.…=…` lines; anything else is what the run was trained with.

    Raises:
        UsageError: a setting that belongs to training.
        UnfinishedError: this is no run folder, or training did not begin.
    """
    for setting in settings:
        if not setting.startswith(SCORING):
            raise UsageError(f"--set {setting}: a finished run only takes {SCORING}… keys; train again for others.")
    if not (folder / "recipe.yaml").is_file() or not (folder / "identity.json").is_file():
        raise UnfinishedError(
            f"{folder} is no run folder: it has no recipe.yaml and identity.json. Name folders of runs/."
        )
    return load_recipe(folder / "recipe.yaml", settings=settings)


def check_writable(folder: Path, flag: str) -> None:
    """Raises UsageError unless the folder can be made or written to; hours of work should not end at it."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UsageError(f"{flag} {str(folder)!r}: {there} is a file. Give a folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"{flag} {str(folder)!r}: {there} is not writable. Give another folder.")


def extract_command(encoder: str, task: str, recipe: Recipe, places: Places) -> str:
    """The shell line that makes the features of an encoder and a task, with every setting that is no default."""
    words = ["palprobe", "extract", "--encoder", encoder, "--data", _quoted(task)]
    words += [word for section in ("data", "store", "encoder") for word in section_flags(recipe, section)]
    words += ["--set", f"controls=[{SILENCE}]"] if SILENCE in (recipe.controls or []) else []
    return shlex.join([*words, *place_flags("extract", places)])


def train_command(cell: Cell, recipe: Recipe, places: Places) -> str:
    """The shell line that trains a cell, with every setting that is no default."""
    words = ["palprobe", "train", "--encoder", cell.encoder, "--task", cell.task, "--integration", cell.integration]
    words += ["--llm", cell.llm, "--seed", str(cell.seed)]
    words += [] if cell.fold is None else ["--fold", str(cell.fold)]
    words += [] if cell.control in (NO_CONTROL, BLIND) else ["--control", cell.control]
    sections = ("data", "store", "encoder", "integration", "prompt", "train")
    words += [word for section in sections for word in section_flags(cell.recipe(recipe), section)]
    return shlex.join([*words, *place_flags("train", places)])


def section_flags(recipe: Recipe, section: str, *, without: Collection[str] = ()) -> list[str]:
    """`--set` words for each key of a section that is not at its default."""
    found, usual = getattr(recipe, section).model_dump(), getattr(Recipe(), section).model_dump()
    changed = [key for key in found if found[key] != usual[key] and key not in without]
    return [word for key in changed for word in ("--set", f"{section}.{key}={json.dumps(found[key])}")]


def _quoted(name: str) -> str:
    """A name as one entry of a comma-separated list."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow([name])
    return buffer.getvalue()


def place_flags(stage: str, places: Places) -> list[str]:
    """The flags for places that are not where they are by default."""
    usual, words = Places(), []
    for flag, value, default in (
        ("--store", places.store, usual.store),
        ("--runs", places.runs if stage == "train" else usual.runs, usual.runs),
        ("--data-root", places.data_root, usual.data_root),
        ("--device", places.device, usual.device),
    ):
        if value != default:
            words += [flag, str(value)]
    return words
