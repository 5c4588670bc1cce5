"""source: several stores of one encoder read as one, layer beside layer."""

from pathlib import Path

import numpy as np
import pytest
import torch

from palprobe.errors import StoreError, UnfinishedError
from palprobe.features.identity import StoreIdentity
from palprobe.features.shard import Item
from palprobe.features.source import FeatureSource
from palprobe.features.store import FeatureStore
from palprobe.features.writer import StoreWriter

INFO = {"dim": 2, "frame_rate": 5.0, "bands": 1, "kind": "general"}
IDENTITIES = [StoreIdentity({"layer": layer}, (layer,)) for layer in range(3)]


def fill(root: Path, layer: int, lengths: dict[str, int]) -> None:
    """Layer l holds the number l, and l + 0.5, in each token."""
    store = FeatureStore.create(root, IDENTITIES[layer].fields, INFO)
    with StoreWriter(store, shard_items=8) as writer:
        for key, length in lengths.items():
            values = np.tile(np.array([layer, layer + 0.5], np.float16), (length, 1))
            writer.add(Item(key, key, key, 1.0, padded=key == "b", values=values))


def test_layers_stand_side_by_side(tmp_path):
    """(T, 3 x 2) numbers in the order of the layers; the shape is that of one encoder."""
    for layer in range(3):
        fill(tmp_path, layer, {"a": 3, "b": 1})
    source = FeatureSource.open(tmp_path, IDENTITIES)
    assert (source.num_layers, source.dim, source.frame_rate, source.bands) == (3, 6, 5.0, 1)
    one, two = source.get_many(["b", "a"])
    assert one.tolist() == [[0, 0.5, 1, 1.5, 2, 2.5]]
    assert torch.equal(two, one.expand(3, -1))
    assert source.num_tokens("a") == 3 and source.padded("b") and not source.padded("a")
    assert FeatureSource.open(tmp_path, IDENTITIES[1:2]).get_many(["b"])[0].tolist() == [[1, 1.5]]


def test_a_clip_is_there_when_every_layer_is(tmp_path):
    """A clip of which one layer is missing is not usable."""
    fill(tmp_path, 0, {"a": 3, "b": 1})
    fill(tmp_path, 1, {"a": 3})
    source = FeatureSource.open(tmp_path, IDENTITIES[:2])
    assert "a" in source and "b" not in source
    with pytest.raises(UnfinishedError):
        FeatureSource.open(tmp_path, IDENTITIES)


def test_layers_of_different_lengths_are_refused(tmp_path):
    """Stores that do not belong together are told, not joined."""
    fill(tmp_path, 0, {"a": 3})
    fill(tmp_path, 1, {"a": 2})
    with pytest.raises(StoreError, match="layers of different lengths"):
        FeatureSource.open(tmp_path, IDENTITIES[:2]).get_many(["a"])
