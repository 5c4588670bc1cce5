from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from palprobe.errors import DataError, IdentityError, StoreError, UnfinishedError
from palprobe.features import store as store_module
from palprobe.features import writer as writer_module
from palprobe.features.shard import Item
from palprobe.features.store import FeatureStore
from palprobe.features.writer import StoreWriter, stored_values

IDENTITY = {"encoder": {"name": "fake", "weights": "w1"}, "layer": "last"}
INFO: dict[str, Any] = {"dim": 4, "frame_rate": 25.0, "bands": 2, "kind": "speech", "device": "cpu"}


def item(key: str, value: float, rows: int = 3, dim: int = 4) -> Item:
    return Item(key, f"id-{key}", "sha", 1.0, rows == 1, np.full((rows, dim), value, np.float16))


def filled(root: Path, *, items: int = 10, shard_items: int = 4) -> FeatureStore:
    """Clip k3 has 3 + 1 rows of the value 3."""
    store = FeatureStore.create(root, IDENTITY, INFO)
    with StoreWriter(store, shard_items=shard_items) as writer:
        for number in range(items):
            writer.add(item(f"k{number}", number, rows=number + 1))
    return store


def test_round_trip(tmp_path: Path) -> None:
    """What was written is read again, by another process's view of the folder, in any order and for any repetition."""
    filled(tmp_path)
    store = FeatureStore.open(tmp_path, IDENTITY)
    assert len(store) == 10 and "k3" in store and "x" not in store and set(store) == {f"k{n}" for n in range(10)}
    assert len(list(store.path.glob("*.safetensors"))) == 3
    assert (store.dim, store.frame_rate, store.bands, store.kind) == (4, 25.0, 2, "speech")
    assert store.get("k3").dtype == torch.float16
    assert torch.equal(store.get("k3"), torch.full((4, 4), 3.0, dtype=torch.float16))
    order = ["k7", "k0", "k7", "k4", "k5"]
    assert [features[0, 0].item() for features in store.get_many(order)] == [7, 0, 7, 4, 5]
    assert [features.shape[0] for features in store.get_many(order)] == [8, 1, 8, 5, 6]
    assert store.get_many([]) == []
    assert store.num_tokens("k9") == 10
    assert store.padded("k0") and not store.padded("k1")


def test_tokens_are_counted_without_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """num_tokens and padded come from the headers."""
    filled(tmp_path)
    store = FeatureStore.open(tmp_path, IDENTITY)
    monkeypatch.setattr(store_module, "read_into", None)
    assert [store.num_tokens(f"k{n}") for n in range(10)] == list(range(1, 11))


def test_neighbours_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips of one shard cost one read if the gaps are small, and one each if they are large."""
    filled(tmp_path, shard_items=10)
    store = FeatureStore.open(tmp_path, IDENTITY)
    reads: list[int] = []
    real = store_module.read_into
    monkeypatch.setattr(store_module, "read_into", lambda *a, **k: (reads.append(1), real(*a, **k)))
    wanted = ["k9", "k1", "k5"]
    assert [features[0, 0].item() for features in store.get_many(wanted)] == [9, 1, 5]
    assert len(reads) == 1
    monkeypatch.setattr(store_module, "MERGE_GAP_BYTES", 8)  # a row; k2 to k4 are 96 bytes
    assert [features[0, 0].item() for features in store.get_many(wanted)] == [9, 1, 5]
    assert len(reads) == 4


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """A changed byte among the features fails the first read of that clip, and of no other."""
    path = next(filled(tmp_path, shard_items=10).path.glob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # the last value of k9
    path.write_bytes(content)
    store = FeatureStore.open(tmp_path, IDENTITY)
    assert store.get("k8")[0, 0] == 8
    with pytest.raises(StoreError, match=r"00000-w\w+\.safetensors is damaged: .* id-k9 .*checksum.*Delete it"):
        store.get_many(["k8", "k9"])


def test_a_cut_shard_is_refused(tmp_path: Path) -> None:
    """A store with a truncated shard does not open; without that file it does, and lacks only its clips."""
    path = sorted(filled(tmp_path).path.glob("*.safetensors"))[1]
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StoreError, match=path.name):
        FeatureStore.open(tmp_path, IDENTITY)
    path.unlink()
    assert set(FeatureStore.open(tmp_path, IDENTITY)) == {"k0", "k1", "k2", "k3", "k8", "k9"}


def test_a_shard_that_vanishes_is_named(tmp_path: Path) -> None:
    """Deleting a shard under an open store is one line at the next read."""
    store = filled(tmp_path)
    for path in store.path.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(StoreError, match="cannot be opened"):
        store.get("k0")


def test_no_store_yet(tmp_path: Path) -> None:
    """A store that nobody made is unfinished work, and asking leaves no folder behind."""
    with pytest.raises(UnfinishedError, match="palprobe extract"):
        FeatureStore.open(tmp_path, IDENTITY)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    """Asking for a clip that is not there says which."""
    with pytest.raises(DataError, match="nope"):
        filled(tmp_path).get("nope")


def test_another_identity_is_another_folder(tmp_path: Path) -> None:
    """Features of other weights are never found; a folder whose identity was changed is refused field by field."""
    store = filled(tmp_path)
    other = {"encoder": {"name": "fake", "weights": "w2"}, "layer": "last"}
    with pytest.raises(UnfinishedError):
        FeatureStore.open(tmp_path, other)
    content = json.loads((store.path / "store.json").read_text())
    content["identity"] = {**other, "layer": "3"}
    (store.path / "store.json").write_text(json.dumps(content))
    with pytest.raises(IdentityError, match=r"encoder\.weights: w2 there, w1 here; layer: 3 there, last here"):
        FeatureStore.open(tmp_path, IDENTITY)


@pytest.mark.parametrize("content", ["[]", '{"schema": 2, "identity": {}, "info": {}}', '{"schema": 1}'])
def test_another_format_is_refused(tmp_path: Path, content: str) -> None:
    """A store.json of another version, or of no meaning, is named; without it the shards serve again."""
    store = filled(tmp_path)
    (store.path / "store.json").write_text(content)
    with pytest.raises(StoreError, match=r"store\.json is not of format 1"):
        FeatureStore.open(tmp_path, IDENTITY)
    (store.path / "store.json").unlink()
    assert len(FeatureStore.create(tmp_path, IDENTITY, INFO)) == 10


def test_a_foreign_shard_is_refused(tmp_path: Path) -> None:
    """A shard copied in from another store is noticed by its fingerprint."""
    other = FeatureStore.create(tmp_path, {"encoder": "other"}, INFO)
    with StoreWriter(other, shard_items=1) as writer:
        writer.add(item("k0", 1.0))
    shard = next(other.path.glob("*.safetensors"))
    shard.rename(filled(tmp_path).path / "00009-w0.safetensors")
    with pytest.raises(IdentityError, match="00009-w0"):
        FeatureStore.open(tmp_path, IDENTITY)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    """The same identity with another D is a contradiction, not a mixture."""
    filled(tmp_path)
    with pytest.raises(IdentityError, match="dim: 4 there, 5 here"):
        FeatureStore.create(tmp_path, IDENTITY, {**INFO, "dim": 5})


def test_the_last_shard_wins(tmp_path: Path) -> None:
    """Two writers never share a file name; of a clip that both wrote, every reader sees the later shard's features."""
    store = FeatureStore.create(tmp_path, IDENTITY, INFO)
    with StoreWriter(store, shard_items=1) as one, StoreWriter(store, shard_items=1) as two:
        one.add(item("a", 1.0))
        two.add(item("a", 2.0))
        two.add(item("b", 3.0))
        one.add(item("b", 4.0))
    names = sorted(path.name for path in store.path.glob("*.safetensors"))
    assert [name[:5] for name in names] == ["00000", "00001", "00002", "00003"]
    assert len({name[6:] for name in names}) == 2
    for view in (store, FeatureStore.open(tmp_path, IDENTITY)):
        assert [features[0, 0].item() for features in view.get_many(["a", "b"])] == [2, 4]


def test_writers_in_threads_lose_nothing(tmp_path: Path) -> None:
    """Many writers at once on one folder, each with its own view: every clip is there and whole."""

    FeatureStore.create(tmp_path, IDENTITY, INFO)

    def write(number: int) -> None:
        with StoreWriter(FeatureStore.create(tmp_path, IDENTITY, INFO), shard_items=2) as writer:
            for clip in range(20):
                writer.add(item(f"{number}-{clip % 15}", clip % 15))

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = FeatureStore.open(tmp_path, IDENTITY)
    keys = [f"{number}-{clip}" for number in range(4) for clip in range(15)]
    assert [features[0, 0].item() for features in store.get_many(keys)] == [
        clip for _ in range(4) for clip in range(15)
    ]


def test_an_error_keeps_what_is_complete(tmp_path: Path) -> None:
    """Leaving the writer by Ctrl-C writes the open shard."""
    store = FeatureStore.create(tmp_path, IDENTITY, INFO)
    with pytest.raises(KeyboardInterrupt), StoreWriter(store, shard_items=100) as writer:
        writer.add(item("a", 1.0))
        raise KeyboardInterrupt
    assert set(FeatureStore.open(tmp_path, IDENTITY)) == {"a"}


def test_shards_are_flushed_by_size_and_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard is written when it holds enough bytes, or when a minute has passed since its first clip."""
    store = FeatureStore.create(tmp_path, IDENTITY, INFO)
    monkeypatch.setattr(writer_module, "MAX_SHARD_BYTES", 48)  # two items of 3·4·2 bytes
    writer = StoreWriter(store, shard_items=100)
    writer.add(item("a", 1.0))
    assert "a" not in store
    writer.add(item("b", 1.0))
    assert "a" in store and "b" in store
    now = writer_module.time.monotonic()
    writer.add(item("c", 1.0))
    monkeypatch.setattr(writer_module.time, "monotonic", lambda: now + 61)
    writer.add(item("d", 1.0))
    assert "c" in store and "d" in store


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC becomes a StoreError and leaves no half-written shard."""
    store = FeatureStore.create(tmp_path, IDENTITY, INFO)
    writer = StoreWriter(store, shard_items=1)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="full"):
        writer.add(item("a", 1.0))
    assert [path.name for path in store.path.iterdir()] == ["store.json"]


def test_leftovers_of_the_dead_are_removed(tmp_path: Path) -> None:
    """A half-written shard of a dead process goes, those of a living one and of another machine stay."""
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead, own = int(child.stdout), writer_module._host_tag()
    store = FeatureStore.create(tmp_path, IDENTITY, INFO)
    names = [f"00000-{own}aa.safetensors.tmp.0a1b.{dead}", f"00000-{own}bb.safetensors.tmp.0a1b.{os.getpid()}"]
    names += [f"00000-wother.safetensors.tmp.0a1b.{dead}"]
    for name in names:
        (store.path / name).write_bytes(b"half")
    StoreWriter(store, shard_items=1)
    assert sorted(path.name for path in store.path.glob("*.tmp.*")) == sorted(names[1:])
    assert len(FeatureStore.open(tmp_path, IDENTITY)) == 0


def test_failures_are_kept_until_they_are_mended(tmp_path: Path) -> None:
    """A recorded failure is listed with its reason, and no longer once the clip is stored."""
    store = FeatureStore.create(tmp_path, IDENTITY, INFO)
    with StoreWriter(store, shard_items=1) as writer:
        writer.fail("k", example_id="e", path=Path("/x.wav"), reason="cut")
        assert store.failures() == {"k": ("e", "/x.wav", "cut")}
        writer.add(item("k", 1.0))
    assert store.failures() == {}


def test_float16_keeps_what_it_can_hold() -> None:
    """65504 is float16's largest number: it passes, more is refused with the setting that holds it."""
    kept = stored_values(torch.tensor([[65504.0, -65504.0, 0.1]]), "float16", name="clip")
    assert kept.dtype == np.float16 and kept[0, :2].tolist() == [65504.0, -65504.0]
    with pytest.raises(StoreError, match=r"clip reach 65505.*--set store\.dtype=float32"):
        stored_values(torch.tensor([[1.0, -65505.0]]), "float16", name="clip")
    assert stored_values(torch.tensor([[1e30]]), "float32", name="clip")[0, 0] == np.float32(1e30)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_non_finite_features_are_refused(bad: float, dtype: str) -> None:
    """NaN and infinity are refused in either dtype."""
    with pytest.raises(StoreError, match="clip"):
        stored_values(torch.tensor([[1.0, bad]]), dtype, name="clip")


def test_many_shards_need_few_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open files are bounded: with room for two, ten shards are still read, from several threads."""
    monkeypatch.setattr(store_module, "MAX_HANDLES", 2)
    filled(tmp_path, shard_items=1)
    store = FeatureStore.open(tmp_path, IDENTITY)
    before = len(list(Path("/dev/fd").iterdir()))
    wrong: list[int] = []

    def read() -> None:
        wrong.extend(n for n in [*range(10)] * 20 if store.get(f"k{n}")[0, 0] != n)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(list(Path("/dev/fd").iterdir())) - before <= 2
