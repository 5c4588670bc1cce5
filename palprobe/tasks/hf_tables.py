"""The tables of a Hugging Face data set as plain values, their audio as files: read once, kept beside the features."""

from __future__ import annotations

import hashlib
import math
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from palprobe.errors import DataError, PalprobeError
from palprobe.files import digest, read_json, write_json
from palprobe.tasks.hf_library import Column, Source, files_below, open_sources
from palprobe.tasks.layout import AUDIO_SUFFIXES, listed_file

VERSION = 1  # of what is kept in the cache
CLIPS = "clips"  # folder of the audio that stood in tables, in the cache


@dataclass(frozen=True)
class Table:
    """The rows of one split."""

    split: str  # as published: train.clean.100; empty if it has none
    holds: Mapping[str, str]  # column → audio, label, text, number, list or other
    rows: tuple[Mapping[str, Any], ...]  # texts, numbers, lists of them; of audio the path; nothing of other columns


def read_tables(folder: Path, *, audio: str | None, cache: Path, task: str) -> list[Table]:
    """The tables of a folder, one a split; the audio of the chosen column is in the cache afterwards.

    Args:
        folder: which `has_tables`.
        audio: column of the audio; None: the only one there is.
        cache: keeps the audio and, as long as no file of the folder changes, all else.
        task: as it was named, for messages.

    Raises:
        DataError: as `open_sources`; no column, or several, hold audio; or a class label has no name.
    """
    files = [(path.relative_to(folder).as_posix(), path.stat()) for path in files_below(folder)]
    states = [[name, status.st_size, status.st_mtime_ns] for name, status in files]
    index = cache / f"{digest([VERSION, str(folder.absolute()), audio, states])}.json"
    tables = _kept(index, cache / CLIPS)
    if tables is None:
        clips = _Clips(folder, cache / CLIPS)
        tables = [_table(source, clips, audio, task) for source in open_sources(folder, task=task)]
        write_json(index, {"tables": [asdict(table) for table in tables], "sizes": clips.sizes})
    return tables


def _kept(index: Path, clips: Path) -> list[Table] | None:
    """What was read before; None unless all of its audio is there."""
    try:
        found = read_json(index)
        whole = all((clips / name).stat().st_size == size for name, size in found["sizes"].items())
        tables = [Table(one["split"], one["holds"], tuple(one["rows"])) for one in found["tables"]]
    except (OSError, PalprobeError, KeyError, TypeError):
        return None
    return tables if whole else None


def _table(source: Source, clips: _Clips, audio: str | None, task: str) -> Table:
    columns = source.columns
    heard = _audio_column(columns, audio, task)
    read = [name for name, column in columns.items() if column.holds not in ("audio", "other") or name == heard]
    rows = []
    for number, values in enumerate(source.rows(read)):
        where = f"Task {task!r}, row {number} of {source.split!r}"
        row = {name: _plain(values[name], columns[name].names, f"{where}, {name}") for name in read if name != heard}
        rows.append(row | {heard: clips.path_of(values[heard])})
    return Table(source.split, {name: column.holds for name, column in columns.items()}, tuple(rows))


def _audio_column(columns: Mapping[str, Column], audio: str | None, task: str) -> str:
    found = [name for name, column in columns.items() if column.holds == "audio"]
    holds = ", ".join(f"{name} ({column.holds})" for name, column in columns.items())
    if audio is not None and audio not in found:
        raise DataError(f"Task {task!r}: no column {audio!r} with audio. Its columns: {holds}.")
    if not found:
        raise DataError(f"Task {task!r}: no column holds audio. Its columns: {holds}. A table of paths is a manifest.")
    if audio is None and len(found) > 1:
        raise DataError(f"Task {task!r}: {' and '.join(found)} hold audio. Say which: {task}:audio={found[0]}.")
    return audio or found[0]


def _plain(value: Any, names: tuple[str, ...], where: str) -> Any:
    """A value that JSON can hold; a class label by its name, and None where there is none."""
    if isinstance(value, list):
        return [_plain(one, names, where) for one in value]
    if names and isinstance(value, int):
        if value >= len(names):
            raise DataError(f"{where}: class label {value}, but only {len(names)} have names. Save the data set anew.")
        return names[value] if value >= 0 else None  # -1: not known
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


class _Clips:
    """The audio of a data set, each clip in a file that is called by the sha256 of its bytes."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self._folder, self._cache = folder, cache
        self.sizes: dict[str, int] = {}  # name → bytes of what is in the cache

    def path_of(self, value: Any) -> str | None:
        """Where the audio of a cell is: in the cache, if its bytes stand there, else where it says."""
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (None, value)
        if isinstance(path, bytes):
            content, path = path, None
        if content:
            return self._keep(content, PurePosixPath(path or "").suffix.lower())
        if not path:
            return None
        return path if Path(path).is_absolute() else str(listed_file(self._folder, path).absolute())

    def _keep(self, content: bytes, suffix: str) -> str:
        name = hashlib.sha256(content).hexdigest() + (suffix if suffix in AUDIO_SUFFIXES else "")
        path = self._cache / name
        try:
            if not (path.is_file() and path.stat().st_size == len(content)):
                path.parent.mkdir(parents=True, exist_ok=True)
                work = path.with_name(f"{name}.tmp.{secrets.token_hex(4)}.{os.getpid()}")
                work.write_bytes(content)
                work.replace(path)
        except OSError as error:
            raise DataError(
                f"Cannot write audio to {path}: {error.strerror}. Free some space, and run again."
            ) from error
        self.sizes[name] = len(content)
        return str(path.absolute())
