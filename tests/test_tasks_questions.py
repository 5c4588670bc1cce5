"""Loaders of question sets on miniature layouts, on the real questions, and on MMAU's real test-mini."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from miniature_files import table, text, touch
from miniature_tasks import load, refusal, written

from palprobe.errors import DataError
from palprobe.evaluation.scores import chance
from palprobe.recipe import DataSection
from palprobe.tasks.splits import split_task

DATA = Path(os.environ.get("PALPROBE_DATA", ""))
needs_data = pytest.mark.skipif(not DATA.name, reason="PALPROBE_DATA names no folder of real recordings")


def test_clothoaqa_yes_no(tmp_path):
    """What most of three people said is right; where all agree is a part of its own; the group is the clip."""
    data = load("clothoaqa", written("clothoaqa", tmp_path))
    assert [(e.group, e.prompt, e.references, e.part, e.split) for e in data.examples] == [
        ("a.wav", "Is it raining?", ("yes",), "unanimous", "train"),
        ("b.wav", "Is it loud?", ("no",), "majority", "validation"),
        ("c.wav", "Is it raining?", ("no",), "unanimous", "test"),
    ]
    assert {e.choices for e in data.examples} == {("yes", "no")}
    assert data.name == "clothoaqa:yes-no" and "from memory" in data.licence


def test_clothoaqa_word(tmp_path):
    """Open questions: what any of the three said is right, in lower case, the most frequent first."""
    data = load("clothoaqa:word", written("clothoaqa", tmp_path))
    assert [(e.prompt, e.references, e.choices, e.part) for e in data.examples] == [
        ("What is it?", ("rain", "water"), (), None),
        ("How many dogs?", ("two", "2", "three"), (), None),
    ]


def test_mmau(tmp_path):
    """A choice given twice counts once, so chance is what a guess among the different ones gets; parts by domain."""
    data = load("mmau", written("mmau", tmp_path))
    (example,) = data.examples
    assert (example.id, example.split, example.part, example.prompt) == ("q1", "test", "sound", "How many?")
    assert (example.choices, example.references) == (("two", "one"), ("one",))
    assert example.meta == {"category": "Perception", "difficulty": "easy", "dataset": "x"}
    assert data.missing == ("test-mini-audios/q2.wav",)
    assert chance(data.examples) == 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"audio_id": "/etc/passwd"}, "'/etc/passwd', which leads out of"),
        ({"answer": "three"}, "'q1': the answer 'three' was expected among two or more choices, found ['two', 'one']"),
        ({"choices": "one"}, "'q1': a list of texts was expected as choices"),
        ({"choices": None}, "'q1': a list of texts was expected as choices"),
        ({"question": " "}, "item 1: no text under 'question'"),
        ({"task": ["sound"]}, "item 1: no text under 'task'"),
    ],
)
def test_mmau_refuses_hostile_rows(change, words, tmp_path):
    """A path elsewhere, an answer that is no choice, choices that are none: one line with the row."""
    folder = written("mmau", tmp_path)
    rows = json.loads((folder / "mmau-test-mini.json").read_text())
    text(folder / "mmau-test-mini.json", json.dumps([rows[0] | change, rows[1]]))
    assert words in refusal("mmau", folder)


@pytest.mark.data
@needs_data
def test_the_real_questions_of_mmau(tmp_path):
    """All 1000 rows of test-mini are usable; the numbers of different choices, hence chance, are jq's count."""
    shutil.copy(DATA / "text_meta" / "mmau-test-mini.json", tmp_path)
    for row in json.loads((tmp_path / "mmau-test-mini.json").read_text()):
        touch(tmp_path / "test-mini-audios" / f"{row['id']}.wav")
    data = load("mmau", tmp_path)
    assert Counter(e.part for e in data.examples) == {"music": 334, "sound": 333, "speech": 333}
    assert Counter(len(e.choices) for e in data.examples) == {2: 27, 3: 13, 4: 949, 5: 10, 8: 1}
    assert chance(data.examples) == pytest.approx((27 / 2 + 13 / 3 + 949 / 4 + 10 / 5 + 1 / 8) / 1000)
    assert data.missing == () and data.licence == "Apache-2.0"


def test_a_test_set_alone_is_refused_for_training(tmp_path):
    """A benchmark that is for testing only is never trained on: the split says so, and gives all to the test."""
    data = load("mmau", written("mmau", tmp_path))
    with pytest.raises(DataError, match=r"Task 'mmau': the train split is empty.*--train-on"):
        split_task(data, None, DataSection())
    splits = split_task(data, None, DataSection(), needs=("test",))
    assert (splits.train, splits.validation, splits.test) == ((), (), data.examples)


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_mmar(suffix, tmp_path):
    """Both published forms; questions on one video are one group; a line break in a question is a blank."""
    folder = written("mmar", tmp_path)
    rows = json.loads((folder / "MMAR-meta.json").read_text())
    if suffix == "jsonl":
        (folder / "MMAR-meta.json").unlink()
        text(folder / "MMAR-meta.jsonl", "\n".join(map(json.dumps, rows)))
    data = load("mmar", folder)
    assert [(e.id, e.group, e.part, e.prompt, e.split) for e in data.examples] == [
        ("1", "https://video/1", "speech", "Who speaks?", "test"),
        ("2", "https://video/1", "mix-sound-speech", "Who speaks?", "test"),
        ("3", "./audio/c.wav", "speech", "Who speaks?", "test"),
    ]
    assert data.examples[0].choices == ("a man", "a woman") and data.examples[0].meta == {"language": "en"}


def test_air_bench(tmp_path):
    """Two to four choices, a part for each task, and .flac where the table says .wav for one task."""
    data = load("air-bench", written("air-bench", tmp_path))
    assert [(e.id, e.part, e.choices, e.references) for e in data.examples] == [
        ("1", "Gender", ("male", "female"), ("male",)),
        ("2", "Audio_Grounding", ("0-1", "1-2", "2-3", "3-4"), ("2-3",)),
    ]
    assert data.examples[1].audio.parts[-2:] == ("Audio_Grounding_AG", "b.flac")
    assert chance(data.examples) == (1 / 2 + 1 / 4) / 2


def test_muchomusic(tmp_path):
    """The song's excerpt and the clip of MusicCaps are found; the right answer has no place of its own."""
    data = load("muchomusic", written("muchomusic", tmp_path))
    assert [(e.id, e.group, e.part, e.references[0]) for e in data.examples] == [
        ("muchomusic-0001", "sdd/1004034", "sdd", "Off-beat"),
        ("muchomusic-0002", "sdd/1004034", "sdd", "Calm"),
        ("muchomusic-0003", "musiccaps/-0Gj8-vB1q4", "musiccaps", "Slow"),
    ]
    assert data.examples[0].choices == ("A guitar", "Four on the floor", "Off-beat", "Scat singing")
    assert [e.audio.name for e in data.examples[1:]] == ["1004034.2min.mp3", "[-0Gj8-vB1q4]-[30-40].wav"]


def test_muchomusic_refuses_other_sources_and_counts_what_is_gone(tmp_path):
    """Without a song its questions are missing, each of them; music of a third source is none of the benchmark's."""
    folder = written("muchomusic", tmp_path)
    (folder / "sdd" / "audio" / "34" / "1004034.2min.mp3").unlink()
    assert len(load("muchomusic", folder).missing) == 2
    path = folder / "muchomusic.csv"
    text(path, path.read_text().replace(",sdd,", ",fma,"))
    assert "question 1: the dataset 'fma' is none of sdd, musiccaps" in refusal("muchomusic", folder)


def test_qa(tmp_path):
    """Clips of one Freesound recording or one chapter share a group, and the fold that b2sum gives it (1, 5, 4)."""
    data = load("qa", written("qa", tmp_path))
    assert [(e.id, e.group, e.fold, e.part) for e in data.examples] == [
        ("pq-0", "esc10-118658", 1, "event"),
        ("pq-1", "esc10-118658", 1, "event"),
        ("pq-2", "librispeech/dev/1/2", 5, "event"),
        ("pq-3", "librispeech/dev/1/2", 5, "event"),
        ("pq-4", "notes/audio/x.flac", 4, "event"),
    ]


@pytest.mark.data
@needs_data
def test_real_qa():
    """All 220 questions, four parts; no recording is in two folds, and every fold can be split."""
    data = load(f"qa={DATA / 'qa'}")
    assert Counter(e.part for e in data.examples) == {"event": 80, "spoken digit": 60, "speaker": 48, "instrument": 32}
    assert data.missing == () and data.folds == (1, 2, 3, 4, 5)
    for fold in data.folds:
        split_task(data, fold, DataSection())


@pytest.mark.parametrize("name", ["clothoaqa", "mmau", "mmar", "air-bench", "muchomusic", "qa"])
def test_a_folder_of_something_else(name, tmp_path):
    """Without its tables, one line says which file was expected and where the data set is from."""
    assert "No file" in refusal(name, tmp_path) and ". Expected " in refusal(name, tmp_path)


def test_missing_music_of_muchomusic_is_named_by_its_source(tmp_path):
    """The questions alone are not enough: the table of MusicCaps says what its clips are called."""
    header = ("question", "correct_answer", "distractor_1_answer", "distractor_2_answer", "distractor_3_answer")
    table(tmp_path / "muchomusic.csv", (*header, "dataset", "dataset_identifier"), ("?", 1, 2, 3, 4, "sdd", "1.json"))
    assert "musiccaps/musiccaps-public.csv'. Expected the MusicCaps layout" in refusal("muchomusic", tmp_path)
