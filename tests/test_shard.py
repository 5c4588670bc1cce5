from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from palprobe.errors import PalprobeError, StoreError
from palprobe.features import shard as shard_module
from palprobe.features.shard import Item, as_bytes, read_into, read_shard, write_shard


def item(key: str, values: np.ndarray) -> Item:
    return Item(key=key, id=f"id-{key}", audio_sha="a" * 4, seconds=1.5, padded=key == "k1", values=values)


def some_items(dtype: str = "float16") -> list[Item]:
    rng = np.random.default_rng(0)
    return [item(f"k{n}", rng.standard_normal((rows, 3)).astype(dtype)) for n, rows in enumerate([2, 5, 1])]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_stranger_reads_it(tmp_path: Path, dtype: str) -> None:
    """The safetensors library opens a shard; offsets cut its rows into the clips that were written."""
    items = some_items(dtype)
    write_shard(tmp_path / "s.safetensors", items, fingerprint="f")
    tensors = load_file(tmp_path / "s.safetensors")
    assert tensors["offsets"].tolist() == [0, 2, 7, 8]
    assert tensors["feats"].dtype == getattr(torch, dtype)
    for n, (start, stop) in enumerate([(0, 2), (2, 7), (7, 8)]):
        assert tensors["feats"][start:stop].numpy().tobytes() == items[n].values.tobytes()
        assert int(tensors["crc32"][n]) == zlib.crc32(items[n].values.tobytes())


def test_layout_by_hand(tmp_path: Path) -> None:
    """The header, parsed here from the raw bytes, begins after 8 bytes, fills a multiple of 8 and carries the lists."""
    write_shard(tmp_path / "s.safetensors", some_items(), fingerprint="f")
    content = (tmp_path / "s.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    assert length % 8 == 0
    assert header["feats"] == {"dtype": "F16", "shape": [8, 3], "data_offsets": [44, 92]}  # 4·8 + 3·4, + 8·3·2
    assert len(content) == 8 + length + 92
    metadata = header["__metadata__"]
    assert (metadata["fp"], metadata["schema"]) == ("f", "1")
    assert json.loads(metadata["keys"]) == ["k0", "k1", "k2"]
    assert json.loads(metadata["ids"]) == ["id-k0", "id-k1", "id-k2"]
    assert json.loads(metadata["padded"]) == [False, True, False]
    assert json.loads(metadata["sec"]) == [1.5, 1.5, 1.5]


def test_header_is_read_back(tmp_path: Path) -> None:
    """What the reader says of a shard is what was written."""
    write_shard(tmp_path / "s.safetensors", some_items(), fingerprint="f")
    shard = read_shard(tmp_path / "s.safetensors")
    assert (shard.fingerprint, shard.keys, shard.dim) == ("f", ("k0", "k1", "k2"), 3)
    assert [shard.num_tokens(row) for row in range(3)] == [2, 5, 1]
    start, stop = shard.span(1)
    assert (tmp_path / "s.safetensors").read_bytes()[start:stop] == some_items()[1].values.tobytes()


def test_a_cut_is_refused_wherever_it_is(tmp_path: Path) -> None:
    """However much of a shard's end is missing, the reader refuses it, names it and says what to do."""
    whole = tmp_path / "whole.safetensors"
    write_shard(whole, some_items(), fingerprint="f")
    content = whole.read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in (*range(40), *range(40, len(content), 7), *range(len(content) - 100, len(content))):
        cut.write_bytes(content[:length])
        with pytest.raises(StoreError, match=r"cut\.safetensors is damaged: .*Delete it and run"):
            read_shard(cut)


def test_bytes_too_many_are_refused(tmp_path: Path) -> None:
    """A file longer than its header covers is no shard."""
    write_shard(tmp_path / "s.safetensors", some_items(), fingerprint="f")
    with (tmp_path / "s.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(StoreError, match="header covers"):
        read_shard(tmp_path / "s.safetensors")


def test_foreign_headers_are_refused(tmp_path: Path) -> None:
    """Random damage to the header never ends in anything but a palprobe error or a shard of the same size."""
    write_shard(tmp_path / "s.safetensors", some_items(), fingerprint="f")
    content = bytearray((tmp_path / "s.safetensors").read_bytes())
    rng = np.random.default_rng(1)
    (length,) = struct.unpack("<Q", content[:8])
    refused = 0
    for place, value in zip(rng.integers(0, 8 + length, 200), rng.integers(0, 256, 200), strict=True):
        damaged = bytearray(content)
        damaged[place] = value
        (tmp_path / "d.safetensors").write_bytes(damaged)
        try:
            shard = read_shard(tmp_path / "d.safetensors")
        except PalprobeError:
            refused += 1
        else:
            assert len(shard.keys) == 3
    assert refused > 50  # the rest fell into names and spaces


def test_another_library_s_file_is_refused(tmp_path: Path) -> None:
    """A safetensors file that is no shard is refused, not misread."""
    from safetensors.torch import save_file

    save_file({"feats": torch.zeros(2, 3)}, tmp_path / "s.safetensors")
    with pytest.raises(StoreError, match="not that of a feature shard"):
        read_shard(tmp_path / "s.safetensors")


@pytest.mark.parametrize("most", [1, 3, 1024])
@pytest.mark.parametrize("system_call", ["preadv", "pread"])
def test_scattered_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system_call: str, most: int) -> None:
    """Buffers of any size, empty ones too, are filled in order, however many bytes the system gives at once."""
    (tmp_path / "f").write_bytes(bytes(range(200)))
    monkeypatch.setattr(shard_module, "MAX_BUFFERS", most)
    if system_call == "pread":
        monkeypatch.delattr("os.preadv")
    else:
        import os

        real = os.preadv  # a system that never gives more than 7 bytes
        monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset: real(fd, [buffers[0][:7]], offset))
    arrays = [np.zeros(size, np.uint8) for size in (0, 20, 0, 3, 50, 1, 0)]
    with (tmp_path / "f").open("rb") as file:
        read_into(file.fileno(), [as_bytes(array) for array in arrays], 5, path=tmp_path / "f")
    assert np.concatenate(arrays).tolist() == list(range(5, 5 + 74))


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    """Reading past the end is an error, not a wait or a tensor of zeros."""
    (tmp_path / "f").write_bytes(b"12345")
    with (tmp_path / "f").open("rb") as file, pytest.raises(StoreError, match="ends before"):
        read_into(file.fileno(), [memoryview(bytearray(6))], 0, path=tmp_path / "f")
