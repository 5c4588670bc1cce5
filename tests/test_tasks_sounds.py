"""Loaders of sound events on miniature layouts: counts, folds, groups and labels as the tables in them say."""

import pytest
from miniature_files import table
from miniature_tasks import load, refusal, written

from palprobe.recipe import DataSection
from palprobe.tasks.splits import split_task


def test_urbansound8k(tmp_path):
    """The publisher's folds, the recording as group, labels in words; the absent slice counts, and its label stays."""
    data = load("urbansound8k", written("urbansound8k", tmp_path))
    assert [(e.id, e.group, e.fold, e.references) for e in data.examples] == [
        ("100-3-0-0", "100", 1, ("dog bark",)),
        ("100-3-0-1", "100", 1, ("dog bark",)),
        ("200-1-0-0", "200", 1, ("car horn",)),
        ("300-1-0-0", "300", 2, ("car horn",)),
    ]
    assert data.examples[0].choices == ("car horn", "dog bark", "engine idling")
    assert data.missing == ("audio/fold2/400-5-0-0.wav",)
    assert data.examples[3].audio.parts[-2:] == ("fold2", "300-1-0-0.wav")
    assert data.licence == "CC BY-NC 3.0" and "Salamon" in data.citation


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("../../secret.wav", 1, 0, 1, 1, 1, 3, "dog_bark"), "'../../secret.wav', which leads out of"),
        (("a.wav", 1, 0, 1, 1, "one", 3, "dog_bark"), "fold of 'a.wav': 'one' is no whole number"),
        (("a.wav", 1, 0, 1, 1, "9" * 5000, 3, "dog_bark"), "is no whole number"),
        (("a.wav", 1, 0, 1, 1, 1, 3, ""), "line 2: no class"),
    ],
)
def test_urbansound8k_refuses_hostile_rows(row, words, tmp_path):
    """A name that climbs, a fold that is none, a row without a label: one line each."""
    header = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
    table(tmp_path / "metadata" / "UrbanSound8K.csv", header, row)
    assert words in refusal("urbansound8k", tmp_path)


def test_vggsound(tmp_path):
    """Both names of a clip are found in any folder; a label keeps its commas; a video on both sides is two groups."""
    data = load("vggsound", written("vggsound", tmp_path))
    assert [(e.id, e.group, e.split, e.references[0]) for e in data.examples] == [
        ("-aaaaaaaaaa_000030", "-aaaaaaaaaa", "train", "engine accelerating, revving, vroom"),
        ("bbbbbbbbbbb_000000", "bbbbbbbbbbb", "test", "dog barking"),
        ("ccccccccccc_000005", "ccccccccccc (train)", "train", "dog barking"),
        ("ccccccccccc_000020", "ccccccccccc (test)", "test", "dog barking"),
        ("eeeeeeeeeee_000003", "eeeeeeeeeee", "train", "dog barking"),
    ]
    assert data.missing == ("ddddddddddd_000001.wav",)
    assert data.examples[0].choices == ("cat purring", "dog barking", "engine accelerating, revving, vroom")


def test_the_published_split_of_vggsound_can_be_used(tmp_path):
    """Although a video is on both sides, the split is taken as published, and validation comes from training videos."""
    data = load("vggsound", written("vggsound", tmp_path))
    splits = split_task(data, None, DataSection())
    assert [e.id for e in splits.test] == ["bbbbbbbbbbb_000000", "ccccccccccc_000020"]


def test_vggsound_refuses_other_splits(tmp_path):
    """A third split is none of the publisher's."""
    table(tmp_path / "vggsound.csv", ("a", 1, "dog barking", "validation"))
    assert "in the split 'validation', expected train or test" in refusal("vggsound", tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("urbansound8k", "metadata/UrbanSound8K.csv'. Expected the UrbanSound8K layout"),
        ("vggsound", "vggsound.csv'. Expected the VGGSound layout"),
    ],
)
def test_a_folder_of_something_else(name, words, tmp_path):
    """Without its table, one line says which file was expected and where the data set is from."""
    assert words in refusal(name, tmp_path)
