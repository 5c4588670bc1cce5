"""FMA-small: eight musical genres, 1000 clips of half a minute each, in the publisher's split by artist."""

from __future__ import annotations

from pathlib import Path

from palprobe.errors import DataError
from palprobe.tasks import check_variant
from palprobe.tasks.layout import classification, one_line, read_cells, task_data, whole_number
from palprobe.types import Example, Split, TaskData

PROMPT = "Which musical genre is this?"
COLUMNS = {  # the two header rows of those used
    "subset": ("set", "subset"),
    "split": ("set", "split"),
    "genre": ("track", "genre_top"),
    "artist": ("artist", "id"),
}
SPLITS: dict[str, Split] = {"training": "train", "validation": "validation", "test": "test"}
EXPECTED = "the FMA layout: fma_metadata/tracks.csv beside fma_small/ (github.com/mdeff/fma)"
LICENCE = "per track, Creative Commons; metadata CC BY 4.0"
CITATION = "M. Defferrard et al., FMA: A Dataset For Music Analysis, ISMIR 2017"


def load_fma_small(folder: Path, variant: str | None) -> TaskData:
    """The tracks of the subset `small`; the group is the artist, who by the publisher's account is in one split only.

    Args:
        folder: holds `fma_metadata/tracks.csv` and `fma_small/{000..155}/{id:06d}.mp3`.
        variant: none exists.

    Source: the publisher's usage notebook: two header rows, the track's number in the first column.
    """
    check_variant("fma-small", variant, ())
    path = folder / "fma_metadata" / "tracks.csv"
    rows = read_cells(path, EXPECTED)
    headers = list(zip(rows[0][1], rows[1][1], strict=False)) if len(rows) > 1 else []
    absent = [name for name in COLUMNS.values() if name not in headers]
    if absent:
        raise DataError(f"{str(path)!r}: no column {absent[0]} in its first two rows. Expected {EXPECTED}.")
    places = {key: headers.index(name) for key, name in COLUMNS.items()}
    examples = []
    for line, cells in rows[2:]:
        row = {key: cells[place] if place < len(cells) else "" for key, place in places.items()}
        if row["subset"] != "small":  # the third row, which names the index, too
            continue
        where = f"{str(path)!r}, line {line}"
        if row["split"] not in SPLITS or not row["genre"].strip() or not row["artist"].strip():
            raise DataError(f"{where}: expected a split among {list(SPLITS)}, a genre and an artist, found {row}.")
        name = f"{whole_number(cells[0], where):06d}"
        examples.append(
            Example(
                id=name,
                group=f"artist {row['artist']}",
                audio=folder / "fma_small" / name[:3] / f"{name}.mp3",
                prompt=PROMPT,
                references=(one_line(row["genre"]),),
                split=SPLITS[row["split"]],
            )
        )
    if not examples:
        raise DataError(f"{str(path)!r}: no track is in the subset 'small'. Expected {EXPECTED}.")
    return task_data("fma-small", folder, classification(examples), licence=LICENCE, citation=CITATION)
