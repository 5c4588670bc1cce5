"""Task loaders: what they read, what they refuse and in which words."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import wave
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from miniature_tasks import LAYOUTS

from palprobe.errors import DataError, UnknownNameError, UsageError
from palprobe.specs import parse_task
from palprobe.tasks import DOCUMENTED, SYNTHESISED, TASKS, VERIFIED, load_task, manifest
from palprobe.types import TaskData

DATA = os.environ.get("PALPROBE_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="PALPROBE_DATA names no folder of real recordings")


def write_wav(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 80)


def write_esc50(folder: Path) -> None:
    """Three classes (two of ESC-10) in two folds; the file of the last row is not there."""
    rows = [
        ("1-7-A-0.ogg", 1, 0, "dog", "True", "7", "A"),
        ("1-7-B-0.ogg", 1, 0, "dog", "True", "7", "B"),
        ("2-8-A-12.ogg", 2, 12, "crackling_fire", "True", "8", "A"),
        ("2-9-A-4.wav", 2, 4, "frog", "False", "9", "A"),
        ("2-9-B-5.wav", 2, 5, "cat", "False", "9", "B"),
    ]
    for row in rows[:-1]:
        write_wav(folder / "audio" / row[0])
    (folder / "meta").mkdir()
    with (folder / "meta" / "esc50.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("filename", "fold", "target", "category", "esc10", "src_file", "take"), *rows])


def write_fsdd(folder: Path) -> None:
    for name in ("3_theo_0", "3_theo_4", "3_theo_5", "0_george_7", "0_george_12"):
        write_wav(folder / "recordings" / f"{name}.wav")


def write_librispeech(folder: Path) -> None:
    for subset, reader in (("train-clean-100", "14"), ("train-clean-100", "27"), ("test-clean", "61")):
        write_wav(folder / subset / reader / "7" / f"{reader}-7-0000.flac")
    # Reader 1 is in the folder that the questions about recordings share with this task.
    (folder / "SPEAKERS.TXT").write_text("1 | F | x\n14 | F | x\n27 | M | x\n61 | M | x\n")


MINIATURES = {
    "esc50": write_esc50,
    "esc10": write_esc50,
    "fsdd": write_fsdd,
    "librispeech": write_librispeech,
    "diagnostics": None,
} | LAYOUTS


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for name, write in MINIATURES.items():
        if write is not None:
            (root / name).mkdir(exist_ok=True)
            write(root / name)
    return root


def load(text: str, root: Path | None = None, **options: bool) -> TaskData:
    return load_task(parse_task(text), data_root=root, cache=Path("unused") if root is None else root, **options)


@pytest.mark.parametrize("name", sorted(TASKS.parts))
def test_contract(name: str, root: Path) -> None:
    """Every task has distinct ids, answers among choices, audio, its kind in the list, and reads the same twice."""
    data = load(name, root)
    assert len({example.id for example in data.examples}) == len(data.examples) > 0
    for example in data.examples:
        assert not example.choices or set(example.references) <= set(example.choices)
        assert all("\n" not in answer for answer in (*example.references, *example.choices))
        assert example.audio.is_file()
        assert (example.split is None) != (example.fold is None)
        assert example.prompt and example.group
    assert data.name.split(":")[0] == name
    assert data.kind in TASKS.parts[name].summary.partition(":")[0]
    assert data.licence
    assert load(name, root) == data


def test_loaders_say_how_far_they_can_be_trusted() -> None:
    """Each but the synthesised task is marked: verified where real rows are at hand for a test, else documented."""
    marks = {name: part.summary.rpartition("; ")[2] for name, part in TASKS.parts.items() if name not in SYNTHESISED}
    verified = {name for name, mark in marks.items() if mark.startswith(VERIFIED)}
    assert verified == {"audiocaps", "captions", "esc10", "esc50", "fsdd", "librispeech", "mmau", "notes", "qa"}
    assert {mark for name, mark in marks.items() if name not in verified} == {DOCUMENTED}


def test_listing_is_light() -> None:
    """Importing the registry of tasks loads neither torch, numpy nor pandas."""
    code = "import sys, palprobe.tasks; print(sorted({'torch', 'numpy', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_esc50(root: Path) -> None:
    """Labels are the category in words, the recording is the group, and an absent file is counted, its label kept."""
    data = load("esc50", root)
    assert data.missing == ("audio/2-9-B-5.wav",)
    assert [(e.id, e.group, e.fold, e.references) for e in data.examples] == [
        ("1-7-A-0", "7", 1, ("dog",)),
        ("1-7-B-0", "7", 1, ("dog",)),
        ("2-8-A-12", "8", 2, ("crackling fire",)),
        ("2-9-A-4", "9", 2, ("frog",)),
    ]
    assert data.examples[0].choices == ("cat", "crackling fire", "dog", "frog")
    assert data.folds == (1, 2)


def test_esc10(root: Path) -> None:
    """ESC-10 is what the column esc10 marks, also of a whole ESC-50 folder."""
    data = load(f"esc10={root / 'esc50'}")
    assert {answer for e in data.examples for answer in e.references} == set(data.examples[0].choices)
    assert data.examples[0].choices == ("crackling fire", "dog")
    assert (len(data.examples), data.missing, data.name) == (3, (), "esc10")


def test_fsdd(root: Path) -> None:
    """Takes 0-4 test, the rest train; the variant decides whether digit or speaker is asked."""
    digits, speakers = load("fsdd", root), load("fsdd:speaker", root)
    assert {e.id for e in digits.examples if e.split == "test"} == {"3_theo_0", "3_theo_4"}
    assert Counter(e.split for e in digits.examples) == {"test": 2, "train": 3}
    assert digits == load("fsdd:digit", root)
    assert (digits.name, digits.examples[0].choices) == ("fsdd:digit", ("zero", "three"))
    assert {e.id[0]: e.references[0] for e in digits.examples} == {"3": "three", "0": "zero"}
    assert speakers.examples[0].choices == ("george", "theo")
    assert digits.examples[0].prompt != speakers.examples[0].prompt


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("esc5O", UnknownNameError, "Did you mean 'esc50'?"),
        ("fsdd:digits", UnknownNameError, "Did you mean 'digit'?"),
        ("esc50:fold1", UnknownNameError, "Known variants: none"),
        ("diagnostics:hihger", UnknownNameError, "Did you mean 'higher'?"),
        ("fsdd=nowhere", DataError, "'nowhere'"),
        ("nowhere.csv", DataError, "'nowhere.csv'"),
    ],
)
def test_refused_specs(text: str, error: type[Exception], words: str, root: Path) -> None:
    """A wrong name gets its nearest, a wrong place is named."""
    with pytest.raises(error) as caught:
        load(text, root)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_folder() -> None:
    """Without any folder the message shows both ways to give one."""
    with pytest.raises(UsageError, match=r"--tasks esc50=FOLDER.*--data-root.*PALPROBE_DATA"):
        load("esc50")


def test_broken_layouts(tmp_path: Path) -> None:
    """Another table, no table, no recordings or strange names: each message names the file and what was expected."""
    with pytest.raises(DataError, match=r"meta/esc50\.csv.*Expected"):
        load(f"esc50={tmp_path}")
    with pytest.raises(DataError, match="No WAV file"):
        load(f"fsdd={tmp_path}")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("file,label\na.wav,dog\n")
    with pytest.raises(DataError, match=r"found columns \['file', 'label'\], expected \['filename', 'fold'"):
        load(f"esc50={tmp_path}")
    (tmp_path / "meta" / "esc50.csv").write_text("filename,fold,category,esc10,src_file\na.wav,1,dog,True,7\n")
    with pytest.raises(DataError, match="none of its 1 listed audio files"):
        load(f"esc50={tmp_path}")
    write_wav(tmp_path / "recordings" / "mix.wav")
    with pytest.raises(DataError, match="mix"):
        load(f"fsdd={tmp_path}")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    for name in "abcd":
        write_wav(tmp_path / f"{name}.wav")
    yield tmp_path
    manifest._stdin.cache_clear()


def load_text(folder: Path, text: str | bytes, suffix: str = "csv", **options: bool) -> TaskData:
    path = folder / f"m.{suffix}"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(str(path), **options)


def test_manifest_csv(folder: Path) -> None:
    """Labels are text as written, a byte order mark and CRLF are harmless, unknown columns become meta."""
    text = "\ufeffaudio,label,split,start,end,room\r\na.wav,no,train,,,hall\r\nb.wav,1e3,test,0.5,2,\r\n"
    data = load_text(folder, text)
    first, second = data.examples
    assert (first.id, first.group, first.references, first.choices) == ("row-000001", "a.wav", ("no",), ("1e3", "no"))
    assert (first.start_seconds, first.end_seconds, first.meta) == (0.0, None, {"room": "hall"})
    assert (second.start_seconds, second.end_seconds, second.split, second.meta) == (0.5, 2.0, "test", {})
    assert first.audio == folder / "a.wav"
    assert data.name == "m.csv"


def test_manifest_choices(folder: Path) -> None:
    """Choices are a JSON list or stand between bars; without them an answer is open."""
    text = 'audio,answer,choices,fold\na.wav,a dog,"[""a dog"", ""a cat""]",1\nb.wav,on,on|off,2\n'
    first, second = load_text(folder, text).examples
    assert (first.choices, second.choices, second.fold) == (("a dog", "a cat"), ("on", "off"), 2)
    assert load_text(folder, "audio,answer,fold\na.wav,a dog,1\n").examples[0].choices == ()


def test_manifest_of_labels(folder: Path) -> None:
    """Several labels, as JSON or between bars, one too; the choices are those of all rows; no and 1e-4 stay text."""
    text = 'audio,labels,split\na.wav,"[""no"", ""dog, small""]",train\nb.wav,1e-4|no,test\nc.wav,7,test\n'
    data = load_text(folder, text)
    assert [e.references for e in data.examples] == [("no", "dog, small"), ("1e-4", "no"), ("7",)]
    assert {e.choices for e in data.examples} == {("1e-4", "7", "dog, small", "no")}
    assert (data.kind, data.examples[0].prompt) == ("multi-label", "Which sound can be heard?")
    lines = '{"audio": "a.wav", "labels": ["no", 1e-4], "split": "train"}\n'
    lines += '{"audio": "b.wav", "labels": "no", "split": "test"}'
    assert [e.references for e in load_text(folder, lines, "jsonl").examples] == [("no", "1e-4"), ("no",)]


def test_manifest_of_captions_and_transcripts(folder: Path) -> None:
    """Captions and transcripts are open questions of one line each, with the prompt of their kind."""
    data = load_text(folder, 'audio,captions,split\r\na.wav,"A dog\r\nbarks|[noise]",train\r\nb.wav,Rain,test\r\n')
    assert [(e.references, e.choices) for e in data.examples] == [(("A dog barks", "[noise]"), ()), (("Rain",), ())]
    assert (data.kind, data.examples[0].prompt) == ("captioning", "Describe the sound in one sentence.")
    data = load_text(
        folder, "audio,transcript,prompt,split\na.wav,it is | raining,Write.,train\nb.wav,no,Write.,test\n"
    )
    assert [(e.references, e.prompt) for e in data.examples] == [(("it is | raining",), "Write."), (("no",), "Write.")]
    assert data.kind == "transcription"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("audio,label,fold\na.wav,dog,1\nb.wav,cat,2\n", "classification"),
        ("audio,answer,fold\na.wav,dog,1\nb.wav,cat,2\n", "open"),
        ("audio,answer,choices,fold\na.wav,dog,dog|cat,1\nb.wav,cat,dog|cat,2\n", "multiple-choice"),
    ],
)
def test_a_manifests_columns_say_its_kind(text: str, kind: str, folder: Path) -> None:
    """Labels are a classification, answers open questions, and with choices multiple choice."""
    assert load_text(folder, text).kind == kind


def test_manifest_jsonl_and_stdin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSONL numbers keep their spelling, and stdin is read once for all stages, from the working directory."""
    text = '{"audio": "a.wav", "label": 1e3, "split": "train"}\r\n\r\n{"audio": "b.wav", "label": 7, "split": "test"}'
    data = load_text(folder, text, "jsonl")
    assert [example.references[0] for example in data.examples] == ["1e3", "7"]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    piped = load("-")
    assert piped.name == "stdin"
    assert [e.audio.resolve() for e in piped.examples] == [e.audio.resolve() for e in data.examples]
    assert load("-") == piped


HEAD = "audio,label,split\na.wav,dog,train\n"  # a good first row, line 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no rows"),
        ("path,label,split\na.wav,dog,train\n", "line 2: no audio. Filled columns: ['path', 'label', 'split']"),
        ("audio,lable,split\na.wav,dog,train\n", "line 2: no label, labels, answer, captions or transcript. Filled"),
        ("audio,label\na.wav,dog\n", "line 2: no split or fold"),
        (HEAD + "b.wav,cat,tset\n", "line 3: split 'tset' is none of train, validation, test. Did you mean 'test'?"),
        (HEAD + "b.wav, ,test\n", "line 3: no label, labels, answer, captions or transcript. Filled"),
        (HEAD + "b.wav,cat\n", "line 3: 2 cells, the header has 3"),
        (HEAD + "b.wav,dog,test\n", "every row has the label 'dog'"),
        (HEAD + 'b.wav,"cat,test\n', "line 3: no valid CSV"),
        (HEAD + '"\x1b[31m\n.wav",cat,test\nb.wav,cat,test\n', r"line 3: no audio file '\x1b[31m\n.wav'; 1 of 3"),
        ("audio,label,label\n", "two columns are named 'label'"),
        ("id,audio,label,split\nx,a.wav,dog,train\nx,b.wav,cat,test\n", "line 3: id 'x' already stands in line 2"),
        ("audio,label,fold\na.wav,dog,one\n", "line 2: fold 'one' is no whole number"),
        ("audio,label,fold,split\na.wav,dog,1,\nb.wav,cat,,test\n", "line 3: split is filled in line 3 but not in"),
        ("audio,label,fold,split\na.wav,dog,1,test\n", "line 2: both split and fold"),
        ("audio,label,split,start\na.wav,dog,train,soon\n", "line 2: start 'soon' is no number"),
        ("audio,label,split,end\na.wav,dog,train,nan\n", "line 2: end 'nan' is no number"),
        ("audio,label,split,start,end\na.wav,dog,train,2,2\n", "line 2: end 2 is not after start 2"),
        ("audio,transcript,choices,split\na.wav,hello,a|b,train\n", "but transcript is answered in free text"),
        ("audio,labels,split\na.wav,dog||cat,train\n", "labels 'dog||cat': expected a JSON list of texts, or texts"),
        ("audio,labels,split\na.wav,dog|dog,train\n", "labels ['dog', 'dog']: each once was expected"),
        ("audio,labels,split\na.wav,dog,train\nb.wav,dog,test\n", "every row has the labels 'dog'"),
        ('audio,labels,split\na.wav,"[""dog"", true]",train\n', "expected a JSON list of texts"),
        (
            "audio,captions,split\na.wav,[],train\n",
            "captions '[]': expected a JSON list of texts, or texts separated by |",
        ),
        ("audio,captions,label,split\na.wav,A dog.,dog,train\n", "both label and captions are filled"),
        ("audio,captions,split\na.wav,A dog.,train\nb.wav,,test\n", "line 3: no label, labels, answer, captions or"),
        ("audio,labels,choices,split\na.wav,cow,dog|cat,train\n", "labels 'cow' is not among the choices ['dog'"),
        ("audio,answer,choices,split\na.wav,dgo,dog|cat,train\n", "'dgo' is not among the choices ['dog', 'cat']. Did"),
        ("audio,answer,choices,split\na.wav,dog,dog|dog,train\n", "two or more different"),
        (b"audio,label,split\na.wav,caf\xe9,train\n", "line 2: not UTF-8"),
    ],
)
def test_manifest_refused(text: str | bytes, words: str, folder: Path) -> None:
    """Each mistake gets one line with the file, the line and what was found."""
    with pytest.raises(DataError) as caught:
        load_text(folder, text)
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(folder / "m.csv")) and str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 1: no JSON"),
        ("[" * 100_000, "line 1: no JSON"),
        ("[1]", "line 1: a JSON object was expected"),
        ('{"audio": "a.wav", "label": ["dog"], "split": "test"}', "line 1: label holds a list"),
        ('{"audio": "a.wav", "labels": {"dog": 1}, "split": "test"}', "line 1: labels holds a dict"),
        ('{"audio": "a.wav", "captions": [], "split": "test"}', "line 1: captions '[]': expected a JSON list"),
        ('{"audio": "a.wav", "captions": ["A dog.", " "], "split": "test"}', "none of them empty"),
        ('{"labels": ["dog", "cat"], "split": "test"}', "line 1: no audio. Filled columns"),
        ('{"audio": "a.wav", "label": "\\ud800", "split": "test"}', "line 1: an escape"),
        (
            '{"audio": "a.wav", "label": null, "split": "test"}',
            "line 1: no label, labels, answer, captions or transcript. Filled",
        ),
        (json.dumps({"audio": "\0" * 9, "label": "dog", "split": "test"}), r"no audio file '\x00"),
        (json.dumps({"audio": "x" * 5000, "label": "dog", "split": "test"}), "no audio file 'xxx"),
    ],
)
def test_jsonl_refused(line: str, words: str, folder: Path) -> None:
    """Broken, nested or unusable JSON is one line of explanation."""
    with pytest.raises(DataError) as caught:
        load_text(folder, line, "jsonl")
    assert words in str(caught.value)


def test_allow_missing(folder: Path) -> None:
    """With leave, absent files are counted and their labels still are choices."""
    data = load_text(folder, HEAD + "gone.wav,cat,test\nb.wav,frog,test\n", allow_missing=True)
    assert data.missing == ("gone.wav",)
    assert [example.id for example in data.examples] == ["row-000001", "row-000003"]
    assert data.examples[0].choices == ("cat", "dog", "frog")


@pytest.mark.data
@needs_data
def test_real_esc10() -> None:
    """The real ESC-10: 400 clips, 10 classes, five folds of 80 with 8 of each class."""
    data = load("esc10", Path(str(DATA)))
    assert (len(data.examples), len(data.examples[0].choices), data.missing) == (400, 10, ())
    assert Counter(e.fold for e in data.examples) == dict.fromkeys(range(1, 6), 80)
    assert set(Counter((e.fold, e.references) for e in data.examples).values()) == {8}


@pytest.mark.data
@needs_data
def test_real_fsdd() -> None:
    """The real takes: 300 to test, 900 to train, each digit and speaker equally often."""
    data = load("fsdd", Path(str(DATA)))
    assert Counter(e.split for e in data.examples) == {"test": 300, "train": 900}
    assert set(Counter((e.split, e.references, e.meta["speaker"]) for e in data.examples).values()) == {5, 15}
