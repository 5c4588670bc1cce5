"""`wds:SHARDS`: tar shards of webdataset as a task; the members of one name are a clip and its answer.

The JSON beside a clip has the columns of a manifest. Where it has no answer, the text of `.cls` is the label, or that
of `.txt` a caption; `:transcript=txt` behind the shards says that it is what is spoken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from palprobe.errors import DataError, UsageError
from palprobe.specs import TaskSpec
from palprobe.tasks.columns import placed, renamed, roles, split_of_name
from palprobe.tasks.layout import AUDIO_SUFFIXES
from palprobe.tasks.patterns import BRACES, WILD, find_shards
from palprobe.tasks.rows import Row, row_of, task_of_rows
from palprobe.tasks.shards import Sample, Shard, open_shard, short_names
from palprobe.types import TaskData

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")
MEMBERS = {".txt": "txt", ".cls": "cls"}  # suffix → what its text is called among the columns
ANSWERS = {"cls": "label", "txt": "captions"}  # what they are, where the JSON has no answer
NAMED = "Name shards or their folders train, validation (valid, dev) or test (eval), or put split or fold into the JSON"
ADVICE = f"Give each sample audio ({', '.join(AUDIO_SUFFIXES)})"
KEY_DIGITS = 12  # of a shard's sha256, in the name of a group
CITATION = "of tar shards; the licence is their publisher's"


def load_webdataset(spec: TaskSpec, *, cache: Path, allow_missing: bool = False) -> TaskData:
    """Reads shards; they are unpacked into the cache, once.

    Args:
        spec: its path is a folder, below which every tar is read, a file, or a pattern with braces or wildcards.
        cache: of unpacked shards.
        allow_missing: count the samples without audio instead of refusing them.

    Raises:
        UsageError: an address, or a column that is not there.
        DataError: nothing has that name, a shard cannot be used, or a sample is no question; it is named.
    """
    path = spec.path or ""
    if "://" in path:
        raise UsageError(f"Task {spec.text!r} is an address. Fetch its shards, then name the files: wds:FOLDER.")
    if "audio" in dict(spec.columns):
        raise UsageError(f"Task {spec.text!r}: the audio of a shard is a file in it, no column. Leave :audio= out.")
    shards = [open_shard(one, cache) for one in _shard_paths(path, spec.text)]
    values = {(shard.path, sample.key): _values(shard, sample) for shard in shards for sample in shard.samples}
    if not values:
        raise DataError(f"Task {spec.text!r}: its shards hold no sample.")
    columns = {name for one in values.values() for name in one}
    chosen = roles(columns, spec.columns, ANSWERS, task=spec.text, path=f"wds:{path}")
    name = "".join([f"wds:{_name(path)}", *(f":{role}={column}" for role, column in spec.columns)])
    rows = [
        _row(shard, short, sample, renamed(values[shard.path, sample.key], chosen))
        for shard, short in zip(shards, short_names([shard.path for shard in shards]), strict=True)
        for sample in shard.samples
    ]
    data = task_of_rows(name, name, rows, base=Path.cwd(), advice=ADVICE, allow_missing=allow_missing)
    return replace(data, citation=CITATION)


def _name(path: str) -> str:
    """Of a file or folder its name; of a pattern all from the folder above its first wildcard."""
    parts = Path(path).parts or (".",)
    first = next((number for number, part in enumerate(parts) if WILD.search(part) or BRACES.search(part)), len(parts))
    return "/".join(parts[max(first - 1, 0) :])


def _shard_paths(path: str, task: str) -> list[Path]:
    folder = Path(path).expanduser() if path.startswith("~/") else Path(path)
    if not folder.is_dir():
        return find_shards([path], [Path.cwd()], repo=None, where=f"Task {task!r}")
    found = sorted(file for file in folder.rglob("*") if file.name.endswith(SHARD_SUFFIXES) and file.is_file())
    if not found:
        raise DataError(f"Task {task!r}: no {' or '.join(SHARD_SUFFIXES)} below {str(folder)!r}.")
    return found


def _values(shard: Shard, sample: Sample) -> dict[str, Any]:
    """The columns of a sample, the texts beside its JSON among them."""
    where = f"Shard {str(shard.path)!r}, sample {sample.key!r}"
    more = [suffix for suffix in sample.others if suffix in AUDIO_SUFFIXES]
    if sample.audio is not None and more:
        raise DataError(f"{where}: two audio files, {sample.audio.suffix} and {more[0]}. Give each a name of its own.")
    if sample.content is None and ".json" in sample.others:
        raise DataError(f"{where}: its .json is no JSON object. Write one, with the columns of a manifest.")
    unread = next((suffix for suffix in MEMBERS if suffix in sample.others and suffix not in sample.texts), None)
    if unread is not None:
        raise DataError(f"{where}: its {unread} is no text in UTF-8, or too long. Write it anew.")
    return {MEMBERS[suffix]: text for suffix, text in sample.texts.items()} | {**(sample.content or {})}


def _row(shard: Shard, short: str, sample: Sample, values: Mapping[str, Any]) -> Row:
    """A row as a manifest would have it; id and group are the sample's own name, unless it has others."""
    item = f"{short}/{sample.key}"
    own = {
        "id": item,
        "group": f"{shard.sha256[:KEY_DIGITS]}/{sample.key}",
        "audio": str(sample.audio.absolute()) if sample.audio else f"{item} (without audio)",
    }
    row = row_of(f"Shard {str(shard.path)!r}", f"sample {sample.key!r}", {**values, "audio": own["audio"]})
    said = split_of_name(short.rpartition("/")[2]) or split_of_name(shard.path.absolute().parent.name)
    return placed(replace(row, cells=own | dict(row.cells)), said, named=NAMED)
