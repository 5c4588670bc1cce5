"""Shards: members are paired by name and unpacked once; nothing leads out, and what is cut or damaged is named."""

import gzip
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from tar_shards import clip, samples, tar_bytes, write_shard

from palprobe.errors import DataError
from palprobe.tasks import shards
from palprobe.tasks.shards import open_shard

CACHE = Path("cache")


def test_members_of_one_name_are_a_sample():
    """Audio and JSON pair by path without suffix, in any order and case; what is not read is named."""
    sound, other = clip(seed=1), clip(seed=2, form="FLAC")
    path = write_shard(
        Path("x.tar"),
        [
            ("./a/one.two.json", b'{"label": "dog"}'),
            ("b.FLAC", other),
            ("a/one.two.WAV", sound),
            ("b.jsonl", b"{}\n"),
            ("c.cls", b"3"),
            ("._b.wav", b"what macOS leaves"),
            ("d.json", b"[1, 2]"),
            ("e.json", b'{"n": NaN}'),
        ],
    )
    found = {sample.key: sample for sample in open_shard(path, CACHE).samples}
    assert list(found) == ["a/one.two", "b", "c", "d", "e"]
    assert found["a/one.two"].content == {"label": "dog"}
    assert found["a/one.two"].audio.read_bytes() == sound
    assert (found["b"].audio.read_bytes(), found["b"].content, found["b"].others) == (other, None, (".jsonl",))
    assert (found["c"].audio, found["c"].content, found["c"].others) == (None, None, (".cls",))
    assert found["d"].content is None and found["e"].content is None


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz"])
def test_a_shard_is_unpacked_once(name, monkeypatch):
    """The folder is called by the bytes: a copy under another name shares it, and nothing is read again."""
    path = write_shard(Path(name), samples([{"label": "dog"}, {"label": "cat"}]))
    first = open_shard(path, CACHE)
    assert [sample.content["label"] for sample in first.samples] == ["dog", "cat"]
    assert sorted(path.name for path in CACHE.iterdir()) == sorted([first.sha256, "shards.jsonl"])
    copy = Path("copy.tar")
    shutil.copy(path, copy)
    monkeypatch.setattr(shards, "for_each_member", None)
    again = open_shard(copy, CACHE)
    assert again.samples == first.samples


def test_a_cache_that_lacks_a_file_is_filled_again():
    """A file that was deleted or cut in the cache is there again, whole; so is one whose index is damaged."""
    path = write_shard(Path("x.tar"), samples([{"label": "dog"}, {"label": "cat"}]))
    first = open_shard(path, CACHE)
    whole = [sample.audio.read_bytes() for sample in first.samples]
    for harm in (
        first.samples[0].audio.unlink,
        lambda: first.samples[1].audio.write_bytes(b"RIFF"),
        lambda: (CACHE / first.sha256 / "samples.json").write_text("{"),
    ):
        harm()
        assert [sample.audio.read_bytes() for sample in open_shard(path, CACHE).samples] == whole
    assert not list(CACHE.glob("*.tmp.*"))


def test_two_that_unpack_at_once_share_one_folder(monkeypatch):
    """Whoever is later finds the other's files, leaves them in their place, and throws its own away."""
    path = write_shard(Path("x.tar"), samples([{"label": "dog"}]))
    each = shards.for_each_member

    def slowly(path, take):
        each(path, take)
        monkeypatch.setattr(shards, "for_each_member", each)
        found.append(open_shard(path, CACHE).samples[0].audio.stat())

    found = []
    monkeypatch.setattr(shards, "for_each_member", slowly)
    later = open_shard(path, CACHE).samples[0].audio.stat()
    assert found[0].st_ino == later.st_ino
    assert not list(CACHE.glob("*.tmp.*"))


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("member", "found"),
    [
        (("../x.wav", b"1"), "leads out of the shard"),
        (("/etc/x.wav", b"1"), "leads out of the shard"),
        (("a/../../x.json", b"{}"), "leads out of the shard"),
        (special("x.wav", tarfile.SYMTYPE, "/etc/passwd"), "is a link, a device or a pipe"),
        (special("x.wav", tarfile.LNKTYPE, "s0.wav"), "is a link, a device or a pipe"),
        (special("x.wav", tarfile.CHRTYPE), "is a link, a device or a pipe"),
        (special("x.wav", tarfile.FIFOTYPE), "is a link, a device or a pipe"),
    ],
)
def test_what_leads_out_is_refused(member, found):
    """Escaping and absolute names, links, devices and pipes: one line with shard and member, and no file anywhere."""
    before = write_shard(Path("in/x.tar"), [*samples([{"label": "dog"}]), member])
    with pytest.raises(DataError, match=found) as caught:
        open_shard(before, CACHE)
    assert "'in/x.tar'" in str(caught.value) and "\n" not in str(caught.value)
    assert {path.name for path in Path().rglob("*") if path.is_file()} <= {"x.tar", "shards.jsonl"}


def test_a_name_that_is_no_text_is_refused():
    """Bytes that are not UTF-8 could be in no result."""
    content = tar_bytes([("sx.wav", clip())]).replace(b"sx.wav", b"s\xff.wav", 1)
    content = with_checksum(content)
    Path("x.tar").write_bytes(content)
    with pytest.raises(DataError, match="has a name that is not UTF-8"):
        open_shard(Path("x.tar"), CACHE)


def with_checksum(content):
    """The first header's checksum computed anew."""
    header = bytearray(content[:512])
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\x00 " % sum(header)
    return bytes(header) + content[512:]


def test_a_shard_that_was_cut_is_named():
    """Cut in a clip, in a header, exactly between two members, before its end mark: how many were read is said."""
    whole = tar_bytes(samples([{"label": "dog"}, {"label": "cat"}]))
    second = whole.index(b"s0.json")  # the header of the second member
    third = whole.index(b"s1.wav")
    end = whole.rindex(b'{"label": "cat"}') + 512 - 512 % 512
    end = -(-end // 512) * 512
    for cut, count in ((1000, 0), (second, 1), (second + 100, 1), (third, 2), (third + 3000, 2), (end, 4)):
        Path("x.tar").write_bytes(whole[:cut])
        with pytest.raises(DataError, match=rf"'x\.tar' is cut short or damaged after {count} members"):
            open_shard(Path("x.tar"), CACHE)
    Path("x.tar").write_bytes(whole[: end + 1024])
    assert len(open_shard(Path("x.tar"), CACHE).samples) == 2


def test_a_damaged_or_cut_gzip_is_named():
    """Half a gzip, one with a wrong checksum, a header in the middle that is no header, and what is no tar at all."""
    plain = tar_bytes(samples([{"label": "dog"}, {"label": "cat"}]))
    whole = gzip.compress(plain)
    broken = plain[: plain.index(b"s1.wav")] + b"\x01" * 512 + plain[plain.index(b"s1.wav") + 512 :]
    wrong = whole[:-8] + b"\0\0\0\0" + whole[-4:]
    for content in (whole[: len(whole) // 2], wrong, gzip.compress(broken), broken, b"<html>", b""):
        Path("x.tar.gz").write_bytes(content)
        with pytest.raises(DataError, match="is cut short or damaged after") as caught:
            open_shard(Path("x.tar.gz"), CACHE)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("bound", "value"), [("LARGEST_AUDIO", 100), ("LARGEST_JSON", 5), ("LARGEST_SHARD", 8000), ("MOST_MEMBERS", 3)]
)
def test_bounds_are_kept(bound, value, monkeypatch):
    """What is larger than a clip, a JSON or a shard may be is refused before it is read."""
    monkeypatch.setattr(shards, bound, value)
    path = write_shard(Path("x.tar"), samples([{"label": "dog"}, {"label": "cat"}]))
    with pytest.raises(DataError, match="passes a bound"):
        open_shard(path, CACHE)


def test_json_that_cannot_be_kept_is_no_object():
    """Half a character, an infinite number and a pit of brackets are no object; nothing is lost beside them."""
    odd = [b'{"a": "\\ud800"}', b'{"a": 1e999}', b"[" * 100_000, b"\xff", json.dumps({"label": "ok"}).encode()]
    path = write_shard(Path("x.tar"), [(f"{n}.json", content) for n, content in enumerate(odd)])
    assert [sample.content for sample in open_shard(path, CACHE).samples] == [None] * 4 + [{"label": "ok"}]
