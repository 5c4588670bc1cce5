"""The shard file: features of several clips in one safetensors file that any safetensors library opens.

    8 bytes          length of the header, little endian
    header           JSON: where each tensor lies, and `__metadata__`; filled with spaces to a multiple of 8
    offsets I64      [n + 1]  rows of `feats` at which each clip begins and the last one ends
    crc32   U32      [n]      of each clip's bytes in `feats`; safetensors itself notices no flipped bit
    feats   F16|F32  [sum T, D]

`__metadata__` holds `fp` (the store's fingerprint), `schema`, and JSON lists in parallel with the clips: `keys`, `ids`,
`audio_sha`, `sec`, `padded`. Reading is by `preadv` into the final tensors: a memory map is three times slower on
a cold disk and pins the store in memory, and `safe_open(..., backend="pread")` reads the whole tensor for a slice.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from palprobe.errors import StoreError
from palprobe.files import write_atomically

SCHEMA = 1
LENGTH_BYTES = 8  # of the number before the header
MAX_HEADER_BYTES = 100_000_000  # what the safetensors library accepts
MAX_BUFFERS = 1024  # IOV_MAX: as many buffers as one preadv call takes
FEATURE_TYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
LISTS = ("keys", "ids", "audio_sha", "sec", "padded")
OFFSET_TYPE, CRC_TYPE = np.dtype("<i8"), np.dtype("<u4")


@dataclass(frozen=True, eq=False)
class Item:
    """The features of one clip, on their way to the disk."""

    key: str
    id: str  # of the first example that asks about this clip
    audio_sha: str
    seconds: float
    padded: bool
    values: np.ndarray  # (T, D) float16 or float32, C order


@dataclass(frozen=True, eq=False)
class Shard:
    """A shard's header and row table; the features stay on disk."""

    path: Path
    fingerprint: str
    keys: tuple[str, ...]
    ids: tuple[str, ...]
    audio_sha: tuple[str, ...]
    seconds: tuple[float, ...]
    padded: tuple[bool, ...]
    offsets: np.ndarray  # (n + 1,) rows of feats
    crc32: np.ndarray  # (n,)
    dtype: np.dtype[Any]
    dim: int  # D
    start: int  # of feats in the file, bytes

    def span(self, row: int) -> tuple[int, int]:
        """First byte of a clip's features in the file, and the first byte after them."""
        row_bytes = self.dim * self.dtype.itemsize
        return self.start + int(self.offsets[row]) * row_bytes, self.start + int(self.offsets[row + 1]) * row_bytes

    def num_tokens(self, row: int) -> int:
        return int(self.offsets[row + 1] - self.offsets[row])

    def check(self, row: int, content: memoryview) -> None:
        """Raises StoreError unless the bytes of a clip are those that were written."""
        if zlib.crc32(content) != int(self.crc32[row]):
            raise _damaged(self.path, f"the features of {self.ids[row]} ({self.keys[row]}) fail their checksum")


def write_shard(path: Path, items: Sequence[Item], *, fingerprint: str) -> None:
    """The items as one file, whole or absent; their arrays go to the disk one by one, never joined in memory.

    Args:
        path: the final name.
        items: at least one, all with the same D and dtype.
        fingerprint: of the store that the shard belongs to.
    """
    buffers = [as_bytes(item.values) for item in items]
    offsets = np.cumsum([0, *(len(item.values) for item in items)], dtype=OFFSET_TYPE)
    crc32 = np.array([zlib.crc32(buffer) for buffer in buffers], dtype=CRC_TYPE)
    header = _header(items, num_rows=int(offsets[-1]), fingerprint=fingerprint)

    def write(file: IO[bytes]) -> None:
        file.write(len(header).to_bytes(LENGTH_BYTES, "little") + header + offsets.tobytes() + crc32.tobytes())
        for buffer in buffers:
            file.write(buffer)

    write_atomically(path, write)


def _header(items: Sequence[Item], *, num_rows: int, fingerprint: str) -> bytes:
    dim, dtype = items[0].values.shape[1], items[0].values.dtype
    names = {value: name for name, value in FEATURE_TYPES.items()}
    header: dict[str, Any] = {
        "__metadata__": {
            "fp": fingerprint,
            "schema": str(SCHEMA),
            "keys": json.dumps([item.key for item in items]),
            "ids": json.dumps([item.id for item in items]),
            "audio_sha": json.dumps([item.audio_sha for item in items]),
            "sec": json.dumps([item.seconds for item in items]),
            "padded": json.dumps([item.padded for item in items]),
        }
    }
    end = 0
    for name, kind, shape, itemsize in (
        ("offsets", "I64", [len(items) + 1], OFFSET_TYPE.itemsize),
        ("crc32", "U32", [len(items)], CRC_TYPE.itemsize),
        ("feats", names[dtype], [num_rows, dim], dtype.itemsize),
    ):
        begin, end = end, end + int(np.prod(shape)) * itemsize
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def read_shard(path: Path) -> Shard:
    """The header and row table of a shard; a file that is cut, or longer than its header says, is refused.

    Raises:
        StoreError: the file is damaged; the message names it and what to do.
    """
    with path.open("rb") as file:
        header, start = _read_header(path, file)
        try:
            return _parse(path, header, file, start=start)
        except (KeyError, TypeError, ValueError) as error:  # all that a header with other contents can cause
            raise _damaged(path, f"its header is not that of a feature shard ({error!r})") from error


def _read_header(path: Path, file: IO[bytes]) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if not 0 < length <= MAX_HEADER_BYTES:
        raise _damaged(path, "it does not begin with a header")
    content = file.read(length)
    if len(content) < length:
        raise _damaged(path, "its header is cut")
    try:
        header = json.loads(content)
    except ValueError as error:  # bad JSON and bad UTF-8
        raise _damaged(path, "its header is not JSON") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not a JSON object")
    return header, LENGTH_BYTES + length


def _parse(path: Path, header: dict[str, Any], file: IO[bytes], *, start: int) -> Shard:
    metadata = header["__metadata__"]
    if metadata["schema"] != str(SCHEMA):
        raise StoreError(f"{path} has shard format {metadata['schema']}, this version reads {SCHEMA}. Extract again.")
    lists = {name: tuple(json.loads(metadata[name])) for name in LISTS}
    count = len(lists["keys"])
    num_rows, dim = header["feats"]["shape"]
    dtype = FEATURE_TYPES[header["feats"]["dtype"]]
    end = 0
    for name, num_bytes in (
        ("offsets", (count + 1) * OFFSET_TYPE.itemsize),
        ("crc32", count * CRC_TYPE.itemsize),
        ("feats", num_rows * dim * dtype.itemsize),
    ):
        begin, end = end, end + num_bytes
        if header[name]["data_offsets"] != [begin, end]:
            raise ValueError(f"{name} at {header[name]['data_offsets']}, not {[begin, end]}")
    size = os.fstat(file.fileno()).st_size
    if size != start + end:
        raise _damaged(path, f"{size} bytes, where its header covers {start + end}")
    offsets = np.frombuffer(file.read((count + 1) * OFFSET_TYPE.itemsize), OFFSET_TYPE)
    crc32 = np.frombuffer(file.read(count * CRC_TYPE.itemsize), CRC_TYPE)
    if offsets[0] != 0 or offsets[-1] != num_rows or (np.diff(offsets) < 0).any():
        raise ValueError("offsets out of order")
    if any(len(values) != count for values in lists.values()):
        raise ValueError("lists of different lengths")
    return Shard(
        path=path,
        fingerprint=metadata["fp"],
        keys=lists["keys"],
        ids=lists["ids"],
        audio_sha=lists["audio_sha"],
        seconds=lists["sec"],
        padded=lists["padded"],
        offsets=offsets,
        crc32=crc32,
        dtype=dtype,
        dim=dim,
        start=size - num_rows * dim * dtype.itemsize,
    )


def as_bytes(values: np.ndarray) -> memoryview:
    """The memory of a C-ordered array, empty ones too, which `memoryview.cast` refuses."""
    return values.reshape(-1).view(np.uint8).data


def read_into(handle: int, buffers: Sequence[memoryview], offset: int, *, path: Path) -> None:
    """Fills the buffers, one after another, from one stretch of an open file; safe in threads and after a fork.

    Args:
        handle: file descriptor; its own position is neither used nor moved.
        buffers: writable bytes; all are filled.
        offset: of the stretch in the file, bytes.
        path: named when the file ends too soon.
    """
    waiting = [buffer for buffer in reversed(buffers) if len(buffer)]  # the next one is the last
    while waiting:
        count = _preadv(handle, waiting[: -MAX_BUFFERS - 1 : -1], offset)
        if count == 0:
            raise _damaged(path, "it ends before its last feature")
        offset += count
        while waiting and count >= len(waiting[-1]):
            count -= len(waiting.pop())
        if count:
            waiting[-1] = waiting[-1][count:]


def _preadv(handle: int, buffers: Sequence[memoryview], offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(handle, buffers, offset)
    content = os.pread(handle, len(buffers[0]), offset)  # macOS has no preadv
    buffers[0][: len(content)] = content
    return len(content)


def _damaged(path: Path, why: str) -> StoreError:
    return StoreError(f"{path} is damaged: {why}. Delete it and run the same extract command: its clips are redone.")
