"""A pooled probe fitted and scored: its run folder, and predictions.jsonl and result.json in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from palprobe.controls.pooled import KNN, LINEAR, PooledCell
from palprobe.controls.pooled_probes import (
    Chosen,
    Labelled,
    Linear,
    PooledProbe,
    choose,
    linear_probes,
    neighbour_probes,
)
from palprobe.controls.pooled_questions import Question, by_question, labels_of
from palprobe.distributed import machine_name
from palprobe.errors import DataError
from palprobe.evaluation.provenance import RECORDED_VERSIONS, provenance
from palprobe.evaluation.record import answers, write
from palprobe.files import load_tensors, save_tensors
from palprobe.runs import Run
from palprobe.scoring.reading import likeliest
from palprobe.tasks.kinds import KINDS
from palprobe.training.cost import Meter
from palprobe.training.planned import Usable
from palprobe.training.workspace import Workspace
from palprobe.types import Prediction, Split

DECODING = "none: log probability of every choice"
DEVICE = "cpu"  # of scikit-learn
PROBES: Mapping[str, Callable[..., Iterator[tuple[float, PooledProbe]]]] = {
    LINEAR: linear_probes,
    KNN: neighbour_probes,
}
UNTRIED = {LINEAR: 0.1, KNN: 8}  # the setting of a question that no validation clip is asked
WEIGHTS = ("weight", "bias")  # in a probe's state: what was trained

State = dict[str, npt.NDArray[np.generic]]


def run_pooled(workspace: Workspace, cell: PooledCell, split: Split) -> Path:
    """Fits a cell and scores it on a split, as far as that has not been done.

    Returns:
        the folder with predictions.jsonl and result.json.

    Raises:
        as `fit_pooled` and `evaluate_pooled`.
    """
    evaluation = cell.evaluation(split)
    if evaluation.is_there:
        return evaluation.folder
    fit_pooled(workspace, cell)
    return evaluate_pooled(workspace, cell, split)


def fit_pooled(workspace: Workspace, cell: PooledCell) -> Run:
    """Fits a classifier for each question of the task, and finishes the run folder; a finished one is left alone.

    Raises:
        UnfinishedError: its features are not there.
        DataError: none of its training clips could be decoded.
        IdentityError: its folder holds another run.
    """
    run = cell.run
    if run.finished:
        run.check()
        return run
    train, held = workspace.usable(cell, "train"), workspace.usable(cell, "validation")
    if not train.examples:
        raise DataError(f"Task {cell.cell.task!r}: none of the training clips could be decoded.")
    run.begin(cell.recipe)
    meter = Meter(DEVICE)
    chosen = _chosen(workspace, cell, train, held)
    states = [dict(found.probe.state()) for found in chosen.values()]
    if tensors := _tensors(states):
        save_tensors(run.probe_file, tensors)
    run.finish(
        {
            "id": run.id,
            "device": DEVICE,
            "questions": [_said(question, found) for question, found in chosen.items()],
            "trainable_parameters": sum(state[name].size for state in states for name in WEIGHTS if name in state),
            "train_seconds": round(meter.seconds, 3),
            "peak_memory_bytes": meter.peak_bytes,
            "peak_memory_method": meter.method,
            "machine": machine_name(DEVICE),
        }
    )
    return run


def evaluate_pooled(workspace: Workspace, cell: PooledCell, split: Split) -> Path:
    """Scores a fitted cell on a split; a result of the same identity is left alone.

    Raises:
        UnfinishedError: the run is not fitted, or features are not there.
        IdentityError: the run folder was made from something else than it is now asked for.
        DataError: the split is empty, or asks what no training clip is asked.
    """
    training, evaluation = cell.run.summary(), cell.evaluation(split)
    cell.run.check()
    if evaluation.is_there:
        return evaluation.folder
    usable, sources, meter = workspace.usable(cell, split), workspace.sources(cell), Meter(DEVICE)
    if not usable.examples:
        raise DataError(f"Task {cell.cell.task!r}: the {split} split is empty, so there is nothing to score.")
    predictions = _predictions(workspace, cell, usable, training["questions"])
    costs = ("trainable_parameters", "train_seconds", "peak_memory_bytes", "peak_memory_method", "machine")
    result = {
        **provenance(cell, sources, usable, trainable=cell.kind, versions=(*RECORDED_VERSIONS, "scikit-learn")),
        "layer_weights": None,
        "prompt": usable.examples[0].prompt,
        "decoding": DECODING,
        "device": DEVICE,
        "questions": training["questions"],
        **answers(evaluation, predictions, usable.examples, KINDS[cell.task.kind].metrics),
        "cost": {
            "audio_tokens": None,  # no LLM is shown any
            "tokens_per_second": None,
            **{name: training[name] for name in costs},
            "eval_seconds": round(meter.seconds, 3),
        },
    }
    write(evaluation.folder, predictions, result)
    return evaluation.folder


def _chosen(workspace: Workspace, cell: PooledCell, train: Usable, held: Usable) -> dict[Question, Chosen]:
    """The best probe for each question that training clips are asked."""
    probes, later, chosen = PROBES[cell.kind], by_question(held.examples), dict[Question, Chosen]()
    for question, places in by_question(train.examples).items():
        taught = _labelled(workspace, cell, train, question, places)
        if question in later:
            chosen[question] = choose(probes(taught), _labelled(workspace, cell, held, question, later[question]))
        else:
            ((setting, probe),) = probes(taught, [UNTRIED[cell.kind]])
            chosen[question] = Chosen(probe, setting, {})
    return chosen


def _labelled(
    workspace: Workspace, cell: PooledCell, usable: Usable, question: Question, places: Sequence[int]
) -> Labelled:
    """The clips of a split that are asked a question."""
    examples = [usable.examples[place] for place in places]
    vectors = _vectors(workspace, cell, [usable.keys[place] for place in places])
    return Labelled(vectors, labels_of(examples, question, cell.task.kind), cell.task.kind == "multi-label")


def _vectors(workspace: Workspace, cell: PooledCell, keys: Sequence[str]) -> npt.NDArray[np.float64]:
    return cell.vectors.of(workspace.sources(cell), keys, whose=(cell.cell.encoder, cell.cell.task))


def _predictions(
    workspace: Workspace, cell: PooledCell, usable: Usable, fitted: Sequence[Mapping[str, Any]]
) -> list[Prediction]:
    """One for each example, in order."""
    probes, found = _probes(workspace, cell, fitted), dict[int, Prediction]()
    for question, places in by_question(usable.examples).items():
        if question not in probes:
            raise DataError(
                f"Task {cell.cell.task!r}: no training clip that could be decoded is asked {question.prompt!r} with "
                "these choices. Give it training clips, or leave it out."
            )
        vectors = _vectors(workspace, cell, [usable.keys[place] for place in places])
        logs = probes[question].log_probabilities(vectors).tolist()
        for place, row in zip(places, logs, strict=True):
            found[place] = likeliest(usable.examples[place], dict(zip(question.choices, row, strict=True)))
    return [found[place] for place in range(len(usable.examples))]


def _probes(workspace: Workspace, cell: PooledCell, fitted: Sequence[Mapping[str, Any]]) -> dict[Question, PooledProbe]:
    """The fitted classifier of each question, from the run folder and, of neighbours, from the stored features."""
    probes: dict[Question, PooledProbe] = {}
    if cell.kind == LINEAR:
        states = _states(load_tensors(cell.run.probe_file))
        for number, one in enumerate(fitted):
            probes[_asked(one)] = Linear.from_state(states[number], several=cell.task.kind == "multi-label")
        return probes
    train = workspace.usable(cell, "train")
    places = by_question(train.examples)
    for one in fitted:
        question = _asked(one)
        taught = _labelled(workspace, cell, train, question, places[question])
        ((_, probes[question]),) = neighbour_probes(taught, [one["setting"]])
    return probes


def _said(question: Question, found: Chosen) -> dict[str, Any]:
    """A question and how it is answered, as train.json and result.json say it."""
    tried = {f"{setting:g}": round(value, 4) for setting, value in found.tried.items()}
    return {**vars(question), "setting": found.setting, "validation_log_likelihood": tried}


def _asked(said: Mapping[str, Any]) -> Question:
    return Question(said["part"], said["prompt"], tuple(said["choices"]))


def _tensors(states: Sequence[State]) -> dict[str, torch.Tensor]:
    return {
        f"{number}.{name}": torch.tensor(value) for number, state in enumerate(states) for name, value in state.items()
    }


def _states(tensors: Mapping[str, torch.Tensor]) -> dict[int, State]:
    states: dict[int, State] = {}
    for name, tensor in tensors.items():
        number, _, inner = name.partition(".")
        states.setdefault(int(number), {})[inner] = tensor.numpy()
    return states
