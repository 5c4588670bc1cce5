"""Official layouts in miniature whose answers are texts: captions and questions."""

import json
from pathlib import Path

from miniature_files import table, text, touch


def clotho(folder: Path) -> None:
    header = ("file_name", *(f"caption_{number}" for number in range(1, 6)))
    for name, clips in {
        "development": ["a b.wav", "Çığ.wav"],
        "validation": ["c.wav"],
        "evaluation": ["d.wav"],
    }.items():
        rows = [(clip, *(f"Caption {number}, of {clip}" for number in range(1, 6))) for clip in clips]
        table(folder / f"clotho_captions_{name}.csv", header, *rows)
        touch(*(folder / name / clip for clip in clips))


def audiocaps(folder: Path) -> None:
    """Clips under both names; a test clip with two captions; one clip that is not there."""
    header = ("audiocap_id", "youtube_id", "start_time", "caption")
    table(folder / "train.csv", header, (900001, "aaa", 30, "A dog barks"), (900002, "gone", 0, "A cat\nmeows"))
    table(folder / "val.csv", header, (900003, "bbb", 0, "Rain falls"))
    table(folder / "test.csv", header, (900004, "ccc", 7, "A man talks"), (900005, "ccc", 7, 'He says "hello"'))
    touch(*(folder / "audio" / name for name in ("aaa_30.wav", "900003.flac", "test/900005.wav")))


def musiccaps(folder: Path) -> None:
    columns = ("ytid", "start_s", "end_s", "audioset_positive_labels", "aspect_list", "caption", "author_id")
    header = (*columns, "is_balanced_subset", "is_audioset_eval")
    rows = [
        ("-0Gj8-vB1q4", 30, 40, "/m/02sgy", "['slow']", "A slow song.\nIt is sad.", 4, "False", "True"),
        ("aaaaaaaaaaa", 0, 10, "/m/02sgy", "['fast']", "A fast song.", 4, "False", "False"),
        ("bbbbbbbbbbb", 0, 10, "/m/02sgy", "['gone']", "A lost song.", 4, "True", "False"),
    ]
    table(folder / "musiccaps-public.csv", header, *rows)
    touch(folder / "audio" / "[-0Gj8-vB1q4]-[30-40].wav", folder / "audio" / "aaaaaaaaaaa.wav")


def song_describer(folder: Path) -> None:
    header = ("caption_id", "track_id", "caption", "is_valid_subset", "familiarity", "artist_id", "album_id", "path")
    rows = [
        (1, 1004034, "A calm piano", "True", 0, 1, 1, "34/1004034.mp3"),
        (2, 1004034, "Soft keys", "False", 0, 1, 1, "34/1004034.mp3"),
        (3, 415600, "Loud drums", "False", 0, 2, 2, "00/415600.mp3"),
    ]
    table(folder / "song_describer.csv", header, *rows)
    touch(folder / "audio" / "34" / "1004034.2min.mp3", folder / "audio" / "00" / "415600.2min.mp3")


def captions(folder: Path) -> None:
    rows = [(f"{n}.mp3", f"Sound {n}", f"A sound, number {n}", "tag;other") for n in range(4)]
    table(folder / "captions.csv", ("file_name", "caption_1", "caption_2", "tags"), *rows)
    touch(*(folder / "audio" / row[0] for row in rows))


def clothoaqa(folder: Path) -> None:
    """A question all agree on, one they do not, and one with words for answers; three people each."""

    def asked(clip: str, question: str, *answers: str) -> list[tuple[str, ...]]:
        return [(clip, question, answer, "yes") for answer in answers]

    rows = {
        "train": asked("a.wav", "Is it raining?", "yes", "yes", "yes")
        + asked("a.wav", "What is it?", "Rain", "water", "rain"),
        "val": asked("b.wav", "Is it loud?", "no", "yes", "no"),
        "test": asked("c.wav", "Is it raining?", "no", "no", "no")
        + asked("c.wav", "How many dogs?", "two", "2", "three"),
    }
    for name, lines in rows.items():
        table(folder / f"clotho_aqa_{name}.csv", ("file_name", "QuestionText", "answer", "confidence"), *lines)
    touch(*(folder / "audio_files" / f"{name}.wav" for name in "abc"))


def mmau(folder: Path) -> None:
    """Two questions, one with a choice given twice and blanks around it; the second clip is not there."""
    row = {"dataset": "x", "task": "sound", "split": "test-mini", "category": "Perception", "difficulty": "easy"}
    rows = [
        row | {"id": "q1", "audio_id": "./test-mini-audios/q1.wav", "question": "How many?", "answer": "one"},
        row
        | {
            "id": "q2",
            "audio_id": "./test-mini-audios/q2.wav",
            "question": "What?",
            "answer": "a dog",
            "task": "music",
        },
    ]
    rows[0]["choices"] = ["two ", "one", "two"]
    rows[1]["choices"] = ["a cat", "a dog"]
    text(folder / "mmau-test-mini.json", json.dumps(rows))
    touch(folder / "test-mini-audios" / "q1.wav")


def mmar(folder: Path) -> None:
    row = {"question": "Who\nspeaks?", "choices": ["a man", "a woman"], "answer": "a woman", "language": "en"}
    rows = [
        row | {"id": "1", "audio_path": "./audio/a.wav", "modality": "speech", "url": "https://video/1"},
        row | {"id": "2", "audio_path": "./audio/b.wav", "modality": "mix-sound-speech", "url": "https://video/1"},
        row | {"id": "3", "audio_path": "./audio/c.wav", "modality": "speech"},
    ]
    text(folder / "MMAR-meta.json", json.dumps(rows))
    touch(*(folder / "audio" / f"{name}.wav" for name in "abc"))


def air_bench(folder: Path) -> None:
    """A question with two choices; one with four, whose table says .wav where a .flac is."""
    two = {"choice_a": "male", "choice_b": "female", "answer_gt": "male", "question": "Who speaks?"}
    four = {"choice_a": "0-1", "choice_b": "1-2", "choice_c": "2-3", "choice_d": "3-4", "answer_gt": "2-3"}
    rows = [
        two | {"path": "a.wav", "task_name": "Gender", "dataset_name": "meld", "uniq_id": 1},
        four
        | {"path": "b.wav", "task_name": "Audio_Grounding", "dataset_name": "AG", "uniq_id": 2, "question": "When?"},
    ]
    text(folder / "Foundation_meta.json", json.dumps(rows))
    touch(folder / "Gender_meld" / "a.wav", folder / "Audio_Grounding_AG" / "b.flac")


def muchomusic(folder: Path) -> None:
    """Two questions about one song, one about a clip of MusicCaps."""
    answers = ("correct_answer", "distractor_1_answer", "distractor_2_answer", "distractor_3_answer")
    header = ("question", *answers, "dataset", "dataset_identifier", "genre")
    rows = [
        ("Which beat?", "Off-beat", "Four on the floor", "Scat singing", "A guitar", "sdd", "1004034.json", "Reggae"),
        ("Which mood?", "Calm", "Angry", "Drums", "Brass", "sdd", "1004034.json", ""),
        ("Which tempo?", "Slow", "Fast", "Piano", "Choir", "musiccaps", "-0Gj8-vB1q4_30.json", "Pop"),
    ]
    table(folder / "muchomusic.csv", header, *rows)
    song_describer(folder / "sdd")
    musiccaps(folder / "musiccaps")


def qa(folder: Path) -> None:
    """Clips of one ESC-10 recording and of one LibriSpeech chapter, and one note, all in folders beside."""
    audio = (
        "esc10/audio/3-118658-A-41.ogg",
        "esc10/audio/3-118658-B-41.ogg",
        "librispeech/dev/1/2/1-2-0000.flac",
        "librispeech/dev/1/2/1-2-0001.flac",
        "notes/audio/x.flac",
    )
    row = {"question": "Which?", "choices": ["dog", "cat"], "answer": "cat", "task": "sound", "category": "event"}
    lines = [json.dumps(row | {"id": f"pq-{number}", "audio": name}) for number, name in enumerate(audio)]
    text(folder / "qa.jsonl", "\n".join(lines) + "\n")
    touch(*(folder.parent / name for name in audio))
