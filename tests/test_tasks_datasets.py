"""`datasets:FOLDER`: saved and downloaded data sets become examples as manifests do, without network or decoder."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow.parquet
import pytest
from datasets import Audio, ClassLabel, Dataset, DatasetDict, List
from tar_shards import clip
from test_bad_input import QUICK, palprobe  # noqa: F401 - a fixture
from test_tasks_webdataset import tone

from palprobe.errors import DataError, UsageError
from palprobe.specs import parse_task
from palprobe.tasks import hf_tables, load_task

CACHE = Path("features/stimuli")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Nothing here may ask the network, though nothing forbids it, nor write into the library's own cache."""

    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", Path("library-cache"))
    datasets.disable_progress_bars()
    yield
    assert not Path("library-cache").exists()


def load(spec, **options):
    return load_task(parse_task(spec), data_root=None, cache=CACHE, **options)


def told(spec, error=DataError, **options):
    """The message of what is refused; one line."""
    with pytest.raises(error) as caught:
        load(spec, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cell(seed, name=None):
    """Audio as a table holds it."""
    return {"bytes": clip(seed=seed), "path": name or f"{seed}.wav"}


def table(columns, audio=("audio",), **features):
    """A data set of these columns; encoding audio would take torchcodec, so it is cast afterwards."""
    found = Dataset.from_dict(columns)
    for name in audio:
        found = found.cast_column(name, Audio(sampling_rate=16_000))
    for name, feature in features.items():
        found = found.cast_column(name, feature)
    return found


def genres(first=0, count=2, **more):
    """Clips of rock and jazz in turn, named by class labels."""
    rows = range(first, first + count)
    columns = {"audio": [cell(seed) for seed in rows], "genre": [seed % 2 for seed in rows], **more}
    return table(columns, genre=ClassLabel(names=["rock", "jazz"]))


def save(path="d", **splits):
    DatasetDict(splits).save_to_disk(path)
    return f"datasets:{path}"


def parquet(path, content):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    content.to_parquet(path)


# --- what a row says


def test_a_saved_data_set():
    """Class labels are told by their names, the only such column is the label, and clips are written byte for byte."""
    spec = save(train=genres(bpm=[90, 120]), test=genres(2, bpm=[None, 60.5]))
    data = load(spec)
    assert (data.name, data.kind, data.notes, data.missing) == ("datasets:d", "classification", (), ())
    assert [(e.id, e.references[0], e.split, dict(e.meta)) for e in data.examples] == [
        ("train/0", "rock", "train", {"bpm": "90"}),
        ("train/1", "jazz", "train", {"bpm": "120"}),
        ("test/0", "rock", "test", {}),
        ("test/1", "jazz", "test", {"bpm": "60.5"}),
    ]
    assert [e.audio.read_bytes() for e in data.examples] == [clip(seed=seed) for seed in range(4)]
    assert all(example.choices == ("jazz", "rock") for example in data.examples)


def test_a_downloaded_data_set():
    """Parquet files are read in the splits of their names or folders, in parts; hidden files are not looked at."""
    parquet("d/data/train-00000-of-00002.parquet", genres(0))
    parquet("d/data/train-00001-of-00002.parquet", genres(2))
    parquet("d/data/validation-00000-of-00001.parquet", genres(4))
    parquet("e/default/test/0000.parquet", genres(6))
    Path("d/.cache").mkdir()
    Path("d/.cache/train.parquet").write_bytes(b"half")
    data = load("datasets:d")
    assert [(e.id, e.split) for e in data.examples] == [
        *((f"train/{number}", "train") for number in range(4)),
        *((f"validation/{number}", "validation") for number in range(2)),
    ]
    assert [e.audio.read_bytes() for e in data.examples] == [clip(seed=seed) for seed in range(6)]
    assert [(e.id, e.split) for e in load("datasets:e").examples] == [("test/0", "test"), ("test/1", "test")]


def test_one_saved_split_and_arrow_files():
    """A Dataset without splits needs a fold; its bare arrow file reads the same, under the split of its name."""
    genres(fold=[1, 2]).save_to_disk("train")
    saved = load("datasets:train").examples
    assert [(e.id, e.fold, e.split) for e in saved] == [("0", 1, None), ("1", 2, None)]
    Path("bare").mkdir()
    Path("train/data-00000-of-00001.arrow").rename("bare/train.arrow")
    bare = load("datasets:bare").examples
    assert [(e.id, e.fold, e.references, e.audio) for e in bare] == [
        (f"train/{e.id}", e.fold, e.references, e.audio) for e in saved
    ]


@pytest.mark.parametrize(
    ("name", "value", "kind", "references"),
    [
        ("text", "Hello\nthere", "transcription", ("Hello there",)),
        ("sentence", "hello", "transcription", ("hello",)),
        ("transcription", "hello", "transcription", ("hello",)),
        ("transcript", "hello", "transcription", ("hello",)),
        ("caption", "A dog | barks.", "captioning", ("A dog | barks.",)),
        ("caption", ["A dog.", "Barks."], "captioning", ("A dog.", "Barks.")),
        ("captions", ["A dog.", "Barks."], "captioning", ("A dog.", "Barks.")),
        ("labels", ["dog", "rain"], "multi-label", ("dog", "rain")),
        ("answer", "yes", "open", ("yes",)),
    ],
)
def test_columns_of_answers(name, value, kind, references):
    """A manifest's names and the usual other ones; the column is the kind."""
    data = load(save(train=table({"audio": [cell(0)], name: [value]})))
    assert (data.kind, data.examples[0].references) == (kind, references)


def test_lists_of_class_labels():
    """Several labels of a clip are names too."""
    rows = table({"audio": [cell(0), cell(1)], "labels": [[0, 2], [1]]}, labels=List(ClassLabel(names=["a", "b", "c"])))
    assert [e.references for e in load(save(train=rows)).examples] == [("a", "c"), ("b",)]


def test_columns_that_are_chosen():
    """`:label=genre:group=artist:id=file` says which columns are meant, and is a part of the task's name."""
    rows = table(
        {
            "audio": [cell(0), cell(1)],
            "file": ["x", "y"],
            "id": [7, 7],
            "artist": ["p", "q"],
            "genre": ["rock", "jazz"],
            "label": [0, 1],
            "embedding": [[0.5, 1.5]] * 2,
        }
    )
    data = load(save(train=rows) + ":label=genre:group=artist:id=file")
    assert data.name == "datasets:d:label=genre:group=artist:id=file"
    assert [(e.id, e.group, e.references, dict(e.meta)) for e in data.examples] == [
        ("x", "p", ("rock",), {}),
        ("y", "q", ("jazz",), {}),
    ]


def test_one_of_two_audio_columns():
    """Two columns of audio are refused until one is named; only that one is written."""
    columns = {"near": [cell(0)], "far": [cell(1)], "answer": ["yes"]}
    spec = save(train=table(columns, audio=("near", "far")))
    assert "near and far hold audio. Say which: datasets:d:audio=near" in told(spec)
    (example,) = load(spec + ":audio=far").examples
    assert example.audio.read_bytes() == clip(seed=1)
    assert len(list(Path("features/shards/hf/clips").iterdir())) == 1


def test_audio_that_is_a_path():
    """A path without bytes is a file of the folder, and none outside it; an absolute one is that file."""
    Path("d").mkdir()
    Path("d/a.wav").write_bytes(clip())
    paths = ["a.wav", str(Path("d/a.wav").absolute())]
    audio = [{"bytes": None, "path": path} for path in paths]
    pyarrow.parquet.write_table(pyarrow.table({"audio": audio, "answer": ["x", "y"]}), "d/train.parquet")
    assert {(e.audio, e.group) for e in load("datasets:d").examples} == {(Path("d/a.wav").absolute(), "a.wav")}
    outside = [{"bytes": None, "path": "../a.wav"}]
    pyarrow.parquet.write_table(pyarrow.table({"audio": outside, "answer": ["x"]}), "d/train.parquet")
    assert "leads out of" in told("datasets:d")


def test_tables_without_the_librarys_marks():
    """A parquet file of bytes and paths that another program wrote is audio too; its schema says no more."""
    plain = pyarrow.table({"audio": [{"bytes": clip(), "path": "a.wav"}], "answer": ["yes"]})
    Path("d").mkdir()
    pyarrow.parquet.write_table(plain, "d/test.parquet")
    (example,) = load("datasets:d").examples
    assert (example.audio.read_bytes(), example.references, example.split) == (clip(), ("yes",), "test")


# --- splits


def test_splits_by_name():
    """Words of their names; several of one split are read together, unknown ones left with a note."""
    spec = save(
        **{
            "train.clean": genres(0),
            "train.other": genres(2),
            "dev": genres(4),
            "evaluation": genres(6),
            "unlabelled": genres(8),
        }
    )
    data = load(spec)
    assert {(e.id.split("/")[0], e.split) for e in data.examples} == {
        ("train.clean", "train"),
        ("train.other", "train"),
        ("dev", "validation"),
        ("evaluation", "test"),
    }
    assert data.notes == ("splits that are not used: unlabelled",)


def test_folds_of_a_set_with_one_split():
    """A column fold or split of a single split is used; beside named splits it is not, with a note, unless chosen."""
    assert [e.fold for e in load(save("one", train=genres(fold=[1, 2]))).examples] == [1, 2]
    spec = save("two", train=genres(fold=[1, 2]), test=genres(2, fold=[3, 3]))
    named = load(spec)
    assert [(e.fold, e.split) for e in named.examples] == [(None, "train")] * 2 + [(None, "test")] * 2
    assert named.notes == ("column fold is not used, as there are named splits",)
    assert [e.fold for e in load(spec + ":fold=fold").examples] == [1, 2, 3, 3]
    assert [e.split for e in load(save("col", full=genres(subset=["dev", "test"])) + ":split=subset").examples] == [
        "validation",
        "test",
    ]


def test_no_split_at_all():
    """The error names the splits that are there, and both ways out."""
    assert "its splits are called ['full'], and it has no column split or fold. Name splits train" in told(
        save(full=genres())
    )
    genres().save_to_disk("bare")
    assert "it has no splits, and it has no column split or fold" in told("datasets:bare")


def test_tables_of_several_data_sets():
    """Two configurations side by side are not mixed; one is named by its folder."""
    parquet("d/en/train-00000-of-00001.parquet", genres(0))
    parquet("d/fr/train-00000-of-00001.parquet", genres(2))
    assert "Name the folder of one: en, fr." in told("datasets:d")
    assert load("datasets:d/fr").name == "datasets:fr"
    parquet("f/train-00000-of-00002.parquet", genres(0))
    parquet("f/train-00001-of-00002.parquet", table({"audio": [cell(1)], "genre": ["jazz"]}))
    assert "are of one split but have different columns" in told("datasets:f")


# --- folders of audio


def test_folders_of_audio():
    """Labels are the names of folders, below those of splits; hidden files are passed over."""
    for name in ("train/dog/a.wav", "train/cat/b.wav", "test/dog/c.WAV", "train/dog/.hidden.wav"):
        Path("d", name).parent.mkdir(parents=True, exist_ok=True)
        Path("d", name).write_bytes(clip())
    data = load("datasets:d")
    assert sorted((e.group, e.references[0], e.split) for e in data.examples) == [
        ("test/dog/c.WAV", "dog", "test"),
        ("train/cat/b.wav", "cat", "train"),
        ("train/dog/a.wav", "dog", "train"),
    ]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_folders_with_metadata(form):
    """`metadata.csv` or `.jsonl` of each split lists files of its folder; an absent one is refused or counted."""
    for split in ("train", "test"):
        Path("d", split).mkdir(parents=True)
        Path("d", split, "a.wav").write_bytes(clip())
        rows = [{"file_name": "a.wav", "transcription": f"in {split}"}, {"file_name": "b.wav", "transcription": "gone"}]
        lines = (
            [",".join(rows[0]), *(",".join(row.values()) for row in rows)] if form == "csv" else map(json.dumps, rows)
        )
        Path("d", split, f"metadata.{form}").write_text("\n".join(lines) + "\n")
    assert "2 of 4 are not there" in told("datasets:d")
    data = load("datasets:d", allow_missing=True)
    assert (data.kind, len(data.missing)) == ("transcription", 2)
    assert sorted((e.group, e.references[0], e.split) for e in data.examples) == [
        ("test/a.wav", "in test", "test"),
        ("train/a.wav", "in train", "train"),
    ]
    Path("d/train", f"metadata.{form}").write_text(
        "file_name,answer\n../x.wav,y\n" if form == "csv" else '{"file_name": "../x.wav", "answer": "y"}\n'
    )
    assert "leads out of" in told("datasets:d")


# --- what is refused


def test_folders_that_cannot_be_used():
    """Absent, empty, with a script, damaged: one line each."""
    assert "no folder" in told("datasets:absent")
    Path("d").mkdir()
    assert "no data in" in told("datasets:d") and "save_to_disk" in told("datasets:d")
    Path("d/train.parquet").write_bytes(b"PAR1 and no more")
    assert "train.parquet' cannot be read (" in told("datasets:d")
    Path("d/d.py").write_text("raise SystemExit('ran')\n")
    assert "'d.py' in it may be a loading script, and palprobe runs no code" in told("datasets:d")
    save("s", train=genres())
    file = Path("s/train/data-00000-of-00001.arrow")
    file.write_bytes(file.read_bytes()[:200])
    assert "cannot be read (" in told("datasets:s")
    parquet("empty/train.parquet", genres().select([]))
    assert "no data in" in told("datasets:empty")


@pytest.mark.parametrize(
    ("seeds", "columns", "words"),
    [
        ([None, 0], {"answer": ["x", "y"]}, "no audio file 'train/0 (without audio)'; 1 of 2 are not there"),
        ([0, 1], {"captions": [["x"], []]}, "row 1 of 'train': captions '[]': expected a JSON list"),
        ([0, 1], {"answer": ["x", None]}, "row 1 of 'train': no label, labels, answer"),
        ([0, 1], {"answer": ["x", "y"], "id": [3, 3]}, "row 1 of 'train': id '3' already stands in row 0 of 'train'"),
        ([0], {"size": [3]}, "no column is known to hold the answers"),
        ([0], {"text": ["x"], "caption": ["y"]}, "several of its columns could hold the answers"),
        ([0], {"label": ["x"]}, "every row has the label 'x'"),
    ],
)
def test_rows_that_are_no_questions(seeds, columns, words):
    """What is wrong is said before anything is extracted, with the row."""
    audio = [None if seed is None else cell(seed) for seed in seeds]
    assert words in told(save(train=table({"audio": audio, **columns})))


def test_a_table_without_audio():
    """Its columns are listed with what they hold."""
    spec = save(train=table({"path": ["a.wav"], "answer": ["x"]}, audio=()))
    assert "no column holds audio. Its columns: path (text), answer (text). A table of paths is a manifest." in told(
        spec
    )


def test_labels_that_are_not_known():
    """-1 is no label; a number beyond the names is a fault of the file."""
    unknown = table({"audio": [cell(0), cell(1)], "label": [0, -1]}, label=ClassLabel(names=["a", "b"]))
    assert "row 1 of 'train': no label" in told(save(train=unknown))
    wrong = table({"audio": [cell(0)], "label": [5]})
    info = wrong.info.copy()
    info.features["label"] = ClassLabel(names=["a", "b"])
    parquet("w/train.parquet", Dataset(wrong.data, info=info))
    assert "row 0 of 'train', label: class label 5, but only 2 have names" in told("datasets:w")


def test_rows_without_audio_can_be_counted():
    """`data.allow_missing` counts them, as a manifest's absent files."""
    spec = save(train=table({"audio": [None, cell(0)], "answer": ["x", "y"]}))
    data = load(spec, allow_missing=True)
    assert ([e.id for e in data.examples], data.missing) == (["train/1"], ("train/0 (without audio)",))


def test_columns_that_are_not_there():
    """The nearest name is given."""
    spec = save(train=genres())
    assert "no column 'gener'. Did you mean 'genre'?" in told(spec + ":label=gener", UsageError)
    assert "no column 'genre' with audio" in told(spec + ":audio=genre")


# --- the library


def test_a_folder_is_read_once(monkeypatch):
    """As long as no file changes, nothing is read again, not even by the library; a clip that was deleted is."""
    spec = save(train=genres())
    first = load(spec)
    with monkeypatch.context() as patched:
        patched.setattr(hf_tables, "open_sources", None)
        assert load(spec) == first
    first.examples[0].audio.unlink()
    assert load(spec) == first and first.examples[0].audio.is_file()
    parquet("d2/train.parquet", genres())
    assert [e.audio for e in load("datasets:d2").examples] == [e.audio for e in first.examples]


def test_one_clip_in_two_splits_is_one_file():
    """Equal bytes are the same clip, so that training on what is tested is seen."""
    data = load(save(train=genres(0), test=genres(1)))
    assert data.examples[1].audio == data.examples[2].audio


def test_without_the_library(monkeypatch):
    """One line says what to install."""
    spec = save(train=genres())
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert told(spec).endswith("Run pip install 'palprobe[hf]'.")


def test_no_decoder_is_needed():
    """Reading a data set loads no torchcodec, and no torch for its sake."""
    spec = save(train=genres())
    program = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "from pathlib import Path\n"
        "from palprobe.specs import parse_task\n"
        "from palprobe.tasks import load_task\n"
        f"assert len(load_task(parse_task({spec!r}), data_root=None, cache=Path('c')).examples) == 2\n"
        "assert 'datasets' in sys.modules and 'torchcodec' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# --- the whole way


def test_from_a_folder_to_scores(palprobe):  # noqa: F811
    """`compare` trains on one split of a saved data set and scores the other."""

    def tones(first, count):
        rows = range(first, first + count)
        audio = [{"bytes": tone((300, 2000)[row % 2], row), "path": f"{row}.flac"} for row in rows]
        return table({"audio": audio, "pitch": [row % 2 for row in rows]}, pitch=ClassLabel(names=["low", "high"]))

    spec = save(train=tones(0, 12), test=tones(12, 4))
    code, out, err = palprobe("compare", "--tasks", spec, *QUICK, "--format", "json")
    assert code == 0, err
    assert {(row["task"], row["n"]) for row in json.loads(out)} == {("datasets:d", 4)}


@pytest.mark.parametrize(
    "features",
    [
        '{"info": {"features": {"label": 3}}}',  # a TypeError of the library
        '{"info": {"features": {"label": []}}}',  # an IndexError
        '{"info": {"features": {"label": {"_type": "Nobody"}}}}',  # a ValueError
        "{",  # no JSON
    ],
)
def test_features_that_are_written_otherwise_are_told_with_the_file(features):
    """However the library stumbles over what a table says of its columns, one line names the file."""
    Path("d").mkdir()
    table = pyarrow.table({"label": ["a", "b"]}).replace_schema_metadata({"huggingface": features})
    pyarrow.parquet.write_table(table, "d/train.parquet")
    assert "train.parquet' cannot be read (" in told("datasets:d")
