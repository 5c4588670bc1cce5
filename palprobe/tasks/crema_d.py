"""CREMA-D: which of six emotions an actor was asked to express, in a split by actor of ours."""

from __future__ import annotations

import re
from pathlib import Path

from palprobe.errors import DataError
from palprobe.tasks import check_variant
from palprobe.tasks.layout import task_data
from palprobe.types import Example, Split, TaskData

PROMPT = "Which emotion does the speaker express?"
LABELS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
# By the last digit of the actor's number, 1001 to 1091: nobody has published a split. 64, 9 and 18 actors.
TEST_DIGITS, VALIDATION_DIGITS = "89", "7"
FILE_NAME = re.compile(rf"(?P<actor>1[0-9]{{3}})_[A-Z]{{3}}_(?P<emotion>{'|'.join(LABELS)})_(LO|MD|HI|XX?)")
EXPECTED = (
    "the CREMA-D layout: AudioWAV/{actor}_{sentence}_{emotion}_{level}.wav (github.com/CheyneyComputerScience/CREMA-D)"
)
LICENCE = "ODbL 1.0"
CITATION = "H. Cao et al., CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset, IEEE TAC 5(4), 2014"


def load_crema_d(folder: Path, variant: str | None) -> TaskData:
    """Whatever recordings are in `AudioWAV/`; nothing lists them, so none can be missing.

    The label is the emotion that was asked for (in the file's name), not the one that listeners heard. The split is
    ours, by actor, and fixed: see TEST_DIGITS.

    Args:
        folder: holds `AudioWAV/`.
        variant: none exists.

    Source: the README and the file names of the publisher's repository.
    """
    check_variant("crema-d", variant, ())
    audio = folder / "AudioWAV"
    paths = sorted(path for path in audio.glob("*.wav") if not path.name.startswith("."))
    if not paths:
        raise DataError(f"No WAV file in {str(audio)!r}. Expected {EXPECTED}.")
    examples = []
    for path in paths:
        match = FILE_NAME.fullmatch(path.stem)
        if match is None:
            raise DataError(f"{str(path)!r} is named otherwise. Expected {EXPECTED}. Move it elsewhere.")
        examples.append(
            Example(
                id=path.stem,
                group=match["actor"],
                audio=path,
                prompt=PROMPT,
                references=(LABELS[match["emotion"]],),
                choices=tuple(LABELS.values()),
                split=_split(match["actor"]),
            )
        )
    return task_data("crema-d", folder, examples, licence=LICENCE, citation=CITATION)


def _split(actor: str) -> Split:
    if actor[-1] in TEST_DIGITS:
        return "test"
    return "validation" if actor[-1] in VALIDATION_DIGITS else "train"
