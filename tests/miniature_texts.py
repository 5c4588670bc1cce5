"""Official layouts in miniature whose answers are texts: captions and questions."""

from pathlib import Path

from miniature_files import table, touch


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
