"""Clip keys: which bytes, and which stretch of them; an index saves reading the audio again to know it.

A key is `<sha256 of the file>:<first sample>-<end sample, or "end">`, in samples at the file's own rate: many questions
on one clip share one key, and so do copies of a file. `clips.jsonl` remembers sha256, rate and length of each file by
path, size and time of change, so training needs neither audio nor hashing, nor even the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from palprobe.audio import AudioInfo, probe, segment_bounds
from palprobe.errors import AudioError, DataError
from palprobe.files import append_line, read_lines, sha256_of
from palprobe.types import Example

Progress = Callable[[int, int], None]  # (done, total)

INDEX_NAME = "clips.jsonl"
HASHERS = 4
SHOWN = 3  # examples of what is wrong, in a message


@dataclass(frozen=True)
class FileRow:
    """A line of the index: a file as it was when it was last read."""

    path: str  # absolute
    size: int  # bytes
    mtime_ns: int
    sha256: str
    sample_rate: int | None  # Hz; None: not decodable
    frames: int | None

    @property
    def info(self) -> AudioInfo | None:
        """Rate and length, if the file could be decoded."""
        return None if self.sample_rate is None or self.frames is None else AudioInfo(self.sample_rate, self.frames)


class ClipIndex:
    """Keys of clips; reads a file only when it is new or has changed, and serves the last row of one that is gone."""

    def __init__(self, root: Path) -> None:
        self._path = root / INDEX_NAME
        self._rows: dict[str, FileRow] = {}
        if self._path.exists():
            self._rows = {line["path"]: FileRow(**line) for line in read_lines(self._path, skip_damaged=True)}

    def key(self, example: Example) -> str:
        """The key of one clip; see `keys`."""
        return self.keys([example])[0]

    def keys(self, examples: Sequence[Example], progress: Progress | None = None) -> list[str]:
        """The key of each example's clip, in order; files are hashed in threads.

        Args:
            examples: any number, many on one file included.
            progress: called with the files hashed and the files to hash.

        Raises:
            DataError: a file is neither there nor in the index.
        """
        self._hash(dict.fromkeys(example.audio.absolute() for example in examples), progress)
        return [self._key(example) for example in examples]

    def seconds(self, example: Example) -> float:
        """Length of the clip; 0 where the file or the stretch cannot be decoded."""
        row = self._rows[str(example.audio.absolute())]
        try:
            first, last = _bounds(example, row)
        except AudioError:
            return 0.0
        return (last - first) / row.info.sample_rate if row.info else 0.0

    def _key(self, example: Example) -> str:
        row = self._rows[str(example.audio.absolute())]
        if example.start_seconds == 0 and example.end_seconds is None:
            return f"{row.sha256}:0-end"
        try:
            first, last = _bounds(example, row)
        except AudioError:  # a name for what will be counted as dropped
            return f"{row.sha256}:{example.start_seconds}s-{example.end_seconds}s"
        return f"{row.sha256}:{first}-{'end' if example.end_seconds is None else last}"

    def _hash(self, paths: Iterable[Path], progress: Progress | None) -> None:
        new, missing = [], []
        for path in paths:
            row = self._rows.get(str(path))
            if not path.is_file():
                if row is None:
                    missing.append(str(path))
                continue
            status = path.stat()
            if row is None or (row.size, row.mtime_ns) != (status.st_size, status.st_mtime_ns):
                new.append((path, status))
        if missing:
            more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
            raise DataError(
                f"{len(missing)} audio files are not there: {', '.join(missing[:SHOWN])}{more}. "
                "Check the task's folder; features can be used without audio only where it was read before."
            )
        pool = ThreadPoolExecutor(HASHERS)
        try:
            for done, row in enumerate(pool.map(lambda file: _read_row(*file), new), start=1):
                append_line(self._path, asdict(row))
                self._rows[row.path] = row
                if progress:
                    progress(done, len(new))
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the files that are left


def _bounds(example: Example, row: FileRow) -> tuple[int, int]:
    """First sample of an example's clip and the one after its last; raises AudioError where there is none."""
    info = row.info or probe(example.audio)  # what could not be decoded then may be now (another decoder installed)
    return segment_bounds(example.audio, info, example.start_seconds, example.end_seconds)


def _read_row(path: Path, status: os.stat_result) -> FileRow:
    try:
        info: AudioInfo | None = probe(path)
    except AudioError:  # counted when the clip is decoded, with the reason
        info = None
    try:
        sha = sha256_of(path)
    except OSError as error:
        raise DataError(
            f"Audio file {path} cannot be read ({error.strerror}). Its permissions may be wrong."
        ) from error
    rate, frames = (info.sample_rate, info.frames) if info else (None, None)
    return FileRow(str(path), status.st_size, status.st_mtime_ns, sha, rate, frames)
