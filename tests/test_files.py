"""Files are whole or absent, lines survive a torn end, digests do not depend on key order."""

import hashlib
import json
import multiprocessing
import os

import pytest
import torch

from palprobe import files
from palprobe.errors import PalprobeError
from palprobe.files import (
    append_line,
    differences,
    digest,
    indexed_sha256,
    load_tensors,
    read_json,
    read_lines,
    save_tensors,
    write_atomically,
    write_json,
)


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    """An error in the middle of writing changes nothing on disk."""
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def fail(file):
        file.write(b"half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_atomically(path, fail)
    assert json.loads(path.read_text()) == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_nan_is_refused(tmp_path):
    """NaN is no JSON; it is refused instead of written for other readers to choke on."""
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"score": float("nan")})
    assert not list(tmp_path.iterdir())


def test_digest_is_known_and_ignores_key_order():
    """blake2b-128 of '{"a":1,"b":[2]}', computed with `b2sum -l 128`."""
    assert digest({"b": [2], "a": 1}) == digest({"a": 1, "b": [2]})
    import hashlib

    assert digest({"a": 1, "b": [2]}) == hashlib.blake2b(b'{"a":1,"b":[2]}', digest_size=16).hexdigest()


def test_torn_last_line_is_passed_over_and_a_torn_middle_is_not(tmp_path):
    """A killed writer can only tear the end; damage elsewhere is told."""
    path = tmp_path / "log.jsonl"
    append_line(path, {"n": 1})
    append_line(path, {"n": 2})
    with path.open("ab") as file:
        file.write(b'{"n": 3, "lo')
    assert [line["n"] for line in read_lines(path)] == [1, 2]
    append_line(path, {"n": 4})  # on a line of its own, although the line before was torn
    with pytest.raises(PalprobeError, match="line 3"):
        list(read_lines(path))
    assert [line["n"] for line in read_lines(path, skip_damaged=True)] == [1, 2, 4]


def _append_many(path, worker):
    for number in range(200):
        append_line(path, {"worker": worker, "number": number, "padding": "x" * 500})


def test_lines_of_several_writers_never_mix(tmp_path):
    """Four processes append 200 lines each: 800 whole lines come out."""
    path = tmp_path / "log.jsonl"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_many, args=(path, worker)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    lines = list(read_lines(path))
    assert {(line["worker"], line["number"]) for line in lines} == {(w, n) for w in range(4) for n in range(200)}
    assert len(lines) == 800


def test_tensors_come_back_and_a_cut_file_is_refused(tmp_path):
    """Every dtype that palprobe writes survives; a truncated file is an error that names it."""
    path = tmp_path / "t.safetensors"
    tensors = {"a": torch.arange(6).view(2, 3), "b": torch.tensor([1.5], dtype=torch.float16)}
    save_tensors(path, tensors)
    found = load_tensors(path)
    assert all(torch.equal(found[name], tensors[name]) and found[name].dtype == tensors[name].dtype for name in tensors)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(PalprobeError, match=r"t\.safetensors is damaged"):
        load_tensors(path)


def test_damaged_json_is_one_line(tmp_path):
    """A half-written or foreign JSON file is an error with its name."""
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": \xff')
    with pytest.raises(PalprobeError, match=r"a\.json is damaged"):
        read_json(path)


def test_differences_name_each_field():
    """What differs is listed field by field, absent ones included."""
    found = {"layer": "6", "encoder": {"name": "whisper", "window": 30}}
    expected = {"layer": "last", "encoder": {"name": "whisper"}, "dtype": "float16"}
    assert differences(found, expected) == [
        "dtype: (absent) there, float16 here",
        "encoder.window: 30 there, (absent) here",
        "layer: 6 there, last here",
    ]


def test_a_file_is_hashed_once_and_anew_when_it_changes(tmp_path, monkeypatch):
    """Unread while path, size, time and inode are the same, else read again; what is told is always its own hash."""
    read = []
    real = files.sha256_of
    monkeypatch.setattr(files, "sha256_of", lambda path: (read.append(path.name), real(path))[1])
    path, index = tmp_path / "weights", tmp_path / "store" / "index.jsonl"

    def hashed(path=path):
        found = indexed_sha256(path, index)
        assert found == hashlib.sha256(path.read_bytes()).hexdigest()
        return len(read)

    path.write_bytes(b"one")
    assert (hashed(), hashed()) == (1, 1)
    status = path.stat()
    path.write_bytes(b"two")  # the same size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert (hashed(), hashed()) == (2, 2)
    status = path.stat()
    (tmp_path / "new").write_bytes(b"six")  # the same size and time, another file in its place
    os.utime(tmp_path / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "new").replace(path)
    assert (hashed(), hashed()) == (3, 3)
    path.write_bytes(b"seven")
    assert hashed() == 4
    other = tmp_path / "other"
    os.link(path, other)
    assert hashed(other) == 5
    index.write_text(index.read_text() + "5\n{}\nno JSON\n")  # lines of no record are passed over
    assert hashed() == 5


def test_a_file_that_is_being_written_is_not_remembered(tmp_path, monkeypatch):
    """What changes while it is read gets no line: its next reader reads it again."""
    path, index = tmp_path / "weights", tmp_path / "index.jsonl"
    path.write_bytes(b"one")
    real = files.sha256_of

    def while_written(path):
        found = real(path)
        path.write_bytes(b"longer")
        return found

    monkeypatch.setattr(files, "sha256_of", while_written)
    indexed_sha256(path, index)
    assert not index.exists()
    monkeypatch.undo()
    assert indexed_sha256(path, index) == hashlib.sha256(b"longer").hexdigest()


def test_an_index_that_cannot_be_written_stops_nothing(tmp_path):
    """A folder of its name in its place: the hash is right all the same."""
    (tmp_path / "weights").write_bytes(b"one")
    (tmp_path / "index.jsonl").mkdir()
    assert indexed_sha256(tmp_path / "weights", tmp_path / "index.jsonl") == hashlib.sha256(b"one").hexdigest()
