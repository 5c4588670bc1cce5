"""Shards of webdataset: tars of audio with a JSON beside each, unpacked once into a cache, without trusting them.

A shard's folder in the cache is called by the sha256 of its bytes, and a file in it by the number of its member: no
name that stands in a tar becomes a path. What leads out of the tar, links, devices and pipes are refused.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import secrets
import shutil
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path, PurePosixPath
from typing import IO, Any

from palprobe.errors import DataError, PalprobeError
from palprobe.files import READ_BLOCK_BYTES, canonical_json, indexed_sha256, read_json, write_json
from palprobe.tasks.layout import AUDIO_SUFFIXES

TEXT_SUFFIXES = (".txt", ".cls")  # kept as they are, beside the JSON
MOST_MEMBERS = 1_000_000
LARGEST_AUDIO, LARGEST_JSON, LARGEST_SHARD = 1 << 30, 1 << 20, 1 << 38  # bytes of a member, and of all that is written
GZIP = b"\x1f\x8b"
END = bytes(tarfile.BLOCKSIZE)  # the header that a tar which is whole has after its last member
INDEX, HASHES = "samples.json", "shards.jsonl"
DAMAGED = (tarfile.TarError, EOFError, OSError, zlib.error, ValueError)  # all that a cut or altered tar raises


@dataclass(frozen=True)
class Sample:
    """The members of one name: audio, and what the JSON beside it says."""

    key: str  # path in the shard without its suffix
    audio: Path | None  # in the cache
    content: Mapping[str, Any] | None  # None: there is no JSON object
    others: tuple[str, ...]  # suffixes of what else has that name
    texts: Mapping[str, str] = field(default_factory=dict)  # of `TEXT_SUFFIXES`, what is UTF-8


@dataclass(frozen=True)
class Shard:
    """A shard that was unpacked."""

    path: Path
    sha256: str  # of its bytes
    samples: tuple[Sample, ...]  # in the order of their first members


def open_shard(path: Path, cache: Path) -> Shard:
    """A .tar or .tar.gz, unpacked into the cache unless it is there, every file with its size.

    Args:
        path: of the shard.
        cache: folder of unpacked shards; may be deleted at any time, and is filled again.

    Raises:
        DataError: the shard is cut short or damaged, larger than the bounds above, or holds what is refused.
    """
    try:
        sha = indexed_sha256(path, cache / HASHES)
    except OSError as error:
        raise DataError(f"Shard {str(path)!r} cannot be read ({error.strerror}).") from error
    folder = cache / sha
    rows = _rows(folder)
    if rows is None:
        _unpack(path, folder)
        rows = _rows(folder)
        assert rows is not None  # noqa: S101 - has just been written
    samples = tuple(
        Sample(
            key=row["key"],
            audio=None if row["audio"] is None else folder / row["audio"],
            content=row["json"],
            others=tuple(row["others"]),
            texts=row["texts"],
        )
        for row in rows
    )
    return Shard(path, sha, samples)


def short_names(paths: Sequence[Path]) -> list[str]:
    """The names of shards without their suffix, after as many folders as it takes to tell them apart."""
    for depth in count(1):
        names = ["/".join(path.absolute().parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return [name.removesuffix(".gz").removesuffix(".tgz").removesuffix(".tar") for name in names]


def _rows(folder: Path) -> list[dict[str, Any]] | None:
    """The index of an unpacked shard; None unless all of its files are there."""
    try:
        rows: list[dict[str, Any]] = read_json(folder / INDEX)["samples"]
        whole = all(
            "texts" in row and (row["audio"] is None or (folder / row["audio"]).stat().st_size == row["size"])
            for row in rows
        )
    except (OSError, PalprobeError, KeyError, TypeError):
        return None
    return rows if whole else None


def _unpack(path: Path, folder: Path) -> None:
    """The folder appears whole, or not at all; of two processes that unpack at once, one is enough."""
    work = folder.with_name(f"{folder.name}.tmp.{secrets.token_hex(4)}.{os.getpid()}")
    try:
        work.mkdir(parents=True)
        write_json(work / INDEX, {"samples": _Writer(path, work).samples()})
        if _rows(folder) is None:  # nobody was faster
            shutil.rmtree(folder, ignore_errors=True)  # what is there lacks files
            work.replace(folder)
    except OSError as error:
        if _rows(folder) is None:
            raise DataError(f"Shard {str(path)!r} cannot be unpacked to {folder}: {error.strerror}.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Writer:
    """Unpacks one shard into a folder."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path, self._folder = path, folder
        self._rows: dict[str, dict[str, Any]] = {}
        self._members, self._written = 0, 0

    def samples(self) -> list[dict[str, Any]]:
        for_each_member(self._path, self._take)
        return list(self._rows.values())

    def _take(self, member: tarfile.TarInfo, stream: IO[bytes]) -> None:
        name = PurePosixPath(member.name)
        if name.name.startswith("."):  # what macOS leaves in tars
            return
        self._members += 1
        suffix = name.suffix.lower()
        key = str(name).removesuffix(name.suffix)
        empty: dict[str, Any] = {"key": key, "audio": None, "size": 0, "json": None, "others": [], "texts": {}}
        row = self._rows.setdefault(key, empty)
        self._check_size(member, LARGEST_JSON if suffix == ".json" else LARGEST_AUDIO)
        if suffix == ".json" and row["json"] is None and (found := _object(stream.read())) is not None:
            row["json"] = found
        elif suffix in AUDIO_SUFFIXES and row["audio"] is None:
            file = f"{self._members:07d}{suffix}"
            row |= {"audio": file, "size": member.size}
            self._keep(stream.read(), self._folder / file)
        else:
            row["others"].append(suffix)
            if suffix in TEXT_SUFFIXES and member.size <= LARGEST_JSON:
                with contextlib.suppress(UnicodeDecodeError):
                    row["texts"].setdefault(suffix, stream.read().decode("utf-8-sig"))

    def _keep(self, content: bytes, path: Path) -> None:
        try:
            path.write_bytes(content)
        except OSError as error:  # no fault of the shard
            raise DataError(f"Cannot unpack {str(self._path)!r} to {path}: {error.strerror}.") from error

    def _check_size(self, member: tarfile.TarInfo, most: int) -> None:
        self._written += member.size
        if member.size > most or self._written > LARGEST_SHARD or self._members > MOST_MEMBERS:
            raise DataError(
                f"Shard {str(self._path)!r}: member {member.name!r} of {member.size} bytes passes a bound: {most} "
                f"bytes of such a member, {LARGEST_SHARD} of a shard, {MOST_MEMBERS} members. Make smaller shards."
            )


def for_each_member(path: Path, take: Callable[[tarfile.TarInfo, IO[bytes]], None]) -> None:
    """Shows every file of a shard in order, each with its open stream, once it is known to be a plain file.

    Raises:
        DataError: with the shard and how many members were read, if it is cut short or damaged; with the member, if it
            leads out of the shard or is no plain file.
    """
    count = 0
    try:
        with _decompressed(path) as stream:
            watched = _LastRead(stream)
            with tarfile.TarFile(fileobj=watched, encoding="utf-8") as tar:  # type: ignore[arg-type]
                for member in tar:
                    _check(path, member)
                    if found := tar.extractfile(member):  # else a folder
                        take(member, found)
                    count += 1
            if watched.last != END:  # tarfile takes any end, and any damaged header, for the end
                raise EOFError("it has no end mark")
            while stream.read(READ_BLOCK_BYTES):  # to the checksum of gzip
                pass
    except DAMAGED as error:
        raise DataError(
            f"Shard {str(path)!r} is cut short or damaged after {count} members ({' '.join(str(error).split())}). "
            "Fetch it again."
        ) from error


def _decompressed(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        zipped = file.read(len(GZIP)) == GZIP
    return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]


class _LastRead:
    """A file that remembers what was read last."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.last = file, b""
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        self.last = self._file.read(size)
        return self.last


def _check(path: Path, member: tarfile.TarInfo) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        found = "leads out of the shard"
    elif not (member.isreg() or member.isdir()):
        found = "is a link, a device or a pipe, not a file"
    elif any("\ud800" <= letter <= "\udfff" for letter in member.name):
        found = "has a name that is not UTF-8"
    else:
        return
    raise DataError(f"Shard {str(path)!r}: member {member.name!r} {found}. Nothing of it is used; make the shard anew.")


def _object(content: bytes) -> dict[str, Any] | None:
    """A JSON object of values that JSON can hold; None for anything else."""
    try:
        found = json.loads(content)
        canonical_json(found).encode()  # no NaN, no half of a character
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
