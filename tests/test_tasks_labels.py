"""Loaders of clips with several labels on miniature layouts: labels, splits, groups and choices as the tables say."""

import pytest
from miniature_files import table, text
from miniature_labels import SEGMENTS
from miniature_tasks import load, refusal, written

from palprobe.recipe import DataSection
from palprobe.tasks.splits import split_task


def test_fsd50k(tmp_path):
    """All labels of a clip in words, the whole vocabulary as choices, the publisher's three splits, one absent file."""
    data = load("fsd50k", written("fsd50k", tmp_path))
    assert [(e.id, e.group, e.split, e.references) for e in data.examples] == [
        ("64760", "64760", "train", ("Electric guitar",)),
        ("16399", "16399", "train", ("Bark", "Dog")),
        ("16401", "16401", "validation", ("Rain", "Dog")),
        ("37199", "37199", "test", ("Dog", "Bark")),
    ]
    assert {e.choices for e in data.examples} == {("Bark", "Dog", "Electric guitar", "Rain")}
    assert (data.kind, data.missing) == ("multi-label", ("FSD50K.eval_audio/175151.wav",))
    assert data.examples[3].audio.parts[-2:] == ("FSD50K.eval_audio", "37199.wav")
    assert len(split_task(data, None, DataSection()).validation) == 1


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("dev", (1, "Dog,Barks", "/m/1", "train"), "'1' has the label 'Barks', which vocabulary.csv lacks. Did you"),
        ("dev", (1, "Dog", "/m/1", "test"), "'1' is in the split 'test', expected train or val"),
        ("dev", (1, "", "", "train"), "line 2: no labels"),
        ("dev", ("../../x", "Dog", "/m/1", "train"), "'../../x.wav', which leads out of"),
        ("eval", (1, "Dog,,Bark", "/m/1"), "has the label '', which vocabulary.csv lacks"),
    ],
)
def test_fsd50k_refuses_strange_rows(name, row, words, tmp_path):
    """A label that is none, another split, no labels, a name that climbs: one line each."""
    folder = written("fsd50k", tmp_path)
    header = ("fname", "labels", "mids", "split")[: len(row)]
    table(folder / "FSD50K.ground_truth" / f"{name}.csv", header, row)
    assert words in refusal("fsd50k", folder)


def test_audioset(tmp_path):
    """Display names by id, a comma kept, a name of two ids told apart; clips found by each of their names."""
    data = load("audioset", written("audioset", tmp_path))
    assert [(e.id, e.group, e.split, e.references, e.audio.name) for e in data.examples] == [
        ("--PJHxphWEs_30", "--PJHxphWEs", "train", ("Speech", "Rattle (/t/dd1)"), "--PJHxphWEs.flac"),
        ("bbbbbbbbbbb_0", "bbbbbbbbbbb", "train", ("Rattle",), "Ybbbbbbbbbbb.wav"),
        ("--4gqARaEJE_0", "--4gqARaEJE", "test", ("Male speech, man speaking", "Speech"), "--4gqARaEJE_0.m4a"),
    ]
    assert {len(e.choices) for e in data.examples} == {4}
    assert (data.name, data.kind, data.missing) == ("audioset:balanced", "multi-label", ("ddddddddddd.wav",))


def test_audioset_unbalanced(tmp_path):
    """The variant takes the other list to train on, and the same one to test."""
    folder = written("audioset", tmp_path)
    data = load("audioset:unbalanced", folder)
    assert [(e.id, e.split) for e in data.examples] == [("---1_cCGK4M_0", "train"), ("--4gqARaEJE_0", "test")]
    assert data.missing == ("ggggggggggg.wav", "ddddddddddd.wav")
    (folder / "unbalanced_train_segments.csv").unlink()
    assert len(load("audioset", folder).examples) == 3  # whoever has the balanced list needs no other


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('x, 0.000, 10.000, "/m/nothing"\n', "'x' has the label '/m/nothing', which class_labels_indices.csv lacks"),
        ("x, 0.000, 10.000, /m/09x0r,/m/07r\n", "line 4: 5 cells, expected YTID, start, end and the labels in quotes"),
        ('x, soon, 10.000, "/m/07r"\n', "line 4: start 'soon' is no number of seconds"),
        ('x, 0.000, 10.000, ""\n', "line 4: no labels"),
        (', 0.000, 10.000, "/m/07r"\n', "line 4: no YTID"),
        ("", "has no rows"),
        ('../x, 0.000, 10.000, "/m/07r"\n', "'../x.wav', which leads out of"),
    ],
)
def test_audioset_refuses_strange_rows(lines, words, tmp_path):
    """An unknown id, labels without quotes, a start that is no number, nothing at all: one line each."""
    folder = written("audioset", tmp_path)
    text(folder / "eval_segments.csv", SEGMENTS + lines)
    assert words in refusal("audioset", folder)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_audioset_with_a_byte_order_mark(ending, tmp_path):
    """A mark in front and either end of line are harmless."""
    folder = written("audioset", tmp_path)
    path = folder / "eval_segments.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_text().replace("\n", ending).encode())
    assert len([e for e in load("audioset", folder).examples if e.split == "test"]) == 1


@pytest.mark.parametrize(
    ("name", "path"), [("fsd50k", "FSD50K.ground_truth/dev.csv"), ("audioset", "eval_segments.csv")]
)
def test_tables_in_another_encoding(name, path, tmp_path):
    """A table in ISO-8859-1 is refused with its name, not read as something else."""
    folder = written(name, tmp_path)
    (folder / path).write_bytes("é, 0, 1, x\n".encode("latin-1"))
    assert "is not UTF-8" in refusal(name, folder)


@pytest.mark.parametrize("name", ["fsd50k", "audioset"])
def test_a_folder_of_something_else(name, tmp_path):
    """Without its tables, one line says which file was expected and where the data set is from."""
    assert "No file" in refusal(name, tmp_path) and ". Expected the" in refusal(name, tmp_path)
