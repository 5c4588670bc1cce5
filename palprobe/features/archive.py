"""Archives of features that other tools left: .npy files in a folder or in tars, read without trusting them.

Nothing is unpacked to the disk, nothing is unpickled, and no header is believed before the file's size confirms it.
"""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from palprobe.encoders.foreign.imported import SUFFIXES, TARS, archive_files
from palprobe.errors import DataError
from palprobe.specs import EncoderSpec

MAGIC = b"\x93NUMPY"
HEADER = re.compile(rb"\{'descr': '([^']*)', 'fortran_order': (True|False), 'shape': \(([\d, ]{0,100})\), \} *\n?")
FLOATS = re.compile(r"[<>=|]f[248]")
MAX_HEADER_BYTES = 10_000
MAX_ARRAY_BYTES = 1 << 30  # of one clip: almost two hours at 50 Hz of 768 float32 numbers
MAX_TIMESTAMPS_BYTES = 1 << 26
MARK, TIMESTAMPS = ".embedding.npy", ".timestamps.json"
DAMAGED = (tarfile.TarError, EOFError, OSError, zlib.error, LZMAError)  # all that a cut or altered tar raises


@dataclass(frozen=True, eq=False)
class Member:
    """A file of an archive, while it is open."""

    place: str  # where it is, for messages; one name for one file
    name: str  # without folders
    size: int  # bytes
    stream: IO[bytes]

    def read(self, size: int) -> bytes:
        """Up to that many bytes more; raises DataError where the archive ends or is damaged."""
        try:
            return self.stream.read(size)
        except DAMAGED as error:
            raise DataError(f"{self.place} cannot be read ({error}). Fetch the archive again.") from error


@dataclass(frozen=True)
class ArrayHeader:
    """What an .npy file says of itself, as far as its size confirms it."""

    place: str
    num_frames: int  # T
    dim: int  # D
    dtype: str
    order: str  # "C" or "F"


@dataclass(frozen=True, eq=False)
class Contents:
    """The embeddings of an archive by the name that they have: a clip's file name, with or without its suffix."""

    embeddings: dict[str, list[ArrayHeader | DataError]]  # an error instead of what cannot be used
    timestamps: dict[str, np.ndarray]  # (T,) ms


def members(spec: EncoderSpec) -> Iterator[Member]:
    """The .npy and .timestamps.json files of the archive that a spec names, in order; each is open until the next.

    Raises:
        WeightsError: there is no such archive.
        DataError: a tar is damaged, or holds a link in the place of a file.
    """
    for path in archive_files(spec):
        if path.name.endswith(TARS):
            yield from _tar_members(path)
        else:
            with path.open("rb") as stream:
                yield Member(str(path), path.name, path.stat().st_size, stream)


def _tar_members(path: Path) -> Iterator[Member]:
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                place = f"{path}: {member.name!r}"
                if not member.name.endswith(SUFFIXES[:2]):
                    continue
                stream = tar.extractfile(member) if member.isreg() else None
                if stream is None:
                    raise DataError(f"{place} is a link, a folder or a device; expected a file.")
                yield Member(place, PurePosixPath(member.name).name, member.size, stream)
    except DAMAGED as error:
        reason = str(error).partition(":\n")[0]  # what follows is a line for each compression that was tried
        raise DataError(f"{path} is no tar, or is damaged ({reason}). Fetch it again.") from error


def contents(spec: EncoderSpec) -> Contents:
    """What an archive holds, from the headers of its files.

    Files called `<clip>.embedding.npy` are the embeddings (as HEAR writes them); without any, every .npy is one (as in
    the tars of X-ARES).

    Raises:
        as `members`; also DataError for timestamps that are no list of numbers.
    """
    marked: dict[str, list[ArrayHeader | DataError]] = {}
    plain: dict[str, list[ArrayHeader | DataError]] = {}
    timestamps: dict[str, np.ndarray] = {}
    for member in members(spec):
        if member.name.endswith(TIMESTAMPS):
            timestamps[member.name.removesuffix(TIMESTAMPS)] = _read_timestamps(member)
        elif member.name.endswith(MARK):
            marked.setdefault(member.name.removesuffix(MARK), []).append(_header_or_error(member))
        else:
            plain.setdefault(member.name.removesuffix(".npy"), []).append(_header_or_error(member))
    return Contents(marked or plain, timestamps)


def _header_or_error(member: Member) -> ArrayHeader | DataError:
    try:
        return read_header(member)
    except DataError as error:  # it matters only if a clip has that name
        return error


def read_header(member: Member) -> ArrayHeader:
    """The header of an .npy file; `read_values` reads the rest.

    Raises:
        DataError: it is not a (T, D) array of floats, is too large, or has another size than its header says.
    """
    if member.size > MAX_ARRAY_BYTES:
        raise DataError(f"{member.place} has {member.size} bytes; expected at most {MAX_ARRAY_BYTES} for one clip.")
    start = member.read(len(MAGIC) + 2)
    width = {1: 2, 2: 4}.get(start[-2] if start.startswith(MAGIC) and len(start) == len(MAGIC) + 2 else 0)
    length = int.from_bytes(member.read(width), "little") if width else 0
    found = HEADER.fullmatch(member.read(length)) if 0 < length <= MAX_HEADER_BYTES else None
    if width is None or found is None:
        raise DataError(f"{member.place} is no .npy file of a plain array; nothing else is read, pickles least of all.")
    dtype, shape = found[1].decode("latin-1"), [int(size) for size in found[3].split(b",") if size.strip()]
    if len(shape) != 2 or not min(shape) or not FLOATS.fullmatch(dtype):
        hint = " Scene embeddings have no time steps." if len(shape) == 1 else ""
        raise DataError(f"{member.place} holds {dtype!r} of shape {tuple(shape)}; expected floats (T, D).{hint}")
    expected = len(start) + width + length + shape[0] * shape[1] * np.dtype(dtype).itemsize
    if member.size != expected:
        raise DataError(f"{member.place} has {member.size} bytes; its header promises {expected}.")
    return ArrayHeader(member.place, shape[0], shape[1], dtype, "F" if found[2] == b"True" else "C")


def read_values(member: Member, header: ArrayHeader) -> np.ndarray:
    """(T, D) float32 numbers of an .npy file, after its header.

    Raises:
        DataError: the file ends too soon, or a number is not finite.
    """
    size = header.num_frames * header.dim * np.dtype(header.dtype).itemsize
    content = member.read(size)
    if len(content) < size:
        raise DataError(f"{member.place} ends after {len(content)} of {size} bytes. Fetch the archive again.")
    values = np.frombuffer(content, header.dtype)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise DataError(f"{member.place} holds {bad} non-finite of {values.size} numbers. Compute it again.")
    shape = (header.num_frames, header.dim)
    return values.reshape(shape, order="F" if header.order == "F" else "C").astype(np.float32)


def _read_timestamps(member: Member) -> np.ndarray:
    if member.size <= MAX_TIMESTAMPS_BYTES:
        try:
            values = np.asarray(json.loads(member.read(member.size)), dtype=np.float64)
        except (ValueError, TypeError, RecursionError):  # no JSON; ragged lists or text in it; very deep lists
            values = np.zeros(0)
        if values.ndim == 1 and values.size:
            return values
    raise DataError(f"{member.place} is no JSON list of milliseconds.")
