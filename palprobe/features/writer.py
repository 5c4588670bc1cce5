"""Writing to a feature store: clips are collected and become shards; each writer has names of its own."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import time
from errno import EDQUOT, ENOSPC
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from palprobe.errors import StoreError
from palprobe.features.shard import Item, write_shard
from palprobe.features.store import FeatureStore
from palprobe.files import append_line

FLOAT16_MAX = 65504.0
MAX_SHARD_BYTES = 256 * 1024 * 1024
FLUSH_SECONDS = 60.0  # of work that a kill can cost at most, beside the clips being encoded


class StoreWriter:
    """For `with`: what was added is on the disk when the block ends, however it ends.

    Several processes may write to one store: a shard's name holds a random token of its writer. What dead writers
    of this machine left half-written is removed.
    """

    def __init__(self, store: FeatureStore, *, shard_items: int) -> None:
        self._store = store
        self._shard_items = shard_items
        self._items: list[Item] = []
        self._num_bytes = 0
        self._since = time.monotonic()
        self._name = _host_tag() + secrets.token_hex(3)
        _remove_stale(store.path)

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()  # also after an error or Ctrl-C: what is complete is kept

    def add(self, item: Item) -> None:
        """Takes a clip; writes a shard when it is full or a minute old."""
        if not self._items:
            self._since = time.monotonic()
        self._items.append(item)
        self._num_bytes += item.values.nbytes
        full = len(self._items) >= self._shard_items or self._num_bytes >= MAX_SHARD_BYTES
        if full or time.monotonic() - self._since >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes what was collected.

        Raises:
            StoreError: the disk is full.
        """
        if not self._items:
            return
        folder = self._store.path
        taken = [int(path.name.partition("-")[0]) for path in folder.glob("[0-9]*-w*.safetensors")]
        path = folder / f"{max(taken, default=-1) + 1:05d}-{self._name}.safetensors"
        try:
            write_shard(path, self._items, fingerprint=self._store.fingerprint)
        except OSError as error:
            if error.errno in (ENOSPC, EDQUOT):
                raise StoreError(f"{folder} is full ({error.strerror}). Free space there, then run again.") from error
            raise
        self._items, self._num_bytes = [], 0
        self._store.refresh()

    def fail(self, key: str, *, example_id: str, path: Path, reason: str) -> None:
        """Records a clip that could not be decoded."""
        line = {"key": key, "id": example_id, "path": str(path), "reason": reason}
        append_line(self._store.path / f"failed-{self._name}.jsonl", line)


def stored_values(features: Tensor, dtype: str, *, name: str) -> np.ndarray:
    """(T, D) features as the array that a shard holds.

    Args:
        features: (T, D) on any device.
        dtype: `float16` or `float32`.
        name: of the clip, for the message.

    Raises:
        StoreError: a value is not finite, or more than float16 can hold.
    """
    values = features.detach().to("cpu", torch.float32).numpy()
    largest = float(np.abs(values).max(initial=0.0))  # NaN stays NaN
    if not largest <= (FLOAT16_MAX if dtype == "float16" else np.finfo(np.float32).max):
        raise StoreError(
            f"Features of {name} reach {largest:.6g}, which {dtype} cannot hold. "
            + ("Extract with --set store.dtype=float32." if dtype == "float16" else "Leave out this clip or encoder.")
        )
    return np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<"))


def _host_tag() -> str:
    """`w` and four digits of this machine's name: process ids are compared on one machine only."""
    return "w" + hashlib.blake2b(socket.gethostname().encode(), digest_size=2).hexdigest()


def _remove_stale(folder: Path) -> None:
    for leftover in folder.glob(f"*-{_host_tag()}*.safetensors.tmp.*"):
        match = re.search(r"\.tmp\.[0-9a-f]+\.(\d+)$", leftover.name)
        if match and not _is_alive(int(match[1])):
            leftover.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, but there
        return True
    return True
