"""Files that are whole or absent: atomic writes, torn-proof JSON lines, digests; the one home of safetensors."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from palprobe.errors import PalprobeError

if TYPE_CHECKING:
    from torch import Tensor

DIGEST_BYTES = 16
READ_BLOCK_BYTES = 1 << 20


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """blake2b-128 of the canonical JSON, as 32 hex digits."""
    return hashlib.blake2b(canonical_json(value).encode(), digest_size=DIGEST_BYTES).hexdigest()


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, read in blocks."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BLOCK_BYTES):
            sha.update(block)
    return sha.hexdigest()


def indexed_sha256(path: Path, index: Path) -> str:
    """sha256 of a file's bytes, read once as long as size, time of change and inode stay the same.

    Args:
        path: of the file.
        index: JSON lines of what was hashed before; one that cannot be written to stops nothing.
    """
    state = _state(path)
    lines = read_lines(index, skip_damaged=True) if index.is_file() else ()
    for line in lines:
        if isinstance(line, dict) and state.items() <= line.items() and "sha256" in line:
            return str(line["sha256"])
    sha = sha256_of(path)
    if _state(path) == state:  # else somebody writes to it: what was read is of no state that lasts
        with contextlib.suppress(OSError, PalprobeError):
            append_line(index, state | {"sha256": sha})
    return sha


def _state(path: Path) -> dict[str, Any]:
    status = path.stat()
    place = {"path": str(path.absolute()), "inode": status.st_ino}
    return place | {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """The file appears whole, under its name, on disk; or it does not appear.

    Args:
        path: the final name; its folder is made.
        write: gets the open temporary file beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp.{secrets.token_hex(4)}.{os.getpid()}")  # threads and hosts differ
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # or the rename itself may be lost with the power
    finally:
        os.close(folder)


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Indented for people; NaN is refused, since other readers of JSON refuse it too."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises PalprobeError, naming the file, when it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PalprobeError(f"{path} is damaged: not JSON ({error}). Delete it and run the command again.") from error


def append_line(path: Path, value: Any) -> None:
    """One JSON line in one write to an O_APPEND file, so that lines of several writers never mix.

    Raises:
        PalprobeError: the disk took only a part of the line.
    """
    line = (json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line  # a writer was killed in its line; ours must not become a part of it
        if os.write(handle, line) < len(line):
            raise PalprobeError(f"{path}: the disk took only a part of a line. Free some space and run again.")
    finally:
        os.close(handle)


def read_lines(path: Path, *, skip_damaged: bool = False) -> Iterator[Any]:
    """The JSON lines of a file; a torn last line (a writer that was killed) is passed over.

    Args:
        path: of the file.
        skip_damaged: pass over every line that is no JSON: for records that can be made again.

    Raises:
        PalprobeError: a line before the last is no JSON.
    """
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is empty or torn
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            if skip_damaged:
                continue
            raise PalprobeError(f"{path}, line {number}: not JSON ({error}). Delete the file and run again.") from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """A safetensors file, written atomically."""
    from safetensors.torch import save

    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, dict(metadata or {}))
    write_atomically(path, lambda file: file.write(content))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, on the CPU.

    Raises:
        PalprobeError: the file is not there, is cut, or is no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(path.read_bytes())
    except FileNotFoundError as error:
        raise PalprobeError(
            f"{path} is not there, though it was written. Delete {path.parent} and train again."
        ) from error
    except SafetensorError as error:
        raise PalprobeError(f"{path} is damaged: {error}. Delete {path.parent} and train again.") from error


def load_metadata(path: Path) -> dict[str, str]:
    """What stands beside the tensors of a safetensors file, which are not read.

    Raises:
        PalprobeError: the file is cut, or is no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise PalprobeError(f"{path} is damaged: {error}. Delete it and run the command again.") from error


def differences(found: Any, expected: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, a line a field: 'layer: 6 there, last here'."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        lines: list[str] = []
        for key in sorted({*found, *expected}):
            where = f"{path}.{key}" if path else str(key)
            lines += differences(found.get(key, "(absent)"), expected.get(key, "(absent)"), where)
        return lines
    return [] if found == expected else [f"{path}: {found} there, {expected} here"]
