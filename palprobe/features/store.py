"""The feature store: a folder of shards named by what made the features, so that nothing stale is ever read.

    features/<fingerprint>/store.json                      the identity, and info that is not part of it
    features/<fingerprint>/00000-w1f0c9a3b7d.safetensors   a shard; `w…` names its writer, so that writers never meet
    features/<fingerprint>/failed-w1f0c9a3b7d.jsonl        clips that could not be decoded, and why

The rename of a finished shard is its commit: there is no list of shards that could disagree with the folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palprobe.errors import DataError, IdentityError, StoreError, UnfinishedError
from palprobe.features.shard import SCHEMA, Shard, as_bytes, read_into, read_shard
from palprobe.files import differences, digest, read_json, read_lines, write_json

MERGE_GAP_BYTES = 64 * 1024  # reading over a gap of this size is cheaper than a second read
MAX_HANDLES = 256  # open files; the usual limit of a process is 1024
SHAPE_INFO = ("dim", "frame_rate", "bands", "kind")


class FeatureStore:
    """The features of one identity: `store[key]` by clip key, see `clips.ClipIndex`.

    Made by `open` (it must exist) or `create`. Reading is safe in threads and after a fork; the checksum of a clip is
    verified when this process first reads it.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        self.path = path
        self.identity = identity
        self.info = info
        self.fingerprint = digest(identity)
        self._rows: dict[str, tuple[Shard, int]] = {}
        self._shards: set[str] = set()
        self._verified: set[str] = set()
        self._handle = lru_cache(maxsize=MAX_HANDLES)(_Handle)
        self.refresh()

    @classmethod
    def open(cls, root: Path, identity: Mapping[str, Any]) -> FeatureStore:
        """The store of that identity.

        Args:
            root: the folder of all stores, `features/`.
            identity: from `identity.feature_identity` or `identity.recorded_identity`.

        Raises:
            UnfinishedError: there is none yet.
            IdentityError: the folder of that fingerprint, or a shard in it, was made from another identity.
            StoreError: a shard is damaged.
        """
        path = root / digest(identity)
        if not (path / "store.json").exists():
            raise UnfinishedError(f"No features in {path} yet. Run `palprobe extract` for this encoder and task first.")
        return cls(path, identity, _checked_info(path, identity))

    @classmethod
    def create(cls, root: Path, identity: Mapping[str, Any], info: Mapping[str, Any]) -> FeatureStore:
        """The store of that identity, made if it is not there.

        Args:
            root: the folder of all stores.
            identity: what made the features.
            info: `dim`, `frame_rate`, `bands`, `kind`, and whatever else is worth keeping (versions, device).

        Raises:
            IdentityError: the store that is there holds features of another identity or another shape.
        """
        path = root / digest(identity)
        if not (path / "store.json").exists():
            write_json(path / "store.json", {"schema": SCHEMA, "identity": identity, "info": info})
        found = _checked_info(path, identity)
        expected = {name: info[name] for name in SHAPE_INFO}
        if lines := differences({name: found.get(name) for name in SHAPE_INFO}, expected):
            raise IdentityError(f"{path} holds features of another shape: {'; '.join(lines)}. Use another --store.")
        return cls(path, identity, found)

    @property
    def dim(self) -> int:
        return int(self.info["dim"])

    @property
    def frame_rate(self) -> float:
        """Time steps per second, Hz; each is `bands` tokens."""
        return float(self.info["frame_rate"])

    @property
    def bands(self) -> int:
        return int(self.info["bands"])

    @property
    def kind(self) -> str:
        """`general` or `speech`."""
        return str(self.info["kind"])

    def refresh(self) -> None:
        """Takes in shards that appeared since; of a key that several hold, the last shard's features are read.

        Raises:
            StoreError: a shard is damaged.
            IdentityError: a shard belongs to another store.
        """
        for path in sorted(self.path.glob("*.safetensors")):  # by number, so "last" means the same to every reader
            if path.name in self._shards:
                continue
            shard = read_shard(path)
            if shard.fingerprint != self.fingerprint:
                raise IdentityError(
                    f"{path} carries the fingerprint {shard.fingerprint}, its folder is {self.fingerprint}: it was "
                    "copied here from another store. Move it back or delete it."
                )
            self._shards.add(path.name)
            for row, key in enumerate(shard.keys):
                self._rows[key] = (shard, row)
                self._verified.discard(key)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def num_tokens(self, key: str) -> int:
        """Tokens of a clip, without reading them."""
        shard, row = self._find(key)
        return shard.num_tokens(row)

    def padded(self, key: str) -> bool:
        """Whether the clip was shorter than one token and was filled up with zeros."""
        shard, row = self._find(key)
        return shard.padded[row]

    def get(self, key: str) -> Tensor:
        """(T, D) features of a clip, in the dtype they are stored in."""
        return self.get_many([key])[0]

    def get_many(self, keys: Sequence[str]) -> list[Tensor]:
        """(T, D) features of each key, in the order asked for; neighbours on the disk are read at once.

        A key asked for twice is read once, and both places hold the same tensor.

        Raises:
            DataError: a key is not in the store.
            StoreError: a clip's features fail their checksum.
        """
        features: dict[str, Tensor] = {}
        for run in self._runs(keys):
            features.update(self._read(run))
        return [features[key] for key in keys]

    def _find(self, key: str) -> tuple[Shard, int]:
        try:
            return self._rows[key]
        except KeyError:
            raise DataError(f"Clip {key} has no features in {self.path}. Run the extract command again.") from None

    def _runs(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """The keys in stretches that one read covers."""
        places = {key: self._find(key) for key in keys}
        spans = {key: shard.span(row) for key, (shard, row) in places.items()}
        run: list[str] = []
        for key in sorted(places, key=lambda key: (places[key][0].path.name, spans[key])):
            if run and not (
                places[key][0] is places[run[-1]][0] and spans[key][0] - spans[run[-1]][1] < MERGE_GAP_BYTES
            ):
                yield run
                run = []
            run.append(key)
        if run:
            yield run

    def _read(self, run: Sequence[str]) -> dict[str, Tensor]:
        shard = self._rows[run[0]][0]
        features: dict[str, Tensor] = {}
        contents: dict[str, memoryview] = {}
        buffers: list[memoryview] = []
        begin = end = shard.span(self._rows[run[0]][1])[0]
        for key in run:
            row = self._rows[key][1]
            start, stop = shard.span(row)
            values = np.empty((shard.num_tokens(row), shard.dim), shard.dtype)  # (T, D)
            features[key], contents[key] = torch.from_numpy(values), as_bytes(values)
            buffers += [memoryview(bytearray(start - end)), contents[key]]  # the gap goes to a buffer of its own
            end = stop
        handle = self._handle(shard.path)  # held while it is read: another thread may push it out of the cache
        read_into(handle.number, buffers, begin, path=shard.path)
        for key in run:
            if key not in self._verified:
                shard.check(self._rows[key][1], contents[key])
                self._verified.add(key)
        return features

    def failures(self) -> dict[str, tuple[str, str, str]]:
        """Clips that could not be decoded: key → (id, path, reason); not those that a later try stored."""
        failed = {}
        for path in sorted(self.path.glob("failed-*.jsonl")):
            for line in read_lines(path, skip_damaged=True):
                if line["key"] not in self:
                    failed[line["key"]] = (line["id"], line["path"], line["reason"])
        return failed


def _checked_info(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    found = read_json(path / "store.json")
    if not isinstance(found, dict) or found.get("schema") != SCHEMA or not isinstance(found.get("info"), dict):
        raise StoreError(
            f"{path / 'store.json'} is not of format {SCHEMA}. Delete it; `palprobe extract` writes it again."
        )
    if lines := differences(found.get("identity"), identity):
        raise IdentityError(f"{path} holds features made otherwise: {'; '.join(lines)}. Use another --store.")
    info: dict[str, Any] = found["info"]
    return info


class _Handle:
    """An open file, closed when the last reader lets go of it."""

    number = -1

    def __init__(self, path: Path) -> None:
        try:
            self.number = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise StoreError(
                f"{path} cannot be opened ({error.strerror}), though it was there. Run the extract command again."
            ) from error

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)
