"""VocalSound: laughter, sighs, coughs, throat clearing, sneezes and sniffs, in the publisher's split by speaker."""

from __future__ import annotations

import re
from pathlib import Path

from palprobe.errors import DataError
from palprobe.tasks import check_variant
from palprobe.tasks.layout import read_table, task_data
from palprobe.types import Example, Split, TaskData

PROMPT = "Which vocal sound is this?"
LABELS = {
    "laughter": "laughter",
    "sigh": "sigh",
    "cough": "cough",
    "throatclearing": "throat clearing",
    "sneeze": "sneeze",
    "sniff": "sniff",
}
TABLES: dict[str, Split] = {"tr_meta.csv": "train", "val_meta.csv": "validation", "te_meta.csv": "test"}
FOLDERS = ("audio_16k", "audio_44k")  # the two releases; the same recordings
FILE_NAME = re.compile(rf"(?P<speaker>[mf][0-9]+)_[0-9]+_(?P<sound>{'|'.join(LABELS)})")
EXPECTED = "the VocalSound layout: meta/{tr,val,te}_meta.csv beside audio_16k/ (github.com/YuanGongND/vocalsound)"
LICENCE = "CC BY-SA 4.0"
CITATION = "Y. Gong, J. Yu, J. Glass, VocalSound: A Dataset for Improving Human Vocal Sounds Recognition, ICASSP 2022"


def load_vocalsound(folder: Path, variant: str | None) -> TaskData:
    """All recordings of the speakers whom the three tables name.

    Every speaker recorded all six sounds, so that one without a file counts as missing; a second take of it that is not
    there cannot be known.

    Args:
        folder: holds `meta/` and `audio_16k/` or `audio_44k/` with `{m|f}{id}_{take}_{sound}.wav`.
        variant: none exists.

    Source: the publisher's README for names and folders; mispeech/xares-llm for the tables: no header, the speaker
    first.
    """
    check_variant("vocalsound", variant, ())
    speakers = _speakers(folder / "meta")
    audio = next((folder / name for name in FOLDERS if (folder / name).is_dir()), folder / FOLDERS[0])
    paths = sorted(path for path in audio.glob("*.wav") if not path.name.startswith("."))
    there = set()
    examples = []
    for path in paths:
        match = FILE_NAME.fullmatch(path.stem)
        if match is None or match["speaker"] not in speakers:
            raise DataError(f"{str(path)!r} is of no speaker in meta/ or of another name. Expected {EXPECTED}.")
        there.add((match["speaker"], match["sound"]))
        examples.append(_example(path, match["speaker"], match["sound"], speakers[match["speaker"]]))
    for speaker, split in speakers.items():
        for sound in LABELS:
            if (speaker, sound) not in there:
                examples.append(_example(audio / f"{speaker}_0_{sound}.wav", speaker, sound, split))
    return task_data("vocalsound", folder, examples, licence=LICENCE, citation=CITATION)


def _speakers(meta: Path) -> dict[str, Split]:
    speakers: dict[str, Split] = {}
    for name, split in TABLES.items():
        for row in read_table(meta / name, ("speaker",), EXPECTED, header=False):
            if speakers.setdefault(row["speaker"], split) != split:
                raise DataError(f"{str(meta / name)!r}: {row['speaker']!r} is also in another of the three tables.")
    return speakers


def _example(path: Path, speaker: str, sound: str, split: Split) -> Example:
    return Example(
        id=path.stem,
        group=speaker,
        audio=path,
        prompt=PROMPT,
        references=(LABELS[sound],),
        choices=tuple(LABELS.values()),
        split=split,
    )
