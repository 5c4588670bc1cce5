"""LibriSpeech: is it a woman or a man who reads, or what is read; no reader is on two sides.

Its subsets are the official split: `train-…` trains, `dev-…` validates, `test-…` tests. Where there are not both of the
first and the last, as where only some subsets have transcripts, readers are dealt to three folds: a choice of ours.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from palprobe.errors import DataError
from palprobe.tasks import check_variant
from palprobe.types import Example, Split, TaskData, TaskKind

SPLITS_OF: dict[str, Split] = {"train": "train", "dev": "validation", "test": "test"}  # the first word of a subset
PROMPTS = {"sex": "Is a woman or a man speaking?", "asr": "What is said?"}
SEXES = {"F": "woman", "M": "man"}
NUM_FOLDS = 3
READERS, READERS_CSV = "SPEAKERS.TXT", "speakers.csv"  # the corpus's own table, or one with columns speaker and sex
LICENCE = "CC BY 4.0"
CITATION = (
    "V. Panayotov et al., Librispeech: an ASR corpus based on public domain audio books, ICASSP 2015, "
    "openslr.org/12; labels from its SPEAKERS.TXT and *.trans.txt"
)


@dataclass(frozen=True)
class Utterance:
    """One file of the corpus; the text where it is asked for."""

    subset: str
    reader: str
    audio: Path
    text: str = ""

    @property
    def split(self) -> Split:
        return SPLITS_OF[self.subset.partition("-")[0]]


def load_librispeech(folder: Path, variant: str | None) -> TaskData:
    """The utterances in `SUBSET/READER/CHAPTER/READER-CHAPTER-NUMBER.flac`, of all subsets that are there.

    Args:
        folder: holds subsets such as `train-clean-100/` and, for `sex`, SPEAKERS.TXT (or speakers.csv).
        variant: `sex` (default) or `asr`, of the chapters that have a transcript. Transcripts are asked for in lower
            case, since most LLMs read words in capitals as many more tokens.
    """
    check_variant("librispeech", variant, PROMPTS)
    variant = variant or "sex"
    subsets = sorted(path for path in folder.iterdir() if path.is_dir() and path.name.partition("-")[0] in SPLITS_OF)
    listed = [utterance for subset in subsets for utterance in (_spoken if variant == "asr" else _heard)(subset)]
    if not listed:
        what = "transcript *.trans.txt" if variant == "asr" else "FLAC file"
        raise DataError(f"No {what} in {str(folder)!r}. Expected SUBSET/READER/CHAPTER/, as in test-clean/61/70968/.")
    present = [utterance for utterance in listed if utterance.audio.is_file()]
    missing = [str(utterance.audio.relative_to(folder)) for utterance in listed if not utterance.audio.is_file()]
    sexes = _sexes(folder) if variant == "sex" else {}
    folds = _folds(present)
    several = len({utterance.subset for utterance in present if utterance.split == "test"}) > 1
    examples = tuple(
        Example(
            id=utterance.audio.stem,
            group=utterance.reader,
            audio=utterance.audio,
            prompt=PROMPTS[variant],
            references=(utterance.text if variant == "asr" else _sex(sexes, utterance, folder),),
            choices=tuple(SEXES.values()) if variant == "sex" else (),
            split=None if folds else utterance.split,
            fold=folds.get(utterance.reader),
            part=utterance.subset if several and variant == "asr" else None,  # WER is told by subset: clean, other
            meta={"subset": utterance.subset},
        )
        for utterance in present
    )
    kind: TaskKind = "transcription" if variant == "asr" else "classification"
    return TaskData(f"librispeech:{variant}", examples, tuple(missing), LICENCE, CITATION, kind)


def _heard(subset: Path) -> list[Utterance]:
    return [Utterance(subset.name, path.parent.parent.name, path) for path in sorted(subset.glob("*/*/*.flac"))]


def _spoken(subset: Path) -> list[Utterance]:
    """What the transcripts list: a line `ID WORDS` for each utterance of a chapter."""
    found = []
    for path in sorted(subset.glob("*/*/*.trans.txt")):
        for number, line in enumerate(_lines(path), start=1):
            name, _, text = line.partition(" ")
            if not text.strip():
                raise DataError(f"{path}, line {number}: {line!r} is no utterance's name followed by its words.")
            found.append(
                Utterance(subset.name, path.parent.parent.name, path.parent / f"{name}.flac", text.strip().lower())
            )
    return found


def _folds(utterances: Sequence[Utterance]) -> dict[str, int]:
    """Reader → fold, in turn in the order of their numbers; empty where the official split can be had."""
    if {"train", "test"} <= {utterance.split for utterance in utterances}:
        return {}
    readers = sorted({utterance.reader for utterance in utterances}, key=lambda reader: (len(reader), reader))
    return {reader: number % NUM_FOLDS for number, reader in enumerate(readers)}


def _sexes(folder: Path) -> dict[str, str]:
    """Reader → F or M.

    Raises:
        DataError: neither table is there.
    """
    if (folder / READERS).is_file():
        rows = [line.split("|") for line in _lines(folder / READERS) if not line.startswith(";")]
        return {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}
    if (folder / READERS_CSV).is_file():
        return {row.get("speaker", ""): row.get("sex", "") for row in csv.DictReader(_lines(folder / READERS_CSV))}
    raise DataError(f"No {READERS} in {str(folder)!r} to say who reads. Put the corpus's own there.")


def _sex(sexes: dict[str, str], utterance: Utterance, folder: Path) -> str:
    found = sexes.get(utterance.reader)
    if found not in SEXES:
        raise DataError(
            f"Reader {utterance.reader} of {utterance.subset} has the sex {found!r} in {str(folder)!r}; "
            f"expected F or M in {READERS}. Use the table of the whole corpus."
        )
    return SEXES[found]


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason}). Put the corpus's own there.") from error
