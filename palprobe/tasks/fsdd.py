"""The Free Spoken Digit Dataset: which digit, or who speaks, in the publisher's split."""

from __future__ import annotations

import re
from pathlib import Path

from palprobe.errors import DataError
from palprobe.tasks import check_variant
from palprobe.types import Example, TaskData

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PROMPTS = {"digit": "Which digit is spoken?", "speaker": "Who is speaking?"}
NUM_TEST_TAKES = 5  # the publisher's split: takes 0-4 of every speaker and digit are for testing
FILE_NAME = re.compile(r"(?P<digit>[0-9])_(?P<speaker>[^\W_]+)_(?P<take>[0-9]+)")
LICENCE = "CC BY-SA 4.0"
CITATION = "Z. Jackson et al., Free Spoken Digit Dataset, doi 10.5281/zenodo.1342401"


def load_fsdd(folder: Path, variant: str | None) -> TaskData:
    """The takes in `recordings/{digit}_{speaker}_{take}.wav`, however many there are.

    Args:
        folder: holds `recordings/`.
        variant: `digit` (default) or `speaker`: what is asked.

    Source: the publisher's README for names and split.
    """
    check_variant("fsdd", variant, PROMPTS)
    variant = variant or "digit"
    recordings = folder / "recordings"
    paths = sorted(recordings.glob("*.wav"))
    if not paths:
        raise DataError(f"No WAV file in {str(recordings)!r}. Expected recordings/{{digit}}_{{speaker}}_{{take}}.wav.")
    takes = [(path, _parse(path)) for path in paths]
    labels = [WORDS[int(take["digit"])] if variant == "digit" else take["speaker"] for _, take in takes]
    choices = tuple(sorted(set(labels), key=WORDS.index if variant == "digit" else None))
    examples = tuple(
        Example(
            id=path.stem,
            group=path.stem,  # each take was recorded on its own
            audio=path,
            prompt=PROMPTS[variant],
            references=(label,),
            choices=choices,
            split="test" if int(take["take"]) < NUM_TEST_TAKES else "train",
            meta={"speaker": take["speaker"]},
        )
        for (path, take), label in zip(takes, labels, strict=True)
    )
    return TaskData(f"fsdd:{variant}", examples, (), LICENCE, CITATION)


def _parse(path: Path) -> dict[str, str]:
    match = FILE_NAME.fullmatch(path.stem)
    if match is None:
        raise DataError(f"{str(path)!r} is not named {{digit}}_{{speaker}}_{{take}}.wav. Move it elsewhere.")
    return match.groupdict()
