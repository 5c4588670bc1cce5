"""Official layouts in miniature, as their publishers describe them: tables with a few rows, and empty files for audio.

No loader of a layout decodes audio. Each writer gets an empty folder; what its tests expect is counted by hand there.
"""

import json
from pathlib import Path

import miniature_labels as labels
import miniature_texts as texts
import pytest
from miniature_files import table, text, touch

from palprobe.errors import DataError
from palprobe.specs import parse_task
from palprobe.tasks import load_task
from palprobe.types import TaskData


def urbansound8k(folder: Path) -> None:
    """Two classes in two folds, two slices of one recording; the last row's file is not there."""
    rows = [
        ("100-3-0-0.wav", 100, 0.0, 4.0, 1, 1, 3, "dog_bark"),
        ("100-3-0-1.wav", 100, 4.0, 8.0, 1, 1, 3, "dog_bark"),
        ("200-1-0-0.wav", 200, 0.0, 1.5, 2, 1, 1, "car_horn"),
        ("300-1-0-0.wav", 300, 0.0, 1.5, 2, 2, 1, "car_horn"),
        ("400-5-0-0.wav", 400, 0.0, 4.0, 1, 2, 5, "engine_idling"),
    ]
    header = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
    table(folder / "metadata" / "UrbanSound8K.csv", header, *rows)
    touch(*(folder / "audio" / f"fold{row[5]}" / row[0] for row in rows[:-1]))


def vggsound(folder: Path) -> None:
    """Both names that a clip may have, a label with commas, a video on both sides, one clip that is not there."""
    table(
        folder / "vggsound.csv",
        ("-aaaaaaaaaa", 30, "engine accelerating, revving, vroom", "train"),
        ("bbbbbbbbbbb", 0, "dog barking", "test"),
        ("ccccccccccc", 5, "dog barking", "train"),
        ("ccccccccccc", 20, "dog barking", "test"),
        ("ddddddddddd", 1, "cat purring", "train"),
        ("eeeeeeeeeee", 3, "dog barking", "train"),
    )
    names = ("-aaaaaaaaaa_000030.mp4", "test/bbbbbbbbbbb_0.wav", "ccccccccccc_000005.wav", "ccccccccccc_000020.flac")
    touch(*(folder / "video" / name for name in (*names, "eeeeeeeeeee_000003.wav")))


def vocalsound(folder: Path) -> None:
    """Three speakers: one lacks a sniff, one has a second cough; and what a Mac leaves behind."""
    for name, speaker in (("tr", "f0001"), ("val", "m0002"), ("te", "f0003")):
        table(folder / "meta" / f"{name}_meta.csv", (speaker, "female", 30, "USA", "English", "no"))
        sounds = ("laughter", "sigh", "cough", "throatclearing", "sneeze", "sniff")
        touch(*(folder / "audio_16k" / f"{speaker}_0_{sound}.wav" for sound in sounds))
    (folder / "audio_16k" / "f0001_0_sniff.wav").unlink()
    touch(folder / "audio_16k" / "f0003_1_cough.wav", folder / "audio_16k" / "._f0003_1_cough.wav")


def crema_d(folder: Path) -> None:
    names = (
        "1001_DFA_ANG_XX",
        "1001_IEO_HAP_HI",
        "1040_ITH_SAD_X",
        "1017_IEO_FEA_LO",
        "1008_TAI_NEU_XX",
        "1089_WSI_DIS_XX",
    )
    touch(*(folder / "AudioWAV" / f"{name}.wav" for name in names))


def ravdess(folder: Path) -> None:
    """Four of the 1440 recordings, and a song, which is none of them."""
    names = ("03-01-01-01-01-01-01", "03-01-08-02-02-02-01", "03-01-05-01-01-01-06", "03-01-02-01-01-01-24")
    touch(*(folder / f"Actor_{name[-2:]}" / f"{name}.wav" for name in (*names, "03-02-05-01-01-01-06")))


def speech_commands(folder: Path) -> None:
    """Two words, three speakers; one listed file is not there."""
    files = (
        "yes/0a_nohash_0.wav",
        "yes/0a_nohash_1.wav",
        "no/0a_nohash_0.wav",
        "no/1b_nohash_0.wav",
        "yes/2c_nohash_0.wav",
    )
    touch(*(folder / name for name in (*files, "_background_noise_/pink_noise.wav")))
    text(folder / "validation_list.txt", "no/1b_nohash_0.wav\n")
    text(folder / "testing_list.txt", "yes/2c_nohash_0.wav\nno/2c_nohash_0.wav\n")


def fluent_speech_commands(folder: Path) -> None:
    header = ("", "path", "speakerId", "transcription", "action", "object", "location")
    rows = {
        "train": [
            (0, "wavs/speakers/A/1.wav", "A", "Turn the heat up", "increase", "heat", "none"),
            (1, "wavs/speakers/A/2.wav", "A", "Lights on in the kitchen", "activate", "lights", "kitchen"),
        ],
        "valid": [(0, "wavs/speakers/B/3.wav", "B", "Heat up", "increase", "heat", "none")],
        "test": [(0, "wavs/speakers/C/4.wav", "C", "Warmer", "increase", "heat", "none")],
    }
    for split, lines in rows.items():
        table(folder / "data" / f"{split}_data.csv", header, *lines)
        touch(*(folder / line[1] for line in lines))


def nsynth(folder: Path) -> None:
    """Four notes; an instrument that validation and test share."""

    def note(instrument: str, family: str, pitch: int) -> dict[str, object]:
        return {
            "instrument_str": instrument,
            "instrument_family_str": family,
            "instrument_source_str": "acoustic",
            "pitch": pitch,
            "velocity": 75,
            "qualities_str": ["bright"],
        }

    notes = {
        "train": {
            "synth_lead_a_000-060-075": note("synth_lead_a_000", "synth_lead", 60),
            "bass_b_000-061-075": note("bass_b_000", "bass", 61),
        },
        "valid": {"bass_c_000-060-075": note("bass_c_000", "bass", 60)},
        "test": {"bass_c_000-061-075": note("bass_c_000", "bass", 61)},
    }
    for split, named in notes.items():
        text(folder / f"nsynth-{split}" / "examples.json", json.dumps(named))
        touch(*(folder / f"nsynth-{split}" / "audio" / f"{name}.wav" for name in named))


def gtzan(folder: Path) -> None:
    """Both spellings of a track, the original .au and the .wav of copies; one track is not there."""
    text(folder / "train_filtered.txt", "blues/blues.00029.wav\njazz/jazz.00000.wav\n")
    text(folder / "valid_filtered.txt", "blues.00030\n")
    text(folder / "test_filtered.txt", "jazz/jazz.00001.wav\njazz/jazz.00054.wav\n")
    names = ("blues/blues.00029.wav", "jazz/jazz.00000.au", "blues/blues.00030.wav", "jazz/jazz.00001.au")
    touch(*(folder / "genres" / name for name in names))


def fma_small(folder: Path) -> None:
    """Three tracks of `small`, one of another subset; two header rows and one that names the index."""
    table(
        folder / "fma_metadata" / "tracks.csv",
        ("", "album", "artist", "set", "set", "track", "track"),
        ("", "id", "id", "split", "subset", "genre_top", "title"),
        ("track_id", "", "", "", "", "", ""),
        (2, 1, 1, "training", "small", "Hip-Hop", "Food"),
        (137, 5, 7, "validation", "small", "Rock", 'A "quoted"\ntitle'),
        (140, 6, 9, "test", "small", "Hip-Hop", "Queen"),
        (141, 6, 9, "test", "medium", "Folk", "Ohio"),
        (155000, 7, 8, "training", "small", "Rock", "Gone"),
    )
    touch(*(folder / "fma_small" / name for name in ("000/000002.mp3", "000/000137.mp3", "000/000140.mp3")))


def notes(folder: Path) -> None:
    """Ten piano notes of five pitches, ten hits of two kinds, and one trumpet, too few to be a family."""
    rows = [(f"audio/key_{n:02d}.flac", "keyboard", "piano", 60 + n % 5, f"C{n % 5}", "") for n in range(10)]
    rows += [(f"audio/hit_{n:02d}.flac", "percussion_body", "body", "", "", f"hit {n % 2}") for n in range(10)]
    rows += [("audio/trumpet.flac", "brass", "trumpet", 60, "C0", "")]
    table(folder / "notes.csv", ("file", "family", "instrument", "midi", "pitch", "sound"), *rows)
    touch(*(folder / row[0] for row in rows))


LAYOUTS = {
    "air-bench": texts.air_bench,
    "audiocaps": texts.audiocaps,
    "audioset": labels.audioset,
    "captions": texts.captions,
    "clotho": texts.clotho,
    "clothoaqa": texts.clothoaqa,
    "crema-d": crema_d,
    "fluent-speech-commands": fluent_speech_commands,
    "fma-small": fma_small,
    "fsd50k": labels.fsd50k,
    "gtzan": gtzan,
    "mmar": texts.mmar,
    "mmau": texts.mmau,
    "muchomusic": texts.muchomusic,
    "musiccaps": texts.musiccaps,
    "notes": notes,
    "nsynth": nsynth,
    "qa": texts.qa,
    "ravdess": ravdess,
    "song-describer": texts.song_describer,
    "speech-commands": speech_commands,
    "urbansound8k": urbansound8k,
    "vggsound": vggsound,
    "vocalsound": vocalsound,
}


def load(spec: str, folder: Path | None = None) -> TaskData:
    """What the command line would get: of `NAME[:VARIANT]` in a folder, or of `NAME=FOLDER`."""
    return load_task(parse_task(spec if folder is None else f"{spec}={folder}"), data_root=None, cache=Path("unused"))


def written(name: str, folder: Path) -> Path:
    """A folder with that layout in miniature."""
    place = folder / name
    place.mkdir()
    LAYOUTS[name](place)
    return place


def refusal(spec: str, folder: Path) -> str:
    """The one line that a folder is refused with."""
    with pytest.raises(DataError) as caught:
        load(spec, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)
