"""What a probe reads of a clip: the features of one store, or of several layers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from palprobe.errors import StoreError
from palprobe.features.identity import StoreIdentity
from palprobe.features.store import FeatureStore


class Source(Protocol):
    """Where a probe reads what it is shown of a clip; `FeatureSource` is the usual one."""

    @property
    def num_layers(self) -> int: ...

    @property
    def dim(self) -> int: ...

    @property
    def frame_rate(self) -> float: ...

    @property
    def bands(self) -> int: ...

    @property
    def ready(self) -> bool: ...

    @property
    def info(self) -> Mapping[str, Any]: ...

    def __contains__(self, key: object) -> bool: ...

    def num_tokens(self, key: str, /) -> int: ...

    def padded(self, key: str, /) -> bool: ...

    def failures(self) -> dict[str, tuple[str, str, str]]: ...

    def get_many(self, keys: Sequence[str]) -> list[Tensor]: ...


class FeatureSource:
    """Reads (T, layers · D) features by clip key: the D numbers of the first layer, then those of the next.

    Args:
        stores: of one encoder, one for each layer, in order; all with the same token grid.
    """

    ready = False  # pooled and standardised as they are read

    def __init__(self, stores: Sequence[FeatureStore]) -> None:
        self.stores = tuple(stores)
        self._first = self.stores[0]

    @classmethod
    def open(cls, root: Path, identities: Sequence[StoreIdentity]) -> FeatureSource:
        """The stores of those identities.

        Raises:
            UnfinishedError: one of them is not there yet.
            IdentityError: a folder of that fingerprint holds something else.
            StoreError: a shard is damaged.
        """
        return cls([FeatureStore.open(root, identity.fields) for identity in identities])

    @property
    def num_layers(self) -> int:
        return len(self.stores)

    @property
    def dim(self) -> int:
        """layers · D."""
        return self._first.dim * self.num_layers

    @property
    def frame_rate(self) -> float:
        """Time steps per second, Hz; each is `bands` tokens."""
        return self._first.frame_rate

    @property
    def bands(self) -> int:
        return self._first.bands

    @property
    def info(self) -> Mapping[str, Any]:
        """What the first store says of the encoder: shape, versions, device, where the weights are from."""
        return self._first.info

    def __contains__(self, key: object) -> bool:
        return all(key in store for store in self.stores)

    def num_tokens(self, key: str) -> int:
        """Tokens of a clip, without reading them."""
        return self._first.num_tokens(key)

    def padded(self, key: str) -> bool:
        """Whether the clip was shorter than one token and was filled up with zeros."""
        return self._first.padded(key)

    def failures(self) -> dict[str, tuple[str, str, str]]:
        """Clips that could not be decoded: key → (id, path, reason)."""
        return {key: reason for store in self.stores for key, reason in store.failures().items() if key not in self}

    def get_many(self, keys: Sequence[str]) -> list[Tensor]:
        """(T, layers · D) features of each key, in the order asked for, in the dtype they are stored in.

        Raises:
            DataError: a key is not in a store.
            StoreError: a clip's features fail their checksum, or its layers are of different lengths.
        """
        layers = [store.get_many(keys) for store in self.stores]
        if self.num_layers == 1:
            return layers[0]
        joined = []
        for key, parts in zip(keys, zip(*layers, strict=True), strict=True):
            if len({len(part) for part in parts}) > 1:
                folders = ", ".join(store.path.name for store in self.stores)
                raise StoreError(f"Clip {key} has layers of different lengths in {folders}. Extract them again.")
            joined.append(torch.cat(parts, dim=1))
        return joined
