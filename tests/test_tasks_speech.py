"""Loaders of speech and vocal sounds on miniature layouts: speakers on one side, labels from names and tables."""

from collections import Counter

import pytest
from miniature_files import table, text, touch
from miniature_tasks import load, refusal, written

from palprobe.errors import DataError
from palprobe.recipe import DataSection
from palprobe.tasks.splits import split_task


def test_vocalsound(tmp_path):
    """The publisher's tables split the speakers; a sound that one lacks is missing; Mac leftovers are not read."""
    data = load("vocalsound", written("vocalsound", tmp_path))
    assert Counter(e.split for e in data.examples) == {"train": 5, "validation": 6, "test": 7}
    assert {(e.group, e.split) for e in data.examples} == {
        ("f0001", "train"),
        ("m0002", "validation"),
        ("f0003", "test"),
    }
    assert data.missing == ("audio_16k/f0001_0_sniff.wav",)
    by_id = {e.id: e for e in data.examples}
    assert by_id["m0002_0_throatclearing"].references == ("throat clearing",)
    assert by_id["f0003_1_cough"].choices == ("laughter", "sigh", "cough", "throat clearing", "sneeze", "sniff")


def test_vocalsound_refuses_unknown_speakers_and_double_ones(tmp_path):
    """A file of nobody in the tables, and a speaker in two tables, would make the split another one."""
    folder = written("vocalsound", tmp_path)
    touch(folder / "audio_16k" / "f0009_0_cough.wav")
    assert "f0009_0_cough.wav' is of no speaker in meta/" in refusal("vocalsound", folder)
    table(folder / "meta" / "te_meta.csv", ("f0001", "female"))
    assert "'f0001' is also in another of the three tables" in refusal("vocalsound", folder)


def test_crema_d(tmp_path):
    """The emotion that was asked for, and our split: the last digit of the actor, 8 and 9 test, 7 validation."""
    data = load("crema-d", written("crema-d", tmp_path))
    assert [(e.id, e.group, e.references[0], e.split) for e in data.examples] == [
        ("1001_DFA_ANG_XX", "1001", "anger", "train"),
        ("1001_IEO_HAP_HI", "1001", "happiness", "train"),
        ("1008_TAI_NEU_XX", "1008", "neutral", "test"),
        ("1017_IEO_FEA_LO", "1017", "fear", "validation"),
        ("1040_ITH_SAD_X", "1040", "sadness", "train"),
        ("1089_WSI_DIS_XX", "1089", "disgust", "test"),
    ]
    assert data.missing == ()


def test_the_split_of_crema_d_is_of_91_actors(tmp_path):
    """All actors, 1001 to 1091: 64 train, 9 validation, 18 test."""
    touch(*(tmp_path / "AudioWAV" / f"{actor}_DFA_ANG_XX.wav" for actor in range(1001, 1092)))
    data = load("crema-d", tmp_path)
    assert Counter(e.split for e in data.examples) == {"train": 64, "validation": 9, "test": 18}


def test_crema_d_refuses_other_names(tmp_path):
    """A file that is none of the publisher's is named, not skipped; an empty folder says what was expected."""
    assert "No WAV file" in refusal("crema-d", tmp_path)
    touch(tmp_path / "AudioWAV" / "1001_DFA_JOY_XX.wav")
    assert "1001_DFA_JOY_XX.wav' is named otherwise" in refusal("crema-d", tmp_path)


def test_ravdess(tmp_path):
    """24 actors x 60 recordings are expected; four are there, the song is none of them, and actors 1-4 are one fold."""
    data = load("ravdess", written("ravdess", tmp_path))
    assert len(data.missing) == 24 * 60 - 4
    assert [(e.id, e.group, e.fold, e.references[0]) for e in data.examples] == [
        ("03-01-01-01-01-01-01", "actor 1", 1, "neutral"),
        ("03-01-08-02-02-02-01", "actor 1", 1, "surprised"),
        ("03-01-05-01-01-01-06", "actor 6", 2, "angry"),
        ("03-01-02-01-01-01-24", "actor 24", 6, "calm"),
    ]
    assert "Actor_01/03-01-01-02-01-01-01.wav" not in data.missing  # neutral was recorded at one intensity


def test_speech_commands(tmp_path):
    """What is listed validates and tests, the rest trains; noise is no word; a listed file may be missing."""
    data = load("speech-commands", written("speech-commands", tmp_path))
    assert {e.id: (e.group, e.split, e.references[0]) for e in data.examples} == {
        "no-0a_nohash_0": ("0a", "train", "no"),
        "yes-0a_nohash_0": ("0a", "train", "yes"),
        "yes-0a_nohash_1": ("0a", "train", "yes"),
        "no-1b_nohash_0": ("1b", "validation", "no"),
        "yes-2c_nohash_0": ("2c", "test", "yes"),
    }
    assert data.missing == ("no/2c_nohash_0.wav",)
    assert data.examples[0].choices == ("no", "yes")


@pytest.mark.parametrize(
    "line", ["../secret.wav", "yes/../../x_nohash_0.wav", "/yes/0a_nohash_0.wav", "\x1b[31m/a.wav"]
)
def test_speech_commands_refuses_hostile_lists(line, tmp_path):
    """A line that is no word and recording is shown as repr, and opens nothing."""
    folder = written("speech-commands", tmp_path)
    text(folder / "testing_list.txt", line + "\n")
    assert f"{line!r} is named otherwise" in refusal("speech-commands", folder)


def test_fluent_speech_commands(tmp_path):
    """The intent is action, object and location, without the slots that the publisher leaves as none."""
    data = load("fluent-speech-commands", written("fluent-speech-commands", tmp_path))
    assert [(e.id, e.group, e.split, e.references[0]) for e in data.examples] == [
        ("1", "A", "train", "increase, heat"),
        ("2", "A", "train", "activate, lights, kitchen"),
        ("3", "B", "validation", "increase, heat"),
        ("4", "C", "test", "increase, heat"),
    ]
    assert data.examples[0].choices == ("activate, lights, kitchen", "increase, heat")


def test_a_speaker_on_two_sides_is_refused(tmp_path):
    """The published splits keep speakers apart; a table that does not is refused when the task is split."""
    folder = written("fluent-speech-commands", tmp_path)
    header = ("", "path", "speakerId", "transcription", "action", "object", "location")
    table(
        folder / "data" / "test_data.csv",
        header,
        (0, "wavs/speakers/C/4.wav", "A", "Warmer", "increase", "heat", "none"),
    )
    with pytest.raises(DataError, match="group 'A' is both in split train and in split test"):
        split_task(load("fluent-speech-commands", folder), None, DataSection())


@pytest.mark.parametrize("name", ["vocalsound", "speech-commands", "fluent-speech-commands"])
def test_a_folder_of_something_else(name, tmp_path):
    """Without its tables, one line says which file was expected and where the data set is from."""
    assert "No file" in refusal(name, tmp_path) and ". Expected the " in refusal(name, tmp_path)
