"""GTZAN: ten musical genres, in the fault-filtered split of Kereliuk et al., read from lists that the user provides."""

from __future__ import annotations

import re
from pathlib import Path

from palprobe.errors import DataError
from palprobe.tasks import check_variant
from palprobe.tasks.layout import AudioFiles, classification, read_lines, task_data
from palprobe.types import Example, Split, TaskData

PROMPT = "Which musical genre is this?"
LISTS: dict[str, Split] = {
    "train_filtered.txt": "train",
    "valid_filtered.txt": "validation",
    "test_filtered.txt": "test",
}
FOLDERS = ("genres", "genres_original")  # the original archive, and a copy of it that is easier to find
LINE = re.compile(r"([a-z]+/)?(?P<track>(?P<genre>[a-z]+)\.[0-9]{5})(\.[a-z0-9]+)?")
EXPECTED = (
    "{train,valid,test}_filtered.txt beside genres/: the fault-filtered lists of Kereliuk et al. (2015), to be had in "
    "GTZAN_split of github.com/jongpillee/music_dataset_split; a random split of GTZAN shares artists and copies"
)
LICENCE = "none stated by the publisher"
CITATION = (
    "G. Tzanetakis, P. Cook, Musical Genre Classification of Audio Signals, IEEE TSAP 10(5), 2002; split: C. Kereliuk, "
    "B. L. Sturm, J. Larsen, Deep Learning and Music Adversaries, IEEE TMM 17(11), 2015"
)


def load_gtzan(folder: Path, variant: str | None) -> TaskData:
    """The tracks that the three lists name; the lists keep artists apart, and each track is a group.

    Args:
        folder: holds the lists and `genres/` (or `genres_original/`) with `{genre}/{genre}.{00000}.*`.
        variant: none exists.

    Source: the README of the lists; their lines, `blues/blues.00029.wav`, as public code for these lists reads them.
    The list in torchaudio.datasets.GTZAN has 443, 197 and 290 tracks; its bare `blues.00029` is read too.
    """
    check_variant("gtzan", variant, ())
    files = AudioFiles(next((folder / name for name in FOLDERS if (folder / name).is_dir()), folder / FOLDERS[0]))
    examples = []
    for name, split in LISTS.items():
        for line in read_lines(folder / name, EXPECTED):
            match = LINE.fullmatch(line)
            if match is None:
                raise DataError(f"{str(folder / name)!r}: {line!r} is no track such as blues/blues.00029.wav.")
            examples.append(
                Example(
                    id=match["track"],
                    group=match["track"],
                    audio=files.find(match["track"]),
                    prompt=PROMPT,
                    references=(match["genre"],),
                    split=split,
                )
            )
    return task_data("gtzan", folder, classification(examples), licence=LICENCE, citation=CITATION)
