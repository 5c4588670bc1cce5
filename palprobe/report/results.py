"""Result folders as values: `result.json` at once, `predictions.jsonl` when first asked for."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from palprobe.errors import UnfinishedError
from palprobe.evaluation.fields import NUMBER, mapping, take, texts
from palprobe.evaluation.predictions import PREDICTIONS, read_predictions
from palprobe.evaluation.results import RESULT
from palprobe.files import read_json
from palprobe.stats import NO_INTERVAL
from palprobe.types import Counts, Interval, Prediction, Score

RECIPE, IDENTITY = "recipe.yaml", "identity.json"
Value = TypeVar("Value")


@dataclass(frozen=True)
class Cell:
    """What was compared: one encoder through one integration into one LLM on one task, fold and seed."""

    encoder: str
    layer: str
    integration: str
    llm: str
    trainable: str
    task: str
    fold: int | None
    seed: int


@dataclass(frozen=True)
class Cost:
    """What a result cost; None where it was not measured."""

    audio_tokens: float | None  # mean per clip, as shown to the LLM
    tokens_per_second: float | None  # of audio
    trainable_parameters: int | None
    train_seconds: float | None
    eval_seconds: float | None
    peak_memory_bytes: int | None
    peak_memory_method: str


@dataclass(frozen=True, eq=False)
class EvalResult:
    """One evaluated run: one split, one scoring, one control."""

    path: Path  # the folder
    cell: Cell
    run_id: str
    split: str
    scoring: str
    control: str
    licence: str
    citation: str
    versions: Mapping[str, str]
    commit: str | None
    device: str  # of the evaluation
    machine: str  # that the run was trained on; "" for a run of before this was written
    prompt: str
    counts: Counts
    cost: Cost
    layer_weights: Mapping[str, tuple[float, ...]]  # of each encoder with a learned mix of layers
    not_computed: Mapping[str, str]  # metric → why it has no score here
    classes_left_out: int  # of a ranking: that no clip has, or every clip
    identity: Mapping[str, Any]  # what decided the answers; {} where the file does not say
    scores: tuple[Score, ...]

    @cached_property
    def run_identity(self) -> Mapping[str, Any]:
        """What decided the trained run, as its folder says; {} where no folder of a run is around the result."""
        path = self.path.parent.parent / IDENTITY
        return mapping(read_json(path), str(path)) if path.is_file() else {}

    @cached_property
    def predictions(self) -> tuple[Prediction, ...]:
        """One per item, in the order of the file.

        Raises:
            PalprobeError: the file is absent, damaged, or holds another number of items than were used.
        """
        return read_predictions(self.path, self.counts.used)


def read_result(folder: Path, *, integration: str | None = None) -> EvalResult:
    """One evaluation folder, `runs/<id>/eval/<split>-<scoring>[-<control>]`.

    Args:
        folder: that holds result.json.
        integration: what it is called in a comparison, if not by its own name.

    Raises:
        UnfinishedError: there is no result.json yet.
        PalprobeError: result.json is damaged; the key is named.
    """
    path = folder / RESULT
    if not path.is_file():
        raise UnfinishedError(f"{folder} holds no {RESULT}: its evaluation is not finished. Run `palprobe eval` first.")
    content = mapping(read_json(path), str(path))
    text = {
        key: take(content, key, str, str(path))
        for key in ("run_id", "split", "scoring", "control", "licence", "citation", "device", "prompt")
    }
    scores = take(content, "scores", list, str(path))
    cell = _record(Cell, content, "cell", path)
    if integration is not None:
        cell = replace(cell, integration=integration)
    return EvalResult(
        path=folder,
        cell=cell,
        counts=_record(Counts, content, "counts", path),
        cost=_record(Cost, content, "cost", path),
        machine=take({"machine": ""} | content["cost"], "machine", str, f"{path}, cost"),
        layer_weights=_weights(content, cell.encoder, str(path)),
        not_computed=_reasons(content, str(path)),
        classes_left_out=_left_out(content, str(path)),
        identity=mapping(content.get("identity", {}), f"{path}: identity"),
        scores=tuple(_score(score, f"{path}, score {number}") for number, score in enumerate(scores, 1)),
        versions=take(content, "versions", dict, str(path)),
        commit=take(content, "commit", (str, type(None)), str(path)),
        **text,
    )


def find_results(paths: Iterable[Path], *, on_unfinished: Callable[[str], object] | None = None) -> list[EvalResult]:
    """Every finished evaluation under some folders, each once, in the order of their paths.

    Args:
        paths: runs folders, single runs, or evaluation folders.
        on_unfinished: gets a sentence for each run or evaluation that has begun and has no result; by default a
            warning.

    Raises:
        UnfinishedError: a path is not there, or no result is in it.
        PalprobeError: a result is damaged; the file is named.
    """
    tell = on_unfinished or (lambda message: warnings.warn(message, stacklevel=3))
    results: dict[Path, EvalResult] = {}
    for path in paths:
        if not path.is_dir():
            raise UnfinishedError(f"{path} is no folder. Give a runs folder, a run, or one of its eval/ folders.")
        finished = sorted(file.parent for file in path.rglob(RESULT))
        if not finished:
            raise UnfinishedError(f"{path} holds no {RESULT}. Run `palprobe train` and `palprobe eval` first.")
        for folder in finished:
            if folder.resolve() not in results:
                results[folder.resolve()] = read_result(folder)
        for folder in _unfinished(path, finished):
            tell(f"{folder} is not finished and is left out. Run `palprobe eval {_run_of(folder)}` to add it.")
    return list(results.values())


def _unfinished(path: Path, finished: list[Path]) -> list[Path]:
    """Runs without any result, and evaluations that stopped between their first item and their result."""
    runs = {_run_of(folder) for folder in finished}
    started = [file.parent for file in path.rglob(RECIPE) if file.parent not in runs and file.parent != path]
    torn = [file.parent for file in path.rglob(PREDICTIONS) if not (file.parent / RESULT).exists()]
    inside = {_run_of(folder) for folder in torn}
    return sorted([*(folder for folder in started if folder not in inside), *torn])


def _run_of(folder: Path) -> Path:
    return folder.parent.parent if folder.parent.name == "eval" else folder


def _record(kind: type[Value], content: Mapping[str, Any], key: str, path: Path) -> Value:
    """A dataclass of texts and numbers from the mapping of that name."""
    where = f"{path}, {key}"
    inner = mapping(take(content, key, dict, str(path)), where)
    kinds: dict[str, tuple[type, ...]] = {
        "str": (str,),
        "int": (int,),
        "int | None": (int, type(None)),
        "float | None": (*NUMBER, type(None)),
    }
    return kind(**{field.name: take(inner, field.name, kinds[str(field.type)], where) for field in fields(kind)})  # type: ignore[arg-type]


def _weights(content: Mapping[str, Any], encoder: str, where: str) -> dict[str, tuple[float, ...]]:
    """A list where the cell has one encoder, by their names where it has several, null where none mixes layers."""
    found = take(content, "layer_weights", (list, dict, type(None)), where)
    by_name = found if isinstance(found, dict) else {} if found is None else {encoder: found}
    return {
        name: tuple(float(take(dict(enumerate(weights)), number, NUMBER, where)) for number in range(len(weights)))
        for name in by_name
        for weights in [take(by_name, name, list, where)]
    }


def _reasons(content: Mapping[str, Any], where: str) -> dict[str, str]:
    found = mapping(content.get("not_computed", {}), f"{where}: not_computed")  # results of before do not say
    return {name: take(found, name, str, where) for name in found}


def _left_out(content: Mapping[str, Any], where: str) -> int:
    """Only results of several labels at once have classes."""
    found = mapping(content.get("classes", {"left_out": []}), f"{where}: classes")
    return len(texts(take(found, "left_out", list, where), f"{where}: left_out"))


def _score(value: Any, where: str) -> Score:
    content = mapping(value, where)
    method = take(content, "ci_method", str, where)
    ends = [take(content, key, (*NUMBER, type(None)), where) for key in ("ci_low", "ci_high")]
    low, high = (math.nan if end is None or method == NO_INTERVAL else float(end) for end in ends)
    return Score(
        metric=take(content, "metric", str, where),
        part=take(content, "part", (str, type(None)), where),
        interval=Interval(float(take(content, "score", NUMBER, where)), low, high, method),
        n=take(content, "n", int, where),
        n_invalid=take(content, "n_invalid", int, where),
        chance=take(content, "chance", (*NUMBER, type(None)), where),
    )
