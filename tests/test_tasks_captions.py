"""Loaders of captioning sets on miniature layouts, on the real captions, and on AudioCaps' real test table."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from miniature_files import table, touch
from miniature_tasks import load, refusal, written

from palprobe.recipe import DataSection
from palprobe.tasks.splits import split_task

DATA = Path(os.environ.get("PALPROBE_DATA", ""))
needs_data = pytest.mark.skipif(not DATA.name, reason="PALPROBE_DATA names no folder of real recordings")


def test_clotho(tmp_path):
    """Five captions are five references, the first to train on; file names may hold blanks and any letters."""
    folder = written("clotho", tmp_path)
    (folder / "evaluation" / "d.wav").unlink()
    data = load("clotho", folder)
    assert [(e.id, e.group, e.split) for e in data.examples] == [
        ("development-a b", "development/a b.wav", "train"),
        ("development-Çığ", "development/Çığ.wav", "train"),
        ("validation-c", "validation/c.wav", "validation"),
    ]
    assert data.examples[0].references == tuple(f"Caption {number}, of a b.wav" for number in range(1, 6))
    assert data.examples[0].choices == ()
    assert data.missing == ("evaluation/d.wav",)


def test_clothos_metadata_in_latin_1_is_no_matter(tmp_path):
    """The publisher's other tables are in ISO-8859-1; they lie there unread."""
    folder = written("clotho", tmp_path)
    (folder / "clotho_metadata_development.csv").write_bytes("file_name,keywords\na b.wav,caf\xe9\n".encode("latin-1"))
    assert len(load("clotho", folder).examples) == 4


def test_a_clip_without_its_captions_is_refused(tmp_path):
    """A cell of a caption that is blank is no reference, in either layout."""
    folder = written("clotho", tmp_path)
    header = ("file_name", *(f"caption_{number}" for number in range(1, 6)))
    table(folder / "clotho_captions_validation.csv", header, ("c.wav", "One.", "Two.", " ", "Four.", "Five."))
    assert "line 2: no caption_3" in refusal("clotho", folder)
    folder = written("audiocaps", tmp_path)
    table(folder / "val.csv", ("audiocap_id", "youtube_id", "start_time", "caption"), (900003, "bbb", 0, ""))
    assert "line 2: no caption" in refusal("audiocaps", folder)


def test_audiocaps(tmp_path):
    """Rows of one clip are one question; both names of a clip are found; a clip that is gone is counted."""
    data = load("audiocaps", written("audiocaps", tmp_path))
    assert [(e.id, e.group, e.split, e.references) for e in data.examples] == [
        ("aaa_30", "aaa", "train", ("A dog barks",)),
        ("bbb_0", "bbb", "validation", ("Rain falls",)),
        ("ccc_7", "ccc", "test", ("A man talks", 'He says "hello"')),
    ]
    assert [e.audio.name for e in data.examples] == ["aaa_30.wav", "900003.flac", "900005.wav"]
    assert data.missing == ("gone_0.wav",)


def test_audiocaps_refuses_names_that_climb(tmp_path):
    """A video called ../x is no file name, whatever lies there."""
    folder = written("audiocaps", tmp_path)
    touch(folder.parent / "x_0.wav")
    table(folder / "val.csv", ("audiocap_id", "youtube_id", "start_time", "caption"), (9, "../x", 0, "A secret"))
    assert "'../x_0.wav', which leads out of" in refusal("audiocaps", folder)


@pytest.mark.data
@needs_data
def test_the_real_table_of_audiocaps(tmp_path):
    """The real test table: 4875 rows are 975 clips with five references each, 973 of them absent here."""
    folder = written("audiocaps", tmp_path)
    shutil.copy(DATA / "text_meta" / "audiocaps_test.csv", folder / "test.csv")
    touch(folder / "audio" / "7fmOlUlwoNg_20.wav", folder / "audio" / "103541.wav")
    data = load("audiocaps", folder)
    test = [e for e in data.examples if e.split == "test"]
    assert {e.id: e.references[0] for e in test} == {
        "7fmOlUlwoNg_20": "Constant rattling noise and sharp vibrations",
        "GOD8Bt5LfDE_100": "Humming and vibrating with a man and children speaking and laughing",
    }
    assert [len(e.references) for e in test] == [5, 5]
    assert len(data.missing) == 973 + 1


def test_musiccaps(tmp_path):
    """AudioSet's evaluation clips test; both names of a clip are found; a caption becomes one line."""
    data = load("musiccaps", written("musiccaps", tmp_path))
    assert [(e.id, e.split, e.references, e.audio.name) for e in data.examples] == [
        ("-0Gj8-vB1q4", "test", ("A slow song. It is sad.",), "[-0Gj8-vB1q4]-[30-40].wav"),
        ("aaaaaaaaaaa", "train", ("A fast song.",), "aaaaaaaaaaa.wav"),
    ]
    assert data.missing == ("[bbbbbbbbbbb]-[0-10].wav",)


def test_song_describer(tmp_path):
    """Captions of a track are its references; the variant keeps those of the validated subset."""
    folder = written("song-describer", tmp_path)
    data, valid = load("song-describer", folder), load("song-describer:valid", folder)
    assert [(e.id, e.split, e.references) for e in data.examples] == [
        ("1004034", "test", ("A calm piano", "Soft keys")),
        ("415600", "test", ("Loud drums",)),
    ]
    assert [(e.id, e.references) for e in valid.examples] == [("1004034", ("A calm piano",))]
    assert (data.name, valid.name) == ("song-describer", "song-describer:valid")
    assert data.examples[1].audio.parts[-2:] == ("00", "415600.2min.mp3")


def test_captions(tmp_path):
    """Two captions a clip, and the fold that b2sum gives its name (0.mp3 2, 1.mp3 5, 2.mp3 1, 3.mp3 1)."""
    data = load("captions", written("captions", tmp_path))
    assert [(e.id, e.fold, e.references) for e in data.examples] == [
        ("0", 2, ("Sound 0", "A sound, number 0")),
        ("1", 5, ("Sound 1", "A sound, number 1")),
        ("2", 1, ("Sound 2", "A sound, number 2")),
        ("3", 1, ("Sound 3", "A sound, number 3")),
    ]


@pytest.mark.data
@needs_data
def test_real_captions():
    """100 clips with two captions each, all there, in folds of 26, 20, 14, 21 and 19 (by b2sum); each can be split."""
    data = load(f"captions={DATA / 'captions'}")
    assert Counter(e.fold for e in data.examples) == {1: 26, 2: 20, 3: 14, 4: 21, 5: 19}
    assert data.missing == () and {len(e.references) for e in data.examples} == {2}
    assert len(split_task(data, 1, DataSection()).test) == 26


@pytest.mark.parametrize("name", ["clotho", "audiocaps", "musiccaps", "song-describer", "captions"])
def test_a_folder_of_something_else(name, tmp_path):
    """Without its tables, one line says which file was expected and where the data set is from."""
    assert "No file" in refusal(name, tmp_path) and ". Expected " in refusal(name, tmp_path)
