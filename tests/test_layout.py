"""What all loaders of official layouts share: strict tables, and names that cannot lead out of the user's folder."""

import json
import os
from pathlib import Path

import pytest

from palprobe.errors import DataError
from palprobe.tasks.layout import (
    AudioFiles,
    hashed_fold,
    listed_file,
    one_line,
    options,
    read_objects,
    read_table,
    task_data,
    words,
)
from palprobe.types import Example

EXPECTED = "the layout of X (x.org)"


def refused(call, *arguments, **named) -> str:
    """The one line that a call is refused with."""
    with pytest.raises(DataError) as caught:
        call(*arguments, **named)
    assert "\n" not in str(caught.value) and str(caught.value).isprintable()
    return str(caught.value)


def written(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_table_is_read_as_written(tmp_path):
    """Quotes, commas and line breaks in cells, a byte order mark, CRLF and blank lines change no value."""
    path = written(tmp_path, '\ufefffile, label \r\na.wav,"no, ""never"""\r\n\r\nb.wav,"1e3\r\n2"\r\n')
    assert read_table(path, ("file", "label"), EXPECTED) == [
        {"file": "a.wav", "label": 'no, "never"'},
        {"file": "b.wav", "label": "1e3\n2"},
    ]


def test_a_table_without_a_header_may_have_more_columns(tmp_path):
    """The first columns get the names that the caller gives; further ones are passed over."""
    path = written(tmp_path, "f0001,female,30\nm0002,male,31\n")
    assert [row["speaker"] for row in read_table(path, ("speaker",), EXPECTED, header=False)] == ["f0001", "m0002"]


@pytest.mark.parametrize(
    ("content", "words_"),
    [
        (b"file,label\n\xe9.wav,dog\n", "is not UTF-8 (invalid continuation byte at byte 11)"),
        ("file,name\na.wav,dog\n", "found columns ['file', 'name'], expected ['file', 'label'] among them"),
        ("file,label\n", f"has no rows. Expected {EXPECTED}"),
        ("", f"has no rows. Expected {EXPECTED}"),
        ("file,label\na.wav,dog\nb.wav\n", "line 3: 1 cells, the header has 2"),
        ("file,label\na.wav,dog,barks\n", "line 2: 3 cells, the header has 2"),
        ('file,label\n"a\n.wav",dog\nb.wav, \n', "line 4: no label"),
        ('file,label\na.wav,"dog\nb.wav,cat\n', "line 2: no valid CSV"),
    ],
)
def test_tables_refused(content, words_, tmp_path):
    """A table that would be read otherwise than it was meant gets one line: the file, the place, what is wrong."""
    assert words_ in refused(read_table, written(tmp_path, content), ("file", "label"), EXPECTED)


def test_a_table_that_is_not_there(tmp_path):
    """What is missing is named together with the layout that was expected; a pipe of that name is not waited for."""
    assert f"No file '{tmp_path}/t.csv'. Expected {EXPECTED}." in refused(read_table, tmp_path / "t.csv", (), EXPECTED)
    os.mkfifo(tmp_path / "pipe.csv")
    assert "No file" in refused(read_table, tmp_path / "pipe.csv", (), EXPECTED)


def test_objects_are_read_from_a_list_or_from_lines(tmp_path):
    """Both forms give the same objects, and numbers stay as they are written."""
    rows = [{"id": 1, "answer": "a\u2028b"}, {"id": "2", "answer": "é"}]
    whole = written(tmp_path, json.dumps(rows), "a.json")
    lines = written(tmp_path, "\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "a.jsonl")
    expected = [{"id": "1", "answer": "a\u2028b"}, {"id": "2", "answer": "é"}]
    assert read_objects(whole, ("id", "answer"), EXPECTED) == expected
    assert read_objects(lines, ("id", "answer"), EXPECTED) == expected


@pytest.mark.parametrize(
    ("content", "words_"),
    [
        ("[" * 100_000, "is no JSON"),
        ("{}", "a JSON list of objects was expected"),
        ("[]", "a JSON list of objects was expected"),
        ("[1]", "a JSON list of objects was expected"),
        ('[{"id": "1"}]', "item 1: no text under 'answer'. Its keys: ['id']"),
        ('[{"id": "1", "answer": ["a"]}]', "item 1: no text under 'answer'"),
        ('[{"id": "1", "answer": "\\ud83d\\ude00"}, {"id": "2", "answer": "\\ud83d"}]', "half a character"),
    ],
)
def test_objects_refused(content, words_, tmp_path):
    """JSON that is broken, of another shape, or no text is one line of explanation."""
    assert words_ in refused(read_objects, written(tmp_path, content, "a.json"), ("id", "answer"), EXPECTED)


@pytest.mark.parametrize("name", ["../a.wav", "x/../../a.wav", "/etc/passwd", ".."])
def test_no_name_leads_out_of_the_folder(name):
    """A name from a table that climbs or is absolute is refused, whether or not a file is there."""
    assert f"listed as {name!r}, which leads out of 'data'" in refused(listed_file, Path("data"), name)


def test_a_name_stays_below_its_folder():
    """`./` is harmless, and dots that climb nowhere are a part of a name."""
    assert listed_file(Path("data"), "./x/a..b.wav") == Path("data/x/a..b.wav")


def test_audio_is_found_by_name_without_extension(tmp_path):
    """Whatever the extension and the folder; a .wav before a .mp4 of the same clip; other files do not count."""
    for name in ("a.mp4", "deep/a.wav", "deep/b.FLAC", "c.json", "[d]-[1-2].ogg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff.wav", os.O_CREAT))
    files = AudioFiles(tmp_path)
    assert files.find("a") == tmp_path / "a.mp4"  # the one that is less deep
    assert files.find("x", "b") == tmp_path / "deep" / "b.FLAC"
    assert files.find("[d]-[1-2]") == tmp_path / "[d]-[1-2].ogg"
    assert files.find("c", "x") == tmp_path / "c.wav"  # where it would be: the caller counts it as missing
    refused(files.find, "../outside")


def test_of_two_files_of_a_clip_the_audio_is_taken(tmp_path):
    """In one folder the order of extensions decides, not that of the alphabet."""
    for name in ("a.mp3", "a.wav", "a.flac"):
        (tmp_path / name).touch()
    assert AudioFiles(tmp_path).find("a").name == "a.wav"


def test_options():
    """A choice given twice counts once, blanks around it do not count, and the answer must be one of two or more."""
    assert options(["two ", "one", "two"], " one", "q") == ("two", "one")
    assert refused(options, ["one", " one"], "one", "q").startswith(
        "q: the answer 'one' was expected among two or more"
    )
    assert "found ['a', 'b']" in refused(options, ["a", "b"], "c", "q")
    assert "a list of texts was expected" in refused(options, "ab", "a", "q")
    assert "a list of texts was expected" in refused(options, ["a", None], "a", "q")
    assert "a list of texts was expected" in refused(options, ["a", " "], "a", "q")


def test_texts_become_lines():
    """An answer is one line, and a label is what a person would say."""
    assert one_line(" a\n b\tc ") == "a b c"
    assert words("dog_bark") == "dog bark"


@pytest.mark.parametrize(("group", "fold"), [("C4", 1), ("hit 0", 2), ("hit 1", 3), ("1.mp3", 5)])
def test_hashed_folds_follow_from_the_name_alone(group, fold):
    """`printf '"C4"' | b2sum -l 128`, modulo 5, plus 1: computed in a shell, so that folds never move."""
    assert hashed_fold(group, 5) == fold


def test_missing_audio_is_counted_by_question(tmp_path):
    """Two questions about one absent clip are two missing items; odd names are absent, not errors."""
    (tmp_path / "a.wav").touch()
    names = ("a.wav", "gone.wav", "gone.wav", "\0.wav", "x" * 5000)
    examples = [
        Example(str(number), "g", tmp_path / name, "?", ("yes",), ("yes", "no"), split="test")
        for number, name in enumerate(names)
    ]
    data = task_data("t", tmp_path, examples, licence="l", citation="c")
    assert [example.id for example in data.examples] == ["0"]
    assert data.missing == ("gone.wav", "gone.wav", "\0.wav", "x" * 5000)


def test_a_blank_answer_is_refused(tmp_path):
    """A label of underscores alone has no words: nothing could be scored."""
    example = Example("x", "g", tmp_path / "a.wav", "?", (words("__"),), split="test")
    assert "Task 't': 'x' has a blank answer" in refused(task_data, "t", tmp_path, [example], licence="", citation="")
