"""Official layouts in miniature, as their publishers describe them: tables with a few rows, and empty files for audio.

No loader of a layout decodes audio. Each writer gets an empty folder; what its tests expect is counted by hand there.
"""

from pathlib import Path

import pytest
from miniature_files import table, touch

from palprobe.errors import DataError
from palprobe.specs import parse_task
from palprobe.tasks import load_task
from palprobe.types import TaskData


def urbansound8k(folder: Path) -> None:
    """Two classes in two folds, two slices of one recording; the last row's file is not there."""
    rows = [
        ("100-3-0-0.wav", 100, 0.0, 4.0, 1, 1, 3, "dog_bark"),
        ("100-3-0-1.wav", 100, 4.0, 8.0, 1, 1, 3, "dog_bark"),
        ("200-1-0-0.wav", 200, 0.0, 1.5, 2, 1, 1, "car_horn"),
        ("300-1-0-0.wav", 300, 0.0, 1.5, 2, 2, 1, "car_horn"),
        ("400-5-0-0.wav", 400, 0.0, 4.0, 1, 2, 5, "engine_idling"),
    ]
    header = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
    table(folder / "metadata" / "UrbanSound8K.csv", header, *rows)
    touch(*(folder / "audio" / f"fold{row[5]}" / row[0] for row in rows[:-1]))


def vggsound(folder: Path) -> None:
    """Both names that a clip may have, a label with commas, a video on both sides, one clip that is not there."""
    table(
        folder / "vggsound.csv",
        ("-aaaaaaaaaa", 30, "engine accelerating, revving, vroom", "train"),
        ("bbbbbbbbbbb", 0, "dog barking", "test"),
        ("ccccccccccc", 5, "dog barking", "train"),
        ("ccccccccccc", 20, "dog barking", "test"),
        ("ddddddddddd", 1, "cat purring", "train"),
        ("eeeeeeeeeee", 3, "dog barking", "train"),
    )
    names = ("-aaaaaaaaaa_000030.mp4", "test/bbbbbbbbbbb_0.wav", "ccccccccccc_000005.wav", "ccccccccccc_000020.flac")
    touch(*(folder / "video" / name for name in (*names, "eeeeeeeeeee_000003.wav")))


LAYOUTS = {
    "urbansound8k": urbansound8k,
    "vggsound": vggsound,
}


def load(spec: str, folder: Path | None = None) -> TaskData:
    """What the command line would get: of `NAME[:VARIANT]` in a folder, or of `NAME=FOLDER`."""
    return load_task(parse_task(spec if folder is None else f"{spec}={folder}"), data_root=None, cache=Path("unused"))


def written(name: str, folder: Path) -> Path:
    """A folder with that layout in miniature."""
    place = folder / name
    place.mkdir()
    LAYOUTS[name](place)
    return place


def refusal(spec: str, folder: Path) -> str:
    """The one line that a folder is refused with."""
    with pytest.raises(DataError) as caught:
        load(spec, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)
