"""predictions.jsonl: one line per item, from which every later number is computed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from palprobe.errors import PalprobeError
from palprobe.evaluation.fields import mapping, number_lists, numbers, take, texts
from palprobe.files import read_lines
from palprobe.types import Prediction

PREDICTIONS = "predictions.jsonl"
SOMETIMES = (
    "references",
    "text",
    "choices",
    "null_scores",
    "nearest",
    "measures",
)  # written only where they hold something


def written(predictions: Sequence[Prediction]) -> str:
    """The file's content."""
    return "".join(_line(prediction) for prediction in predictions)


def read_predictions(folder: Path, expected: int) -> tuple[Prediction, ...]:
    """One per item, in the order of the file.

    Args:
        folder: of an evaluation.
        expected: how many there are by its result.json.

    Raises:
        PalprobeError: the file is absent, damaged, or holds another number of items.
    """
    path = folder / PREDICTIONS
    if not path.is_file():
        raise PalprobeError(f"{path} is not there, but result.json is. Run `palprobe eval` on this run again.")
    found = tuple(_prediction(line, f"{path}, item {number}") for number, line in enumerate(read_lines(path), 1))
    if len(found) != expected:
        raise PalprobeError(f"{path} holds {len(found)} items, result.json says {expected}. Run `palprobe eval` again.")
    return found


def _line(prediction: Prediction) -> str:
    plain = {key: dict(getattr(prediction, key)) for key in ("scores", "null_scores", "measures")}
    content = vars(prediction) | plain
    kept = {key: value for key, value in content.items() if key not in SOMETIMES or value not in (None, (), {})}
    return json.dumps(kept, ensure_ascii=False) + "\n"


def _prediction(value: Any, where: str) -> Prediction:
    content = mapping(value, where)
    return Prediction(
        id=take(content, "id", str, where),
        group=take(content, "group", str, where),
        part=take(content, "part", (str, type(None)), where),
        reference=take(content, "reference", str, where),
        prediction=take(content, "prediction", str, where),
        scores=numbers(take(content, "scores", dict, where), where),
        correct=take(content, "correct", bool, where),
        valid=take(content, "valid", bool, where),
        references=texts(content.get("references", []), f"{where}: references"),
        text=take({"text": None} | content, "text", (str, type(None)), where),
        choices=texts(content.get("choices", []), f"{where}: choices"),
        null_scores=numbers(content.get("null_scores", {}), f"{where}: null_scores"),
        nearest=take({"nearest": None} | content, "nearest", (str, type(None)), where),
        measures=number_lists(content.get("measures", {}), f"{where}: measures"),
    )
