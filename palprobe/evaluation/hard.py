"""Questions that a probe misses without audio, as a manifest: those that their text alone does not give away.

Best of a blind probe, which was trained without audio: missed is what it answers wrong. Of any other probe missed means
that the likeliest choice under null audio is wrong; as it was trained with audio, what is left out may still need it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from palprobe.errors import UsageError
from palprobe.files import write_text
from palprobe.recipe.rigor import BLIND, NO_CONTROL
from palprobe.recipe.scoring import ScoringSection
from palprobe.types import Example, Prediction


def check_hard(sections: Sequence[ScoringSection], control: str = NO_CONTROL) -> None:
    """Raises UsageError unless one of the sections has choices scored without audio.

    Args:
        sections: of one method each.
        control: of the run.
    """
    likelihoods = [section for section in sections if section.method == "likelihood"]
    if not likelihoods or (control != BLIND and all(section.rule != "audio-pmi" for section in likelihoods)):
        raise UsageError(
            "--hard needs scores without audio: name the run of a blind probe, or add --scoring likelihood --set "
            "scoring.rule=audio-pmi."
        )


def write_hard(path: Path, predictions: Sequence[Prediction], examples: Iterable[Example]) -> int:
    """Writes the missed questions, a JSON line each, in the order of the predictions; returns how many there are.

    Args:
        path: of the manifest; audio stands in it by absolute path.
        predictions: with null scores, or of a blind probe.
        examples: among which those of the predictions are.
    """
    asked = {example.id: example for example in examples}
    lines = [_line(asked[prediction.id]) for prediction in predictions if _missed(prediction)]
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return len(lines)


def _missed(prediction: Prediction) -> bool:
    null = prediction.null_scores
    if not null:
        return not prediction.correct
    return max(null, key=null.__getitem__) not in prediction.all_references


def _line(example: Example) -> dict[str, Any]:
    line = {
        "id": example.id,
        "audio": str(example.audio.absolute()),
        "start": example.start_seconds or None,
        "end": example.end_seconds,
        "split": example.split if example.fold is None else None,
        "fold": example.fold,
        "prompt": example.prompt,
        "choices": list(example.choices),
        "answer": example.references[0],
        "group": example.group,
    }
    return {key: value for key, value in line.items() if value is not None}
