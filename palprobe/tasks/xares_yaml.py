"""The YAML files of xares-llm, as values: which shards are asked what, and by which metric answers are judged.

They are written for YAML 1.1 and meant as YAML 1.2 reads them: 1e-4 is a number, and no is text.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from palprobe.errors import DataError, RecipeError
from palprobe.recipe.yaml12 import parse_yaml
from palprobe.registry import near_miss

TRAIN_DATA = "train_data"
OF_A_TRAIN_SET = ("prompt", "data", "key", "prob", "repo_id")
OF_AN_EVAL_SET = ("data", "metric", "metric_args", "batch_size", "num_workers", "weight")
OF_EVAL_DATA = ("prompt", "data", "key", "repo_id")
# What a training file says beside its data: of no effect here, or as a recipe says it.
IDLE = (
    "output_dir",
    "torch_num_threads",
    "crop_audio_length",
    "save_total_limit",
    "save_steps",
    "optimizer",
    "logging_dir",
    "logging_steps",
    "num_training_workers",
    "sort_by_length",
)
SETTINGS = {
    "max_steps": "train.steps",
    "per_device_train_batch_size": "train.batch_size",
    "learning_rate": "train.learning_rate",
    "weight_decay": "train.weight_decay",
    "max_grad_norm": "train.gradient_clip",
    "warmup_steps": "train.warmup_fraction",
    "decoder_model_name": "llm",
    "seed": "seeds",
}
USUAL_STEPS = 10_000  # where a training file does not say max_steps
METRICS = ("Accuracy", "iWER", "iCER", "mAP")
NOT_COMPUTED = {  # metrics of the package mecat
    "FENSE": "it compares sentences by trained models, which palprobe does not bring",
    "DATE": "it compares sentences by trained models, which palprobe does not bring",
}


@dataclass(frozen=True)
class Judging:
    """How the answers to an evaluation set are judged there."""

    metric: str  # of METRICS or NOT_COMPUTED
    weight: float  # in the mean over all sets
    num_classes: int | None = None  # of mAP; None: as many as occur


@dataclass(frozen=True)
class PeerSet:
    """Shards that are asked one thing."""

    name: str
    prompts: tuple[str, ...]  # of several, each item draws one
    patterns: tuple[str, ...]
    keys: tuple[str, ...]  # of the JSON: the first that holds something has the answer
    repo: str | None
    probability: float | None = None  # of being drawn in training; None: by its share of the shards
    judging: Judging | None = None  # of an evaluation set


@dataclass(frozen=True)
class PeerFile:
    """A training or an evaluation file."""

    path: Path
    split: Literal["train", "test"]
    sets: tuple[PeerSet, ...]
    settings: tuple[str, ...] = ()  # what else it says of training, as `key=value` of a recipe


def read_peer_file(path: Path) -> PeerFile:
    """A YAML of xares-llm; one with `train_data` is for training, any other for evaluation.

    Raises:
        DataError: it cannot be read, an unknown key (the nearest is named), or a value of another kind than expected.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8-sig"), where=str(path))
    except (OSError, UnicodeDecodeError, RecipeError) as error:
        raise DataError(f"The file {str(path)!r} cannot be read as YAML: {error}.") from error
    top = _mapping(content, f"{str(path)!r}")
    if TRAIN_DATA in top:
        _check_keys(top, (TRAIN_DATA, *SETTINGS, *IDLE), repr(str(path)))
        listed = _mapping(top[TRAIN_DATA], f"{str(path)!r}, {TRAIN_DATA}")
        sets = tuple(_train_set(str(name), given, f"{str(path)!r}, {name!r}") for name, given in listed.items())
        return PeerFile(path, "train", sets, _settings(top))
    for name, given in top.items():
        if not isinstance(given, dict):
            raise DataError(
                f"{str(path)!r}: {name!r} is no set with data and metric, and there is no {TRAIN_DATA}."
                f"{near_miss(str(name), (TRAIN_DATA, *SETTINGS, *IDLE))}"
            )
    sets = tuple(_eval_set(str(name), given, f"{str(path)!r}, {name!r}") for name, given in top.items())
    return PeerFile(path, "test", sets)


def _train_set(name: str, given: Any, where: str) -> PeerSet:
    content = _mapping(given, where)
    _check_keys(content, OF_A_TRAIN_SET, where)
    probability = None if content.get("prob") is None else _number(content["prob"], f"{where}: prob")
    return _data(name, content, where, probability=probability)


def _eval_set(name: str, content: Mapping[Any, Any], where: str) -> PeerSet:
    _check_keys(content, OF_AN_EVAL_SET, where)
    data = _mapping(content.get("data"), f"{where}, data")
    _check_keys(data, OF_EVAL_DATA, f"{where}, data")
    return _data(name, data, where, judging=_judging(content, where))


def _judging(content: Mapping[Any, Any], where: str) -> Judging:
    asked, known = str(content.get("metric")), (*METRICS, *NOT_COMPUTED)
    metric = next((name for name in known if name.lower() == asked.lower()), None)
    if metric is None:
        raise DataError(f"{where}: metric {asked!r} is none of {', '.join(known)}.{near_miss(asked, known)}")
    weight = _number(content.get("weight", 1), f"{where}: weight")
    arguments = _mapping(content.get("metric_args") or {"": None}, f"{where}, metric_args")
    classes = arguments.get("num_classes")
    if classes is not None and (isinstance(classes, bool) or not isinstance(classes, int) or classes < 1):
        raise DataError(f"{where}: num_classes {classes!r} is no whole number above 0.")
    return Judging(metric, weight, classes)


def _data(
    name: str,
    content: Mapping[Any, Any],
    where: str,
    *,
    probability: float | None = None,
    judging: Judging | None = None,
) -> PeerSet:
    repo = content.get("repo_id")
    keys = [part.strip() for part in str(content.get("key") or "").split(";")]
    return PeerSet(
        name=name,
        prompts=_texts(content.get("prompt"), f"{where}: prompt"),
        patterns=_texts(content.get("data"), f"{where}: data"),
        keys=tuple(key for key in keys if key),
        repo=None if repo is None else str(repo),
        probability=probability,
        judging=judging,
    )


def _settings(top: Mapping[str, Any]) -> tuple[str, ...]:
    """What a training file says of training, as a recipe says it."""
    found = []
    for key, ours in SETTINGS.items():
        if top.get(key) is None:
            continue
        value = top[key]
        if key == "warmup_steps":
            steps = _number(top.get("max_steps", USUAL_STEPS), "max_steps") or USUAL_STEPS
            value = f"{_number(value, key) / steps:.4g}"
        found.append(f"{ours}=[{value}]" if key == "seed" else f"{ours}={value}")
    return tuple(found)


def _mapping(value: Any, where: str) -> dict[Any, Any]:
    if not isinstance(value, dict) or not value:
        raise DataError(f"{where} holds {type(value).__name__}; keys and values were expected.")
    return value


def _check_keys(content: Mapping[Any, Any], known: Collection[str], where: str) -> None:
    unknown = next((key for key in content if key not in known), None)
    if unknown is not None:
        raise DataError(
            f"{where}: no key is named {unknown!r}.{near_miss(str(unknown), known)} Known: {', '.join(known)}."
        )


def _texts(value: Any, where: str) -> tuple[str, ...]:
    """One text, or a list of them."""
    found: Sequence[Any] = value if isinstance(value, list) else [value]
    if not found or not all(isinstance(text, str) and text.strip() for text in found):
        raise DataError(f"{where} is {value!r}; a text or a list of texts was expected.")
    return tuple(found)


def _number(value: Any, where: str) -> float:
    """A number, 0 or more; also one in quotes."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise DataError(f"{where} is {value!r}; a number, 0 or more, was expected.")
    return number
