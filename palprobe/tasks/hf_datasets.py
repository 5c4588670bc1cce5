"""`datasets:FOLDER`: a folder of Hugging Face datasets as a task, saved or downloaded; nothing is fetched or run.

Columns are those of a manifest. Where no column of answers has such a name, the only column of class labels is the
label, and the usual names of transcripts and captions are known; `:label=genre` behind the folder says which is meant.
Splits are those whose name says train, validation (valid, dev) or test (eval); a set that has but one of them may say
it in a column `split` or `fold`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from palprobe.errors import DataError
from palprobe.specs import TaskSpec
from palprobe.tasks.audiofolder import read_audiofolder
from palprobe.tasks.columns import placed, renamed, roles, split_of_name
from palprobe.tasks.hf_library import has_tables
from palprobe.tasks.hf_tables import CLIPS, Table, read_tables
from palprobe.tasks.rows import Row, row_of, task_of_rows
from palprobe.types import TaskData

FOLDER = "hf"  # in the cache
USUAL = {"caption": "captions", "text": "transcript", "sentence": "transcript", "transcription": "transcript"}
EXPECTED = "what save_to_disk writes, or a downloaded data set with parquet, arrow or audio files"
NAMED = "Name splits train, validation (valid, dev) or test (eval), or choose a column: :split=COLUMN or :fold=COLUMN"
ADVICE = "Save the data set with audio in every row"
CITATION = "of a Hugging Face data set; the licence is its publisher's"


def load_hf_dataset(spec: TaskSpec, *, cache: Path, allow_missing: bool = False) -> TaskData:
    """Reads a folder; audio that stands in its tables is written into the cache, once.

    Args:
        spec: its path is the folder.
        cache: of what is unpacked.
        allow_missing: count the rows without audio instead of refusing them.

    Raises:
        UsageError: a column that is not there.
        DataError: the folder or its splits cannot be used, or a row is no question; it is named.
    """
    folder = Path(spec.path or "").expanduser().absolute()
    task = f"datasets:{spec.path}"
    _check_folder(folder, task)
    kept = (cache / FOLDER).absolute()
    if has_tables(folder):
        tables = read_tables(folder, audio=dict(spec.columns).get("audio"), cache=kept, task=task)
    else:
        tables = read_audiofolder(folder)
    tables = [table for table in tables if table.rows]
    if not tables:
        raise DataError(f"Task {task!r}: no data in {str(folder)!r}. Expected {EXPECTED}.")
    used, by_column, notes = _used(tables, dict(spec.columns), task)
    chosen = _roles(used, spec, task, by_column=by_column)
    places = (kept / CLIPS, folder)
    rows = [row for table in used for row in _rows(table, chosen, task, places, by_column=by_column)]
    name = "".join([f"datasets:{folder.name}", *(f":{role}={column}" for role, column in spec.columns)])
    data = task_of_rows(name, task, rows, base=folder, advice=ADVICE, allow_missing=allow_missing)
    return replace(data, citation=CITATION, notes=tuple(notes))


def _check_folder(folder: Path, task: str) -> None:
    if not folder.is_dir():
        raise DataError(f"Task {task!r}: no folder {str(folder)!r}. Expected {EXPECTED}; palprobe downloads none.")
    scripts = sorted(path.name for path in folder.glob("*.py"))
    if scripts:
        raise DataError(
            f"Task {task!r}: {scripts[0]!r} in it may be a loading script, and palprobe runs no code of a data set. "
            "Name a folder of its data files alone, or load it elsewhere and save_to_disk."
        )


def _used(tables: Sequence[Table], given: Mapping[str, str], task: str) -> tuple[list[Table], bool, list[str]]:
    """The tables that are read, whether their own columns say split or fold, and notes on the others."""
    named = [table for table in tables if split_of_name(table.split)]
    used = named or list(tables)
    own = {"split", "fold"} & {name for table in used for name in table.holds}
    several = len({split_of_name(table.split) for table in named}) > 1
    by_column = bool({"split", "fold"} & given.keys() or (own and not several))
    if not named and not by_column:
        names = f"its splits are called {[table.split for table in tables]}" if tables[0].split else "it has no splits"
        raise DataError(f"Task {task!r}: {names}, and it has no column split or fold. {NAMED}.")
    left = [table.split for table in tables if table not in used]
    notes = [f"splits that are not used: {', '.join(left)}"] if left else []
    notes += [f"column {name} is not used, as there are named splits" for name in sorted(own) if not by_column]
    return used, by_column, notes


def _roles(tables: Sequence[Table], spec: TaskSpec, task: str, *, by_column: bool) -> dict[str, str]:
    """For each column of a manifest, the one here that stands for it; of the audio, the only one that was read."""
    holds = {name: kind for table in tables for name, kind in table.holds.items()}
    likely = {name: "label" for name, kind in holds.items() if kind == "label"}
    likely |= {name: role for name, role in USUAL.items() if holds.get(name) in ("text", "list")}
    usable = [name for name, kind in holds.items() if kind != "other"]
    chosen = roles(usable, spec.columns, likely, task=spec.text, path=task)
    chosen["audio"] = dict(spec.columns).get("audio") or next(name for name, kind in holds.items() if kind == "audio")
    return {role: column for role, column in chosen.items() if by_column or role not in ("split", "fold")}


def _rows(
    table: Table, chosen: Mapping[str, str], task: str, places: Sequence[Path], *, by_column: bool
) -> Iterator[Row]:
    """The rows as a manifest would have them: each with an id and a group, its audio an absolute path."""
    said = None if by_column else split_of_name(table.split)
    for number, values in enumerate(table.rows):
        item = f"{table.split}/{number}" if table.split else str(number)
        found = renamed(values, chosen)
        audio = found["audio"]
        own = {
            "id": item,
            "group": _group(audio, places) if audio else item,
            "audio": audio or f"{item} (without audio)",
        }
        row = row_of(f"Task {task!r}", f"row {number} of {table.split!r}", found)
        yield placed(replace(row, cells=own | dict(row.cells)), said, named=NAMED)


def _group(audio: str, places: Sequence[Path]) -> str:
    """A clip's path without the folder that it was found in, so that it does not depend on the machine."""
    place = next((place for place in places if Path(audio).is_relative_to(place)), None)
    return audio if place is None else Path(audio).relative_to(place).as_posix()
