"""Loaders of music and notes on miniature layouts, and of the real notes: labels, groups and folds by hand."""

import os
from collections import Counter
from pathlib import Path

import pytest
from miniature_files import table, text
from miniature_tasks import load, refusal, written

from palprobe.errors import DataError
from palprobe.recipe import DataSection
from palprobe.tasks.splits import split_task

DATA = Path(os.environ.get("PALPROBE_DATA", ""))
needs_data = pytest.mark.skipif(not DATA.name, reason="PALPROBE_DATA names no folder of real recordings")


@pytest.mark.parametrize(
    ("variant", "labels"),
    [
        ("family", ["synth lead", "bass", "bass", "bass"]),
        ("source", ["acoustic"] * 4),
        ("pitch", ["60", "61", "60", "61"]),
    ],
)
def test_nsynth(variant, labels, tmp_path):
    """The variant decides the label; instruments of the validation set are groups of their own, as test shares them."""
    data = load(f"nsynth:{variant}", written("nsynth", tmp_path))
    assert [e.references[0] for e in data.examples] == labels
    assert [(e.group, e.split) for e in data.examples] == [
        ("synth_lead_a_000", "train"),
        ("bass_b_000", "train"),
        ("bass_c_000 (validation)", "validation"),
        ("bass_c_000", "test"),
    ]
    assert data.name == f"nsynth:{variant}" and data.missing == ()
    assert data.examples[0].audio.parts[-3:] == ("nsynth-train", "audio", "synth_lead_a_000-060-075.wav")


def test_nsynth_refuses_what_its_page_rules_out(tmp_path):
    """An instrument of the training set in the test set is refused; so are notes that lack a key or climb."""
    folder = written("nsynth", tmp_path)
    test = folder / "nsynth-test" / "examples.json"
    text(test, test.read_text().replace('"bass_c_000"', '"bass_b_000"'))
    with pytest.raises(DataError, match="group 'bass_b_000' is both in split train and in split test"):
        split_task(load("nsynth", folder), None, DataSection())
    text(test, '{"a": {"instrument_str": "x", "pitch": 60}}')
    assert "note 'a' lacks instrument_str or instrument_family_str" in refusal("nsynth", folder)
    text(test, '{"../a": {"instrument_str": "x", "instrument_family_str": "y"}}')
    assert "'../a.wav', which leads out of" in refusal("nsynth", folder)
    text(test, "[]")
    assert "a JSON object of notes by name was expected" in refusal("nsynth", folder)


def test_gtzan(tmp_path):
    """The three lists are the split; both spellings of a track are read, and one that is not there is missing."""
    data = load("gtzan", written("gtzan", tmp_path))
    assert [(e.id, e.references[0], e.split, e.audio.suffix) for e in data.examples] == [
        ("blues.00029", "blues", "train", ".wav"),
        ("jazz.00000", "jazz", "train", ".au"),
        ("blues.00030", "blues", "validation", ".wav"),
        ("jazz.00001", "jazz", "test", ".au"),
    ]
    assert data.missing == ("genres/jazz.00054.wav",)


def test_gtzan_says_where_its_lists_come_from(tmp_path):
    """Without the fault-filtered lists there is no split worth reporting, and none is made up."""
    folder = written("gtzan", tmp_path)
    (folder / "valid_filtered.txt").unlink()
    assert "valid_filtered.txt'. Expected" in refusal("gtzan", folder)
    assert "github.com/jongpillee/music_dataset_split" in refusal("gtzan", folder)
    text(folder / "valid_filtered.txt", "../blues.00030.wav\n")
    assert "'../blues.00030.wav' is no track such as" in refusal("gtzan", folder)


def test_fma_small(tmp_path):
    """Only the subset small; the group is the artist; the third header row and quoted titles disturb nothing."""
    data = load("fma-small", written("fma-small", tmp_path))
    assert [(e.id, e.group, e.references[0], e.split) for e in data.examples] == [
        ("000002", "artist 1", "Hip-Hop", "train"),
        ("000137", "artist 7", "Rock", "validation"),
        ("000140", "artist 9", "Hip-Hop", "test"),
    ]
    assert data.missing == ("fma_small/155/155000.mp3",)


def test_fma_small_refuses_other_tables(tmp_path):
    """A missing column, a row without genre, a number that is none: each has its line."""
    path = tmp_path / "fma_metadata" / "tracks.csv"
    heads = ("", "artist", "set", "set", "track"), ("", "id", "split", "subset", "genre_top")
    table(path, ("track_id", "genre"))
    assert "no column ('set', 'subset')" in refusal("fma-small", tmp_path)
    table(path, *heads, (2, 1, "training", "small", ""))
    assert "line 3: expected a split among ['training', 'validation', 'test'], a genre" in refusal(
        "fma-small", tmp_path
    )
    table(path, *heads, ("../2", 1, "training", "small", "Rock"))
    assert "line 3: '../2' is no whole number" in refusal("fma-small", tmp_path)
    table(path, *heads, (2, 1, "training", "large", "Rock"))
    assert "no track is in the subset 'small'" in refusal("fma-small", tmp_path)


def test_notes_by_instrument(tmp_path):
    """Families with ten clips; a pitch or a kind of hit is a group, whose fold b2sum gives (C0 3, C4 1, hit 1 3)."""
    data = load("notes", written("notes", tmp_path))
    assert Counter(e.references[0] for e in data.examples) == {"keyboard": 10, "percussion body": 10}
    assert {e.id: (e.group, e.fold) for e in data.examples if e.id in ("key_00", "key_05", "key_09", "hit_03")} == {
        "key_00": ("C0", 3),
        "key_05": ("C0", 3),
        "key_09": ("C4", 1),
        "hit_03": ("hit 1", 3),
    }


def test_notes_by_pitch(tmp_path):
    """Notes whose pitch another clip has, dealt to the folds in the order of names: the trumpet is C0's third."""
    data = load("notes:pitch", written("notes", tmp_path))
    assert {e.id: e.fold for e in data.examples if e.references == ("C0",)} == {"key_00": 1, "key_05": 2, "trumpet": 3}
    assert len(data.examples) == 11 and {e.group for e in data.examples} >= {"audio/trumpet.flac"}


@pytest.mark.data
@needs_data
def test_real_notes():
    """36 + 30 + 55 + 23 clips of four families; every fold leaves each family training clips."""
    data = load(f"notes={DATA / 'notes'}")
    assert Counter(e.references[0] for e in data.examples) == {
        "keyboard": 36,
        "percussion body": 30,
        "percussion machine": 55,
        "reed": 23,
    }
    assert data.missing == () and data.folds == (1, 2, 3, 4, 5)
    assert {e.group for e in data.examples if e.id.startswith("body_snap")} == {"snap"}
    for fold in data.folds:
        splits = split_task(data, fold, DataSection())
        assert not {e.group for e in splits.train} & {e.group for e in splits.test}


@pytest.mark.data
@needs_data
def test_real_pitches():
    """21 pitches with two clips or more, 62 clips; what is tested was trained on: no fold is refused."""
    data = load(f"notes:pitch={DATA / 'notes'}")
    assert Counter(e.fold for e in data.examples) == {1: 24, 2: 24, 3: 14}
    assert len(data.examples[0].choices) == 21
    for fold in data.folds:
        split_task(data, fold, DataSection())


@pytest.mark.parametrize("name", ["nsynth", "gtzan", "fma-small", "notes"])
def test_a_folder_of_something_else(name, tmp_path):
    """Without its tables, one line says which file was expected and where the data set is from."""
    assert "No file" in refusal(name, tmp_path) and ". Expected " in refusal(name, tmp_path)
