"""Speech Commands: which word is spoken (35 in version 2), in the publisher's split by speaker."""

from __future__ import annotations

import re
from pathlib import Path

from palprobe.errors import DataError
from palprobe.tasks import check_variant
from palprobe.tasks.layout import classification, read_lines, task_data
from palprobe.types import Example, Split, TaskData

PROMPT = "Which word is spoken?"
LISTS: dict[str, Split] = {"validation_list.txt": "validation", "testing_list.txt": "test"}
FILE_NAME = re.compile(r"(?P<word>[a-z]+)/(?P<name>(?P<speaker>[0-9a-z]+)_nohash_[0-9]+)\.wav")
EXPECTED = (
    "the Speech Commands layout: {word}/{speaker}_nohash_{number}.wav beside validation_list.txt and testing_list.txt "
    "(download.tensorflow.org/data/speech_commands_v0.02.tar.gz)"
)
LICENCE = "CC BY 4.0"
CITATION = "P. Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, arXiv 1804.03209"


def load_speech_commands(folder: Path, variant: str | None) -> TaskData:
    """All words: what the two lists name is for validation and testing, every other file for training.

    Listed files that are not there count as missing; of the training files there is no list. Folders that begin with
    `_` (background noise) are left out.

    Args:
        folder: holds a folder for each word and the two lists.
        variant: none exists.

    Source: the README in the publisher's archive, as torchaudio.datasets.SPEECHCOMMANDS reads it.
    """
    check_variant("speech-commands", variant, ())
    splits: dict[str, Split] = {name: split for list_, split in LISTS.items() for name in _listed(folder / list_)}
    inner = (path.relative_to(folder).as_posix() for path in folder.glob("*/*.wav"))
    found = (name for name in inner if not name.startswith(("_", ".")) and "/." not in name)
    examples = [_example(folder, name, splits.get(name, "train")) for name in sorted({*found, *splits})]
    return task_data("speech-commands", folder, classification(examples), licence=LICENCE, citation=CITATION)


def _listed(path: Path) -> list[str]:
    return read_lines(path, EXPECTED)


def _example(folder: Path, name: str, split: Split) -> Example:
    match = FILE_NAME.fullmatch(name)
    if match is None:
        raise DataError(f"{str(folder)!r}: {name!r} is named otherwise. Expected {EXPECTED}.")
    return Example(
        id=f"{match['word']}-{match['name']}",
        group=match["speaker"],
        audio=folder / name,
        prompt=PROMPT,
        references=(match["word"],),
        split=split,
    )
