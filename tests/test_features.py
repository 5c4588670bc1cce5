from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from palprobe.encoders import EncoderIdentity
from palprobe.errors import DataError, UnfinishedError, UsageError
from palprobe.features import clips, identity
from palprobe.features.clips import ClipIndex
from palprobe.features.identity import feature_identities, record_identities, recorded_identities
from palprobe.files import digest
from palprobe.recipe import Recipe, load_recipe
from palprobe.specs import parse_encoder
from palprobe.types import Example


def example(path: Path, start: float = 0.0, end: float | None = None) -> Example:
    return Example("e", "g", path, "?", ("a",), (), start, end)


def wav(path: Path, samples: int = 1000, rate: int = 8000) -> Path:
    soundfile.write(path, np.zeros(samples), rate)
    return path


def test_keys_by_hand(tmp_path: Path) -> None:
    """A key is the file's sha256 and the stretch in samples at the file's own rate, cut to the file's end."""
    path = wav(tmp_path / "a.wav")
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    index = ClipIndex(tmp_path / "f")
    cuts = [(0.0, None), (0.0, 0.1), (0.05, None), (0.05, 0.1), (0.05, 0.13)]
    keys = index.keys([example(path, *cut) for cut in cuts])
    assert [key.removeprefix(sha) for key in keys] == [":0-end", ":0-800", ":400-end", ":400-800", ":400-1000"]
    assert [index.seconds(example(path, *cut)) for cut in cuts] == [0.125, 0.1, 0.075, 0.05, 0.075]


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second index, as of a later command, hashes nothing; only a changed file is read again."""
    paths = [wav(tmp_path / f"{n}.wav", samples=100 + n) for n in range(3)]
    hashed: list[str] = []
    real = clips.sha256_of
    monkeypatch.setattr(clips, "sha256_of", lambda path: (hashed.append(path.name), real(path))[1])
    seen: list[tuple[int, int]] = []
    many = [example(path) for path in paths for _ in range(5)]
    first = ClipIndex(tmp_path / "f").keys(many, lambda *done: seen.append(done))
    assert sorted(hashed) == ["0.wav", "1.wav", "2.wav"] and seen == [(1, 3), (2, 3), (3, 3)]
    assert ClipIndex(tmp_path / "f").keys(many) == first and len(hashed) == 3
    wav(paths[1], samples=500)
    second = ClipIndex(tmp_path / "f").keys(many)
    assert hashed[3:] == ["1.wav"]
    assert [a == b for a, b in zip(first, second, strict=True)] == [True] * 5 + [False] * 5 + [True] * 5


def test_a_touched_file_keeps_its_key(tmp_path: Path) -> None:
    """Another time of change alone changes no key: the bytes count."""
    path = wav(tmp_path / "a.wav")
    before = ClipIndex(tmp_path / "f").key(example(path))
    os.utime(path, ns=(1, 1))
    assert ClipIndex(tmp_path / "f").key(example(path)) == before


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    """An indexed file serves from its last row; one that was never seen is named, and how many more there are."""
    path = wav(tmp_path / "a.wav")
    before = ClipIndex(tmp_path / "f").key(example(path, 0.05))
    path.unlink()
    assert ClipIndex(tmp_path / "f").key(example(path, 0.05)) == before
    gone = [example(tmp_path / f"gone{n}.wav") for n in range(5)]
    with pytest.raises(DataError, match=r"5 audio files are not there: .*gone0\.wav.* and 2 more"):
        ClipIndex(tmp_path / "f").keys([example(path), *gone])


def test_odd_files_do_not_hang(tmp_path: Path) -> None:
    """A pipe or a folder in the place of a file is not waited for."""
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(DataError, match=r"2 audio files are not there"):
        ClipIndex(tmp_path / "f").keys([example(tmp_path / "pipe.wav"), example(tmp_path)])


def test_undecodable_files_have_keys(tmp_path: Path) -> None:
    """What cannot be decoded, or lies outside its file, still has a name to be counted under, and no length."""
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    index = ClipIndex(tmp_path / "f")
    bad, outside = example(tmp_path / "bad.wav", 1.0, 2.0), example(wav(tmp_path / "a.wav"), 7.0)
    assert index.key(bad).endswith(":1.0s-2.0s") and index.seconds(bad) == 0
    assert index.key(outside).endswith(":7.0s-Nones") and index.seconds(outside) == 0


def test_a_torn_index_line_is_passed_over(tmp_path: Path) -> None:
    """A kill while the index grows costs one hash, no error."""
    paths = [wav(tmp_path / f"{n}.wav", samples=100 + n) for n in range(2)]
    before = ClipIndex(tmp_path / "f").keys([example(path) for path in paths])
    index_path = tmp_path / "f" / clips.INDEX_NAME
    index_path.write_bytes(index_path.read_bytes()[:-20])
    assert ClipIndex(tmp_path / "f").keys([example(path) for path in paths]) == before


def fields(text: str, recipe: Recipe) -> dict[str, Any]:
    (only,) = feature_identities(parse_encoder(text), recipe)
    return only.fields


def test_identity_names_what_changes_features() -> None:
    """Encoder, layer and dtype change the fingerprint; seeds and training settings do not."""
    base = digest(fields("logmel", load_recipe()))
    assert base == digest(fields("logmel", load_recipe(settings=["train.steps=3"])))
    assert base != digest(fields("mfcc", load_recipe()))
    assert base != digest(fields("logmel", load_recipe(settings=["store.dtype=float32"])))


def test_identity_names_the_layer_and_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer and libsndfile's version are fields of their own; torch is none."""
    monkeypatch.setattr(
        identity, "identify", lambda *_: EncoderIdentity({"name": "x", "sizes": (1, 2)}, ((3,), (1, 2)))
    )
    one, mean = (found.fields for found in feature_identities(parse_encoder("whisper@3"), load_recipe()))
    assert one["layer"] == 3 and mean["layer"] == "mean:1-2"
    assert one["audio"]["libsndfile"] == soundfile.__libsndfile_version__
    assert one["encoder"]["sizes"] == [1, 2]  # as JSON will give it back
    assert "torch" not in str(one)


def test_a_user_s_encoder_is_not_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After extraction the record answers while the file is unchanged; a change, or another seed, asks to extract."""
    file = tmp_path / "my.py"
    file.write_text("class Mine: pass\n")
    spec, recipe = parse_encoder(f"{file}:Mine"), load_recipe()
    loads: list[str] = []
    made_up = EncoderIdentity({"state": "s1"}, ((0,),))
    monkeypatch.setattr(identity, "identify", lambda spec, section: (loads.append(spec.text), made_up)[1])
    with pytest.raises(UnfinishedError, match="palprobe extract"):
        recorded_identities(spec, recipe, tmp_path)
    made = feature_identities(spec, recipe)
    record_identities(spec, recipe, tmp_path, made)
    record_identities(spec, recipe, tmp_path, made)
    assert len((tmp_path / identity.RECORD_NAME).read_text().splitlines()) == 1
    assert recorded_identities(spec, recipe, tmp_path) == made and len(loads) == 1
    for other in (load_recipe(settings=["encoder.init_seed=1"]), None):
        if other is None:
            file.write_text("class Mine: x = 1\n")
        with pytest.raises(UnfinishedError):
            recorded_identities(spec, other or recipe, tmp_path)
    file.unlink()
    with pytest.raises(UsageError, match=r"there is no file '.*my\.py'"):
        recorded_identities(spec, recipe, tmp_path)


def test_registered_encoders_need_no_record(tmp_path: Path) -> None:
    """logmel's identity is the same with and without extraction before."""
    spec, recipe = parse_encoder("logmel"), load_recipe()
    assert recorded_identities(spec, recipe, tmp_path) == feature_identities(spec, recipe)
    assert list(tmp_path.iterdir()) == []


def test_an_example_s_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is the same from whichever folder it is asked."""
    wav(tmp_path / "a.wav")
    monkeypatch.chdir(tmp_path)
    index = ClipIndex(tmp_path / "f")
    relative = example(Path("a.wav"))
    assert index.key(relative) == index.key(replace(relative, audio=tmp_path / "a.wav"))
    assert len((tmp_path / "f" / clips.INDEX_NAME).read_text().splitlines()) == 1
