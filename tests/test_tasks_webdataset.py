"""`wds:SHARDS`: samples of plain webdataset shards become examples as a manifest's rows do, split by their names."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tar_shards import RATE, clip, samples, tar_bytes, write_shard
from test_bad_input import QUICK, palprobe  # noqa: F401 - a fixture

from palprobe.errors import DataError, UsageError
from palprobe.specs import parse_task
from palprobe.tasks import load_task, shards

CACHE = Path("features/stimuli")


def load(spec, **options):
    return load_task(parse_task(spec), data_root=None, cache=CACHE, **options)


def told(spec, error=DataError, **options):
    """The message of what is refused; one line."""
    with pytest.raises(error) as caught:
        load(spec, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def pair(key, content, suffix, seed=0):
    """A clip and one file of that name beside it."""
    text = content if isinstance(content, bytes) else content.encode()
    return [(f"{key}.wav", clip(seed=seed)), (f"{key}{suffix}", text)]


# --- what a sample says


def test_a_sample_is_a_row_of_a_manifest():
    """The JSON's columns are a manifest's: answer, id, group, prompt, choices; the rest is meta, numbers as text."""
    row = {"answer": "a dog", "choices": ["a dog", "a cat"], "prompt": "Who?", "id": "q1", "group": "rec 7", "snr": 3}
    write_shard(Path("d/train.tar"), samples([row]))
    write_shard(Path("d/test.tar"), samples([{**row, "id": "q2", "group": "rec 8", "audio": "elsewhere.wav"}], start=1))
    data = load("wds:d")
    second, first = data.examples  # shards in the order of their names
    assert (data.name, data.kind, data.folds) == ("wds:d", "multiple-choice", ())
    assert (first.id, first.group, first.prompt, first.split) == ("q1", "rec 7", "Who?", "train")
    assert (first.references, first.choices, first.meta) == (("a dog",), ("a dog", "a cat"), {"snr": "3"})
    assert (second.id, second.split) == ("q2", "test")
    assert first.audio.read_bytes() == clip(0.2, 0) and second.audio.read_bytes() == clip(0.2, 1)


def test_cls_is_a_label_and_txt_a_caption():
    """Without a JSON, `.cls` gives the label and `.txt` one caption, bars and all; `:transcript=txt` says otherwise."""
    write_shard(Path("c/train.tar"), pair("a", "dog\n", ".cls") + pair("b", "3", ".cls", 1))
    labels = load("wds:c/train.tar")
    assert [(e.id, e.references) for e in labels.examples] == [("train/a", ("dog",)), ("train/b", ("3",))]
    assert (labels.kind, labels.examples[0].choices) == ("classification", ("3", "dog"))
    write_shard(Path("t/train.tar"), pair("a", "A dog | barks\n twice.", ".txt"))
    captions, spoken = load("wds:t"), load("wds:t:transcript=txt")
    assert (captions.kind, captions.examples[0].references) == ("captioning", ("A dog | barks twice.",))
    assert (spoken.kind, spoken.examples[0].references) == ("transcription", ("A dog | barks twice.",))
    assert spoken.name == "wds:t:transcript=txt"


def test_a_column_of_the_json_can_be_chosen():
    """`:captions=text` takes a list under another name, and `:group=rec` the group; several may be given."""
    write_shard(Path("t/train.tar"), samples([{"text": ["one", "two"], "rec": "r1"}]))
    (example,) = load("wds:t:captions=text:group=rec").examples
    assert (example.references, example.group, example.meta) == (("one", "two"), "r1", {})


def test_an_answer_in_the_json_goes_before_the_files_beside_it():
    """A label in the JSON is the label; the text beside it is kept as meta."""
    members = samples([{"label": "dog"}, {"label": "cat"}])
    write_shard(Path("t/train.tar"), [*members, ("s0.txt", b"a caption"), ("s1.txt", b"another")])
    data = load("wds:t")
    assert [(e.references, e.meta) for e in data.examples] == [
        (("dog",), {"txt": "a caption"}),
        (("cat",), {"txt": "another"}),
    ]


# --- splits


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train-000.tar", "train"),
        ("esc_training.000.tar", "train"),
        ("valid-0.tar", "validation"),
        ("dev-clean.tar.gz", "validation"),
        ("validation/000.tar", "validation"),
        ("eval_segments/000.tar", "test"),
        ("test/000.tgz", "test"),
        ("train/dev-000.tar", "validation"),
    ],
)
def test_splits_are_said_by_names(path, split):
    """A word of the shard's name says the split, else a word of its folder's."""
    write_shard(Path("d") / path, samples([{"answer": "yes"}]))
    assert [example.split for example in load("wds:d").examples] == [split]


def test_folds_and_splits_of_the_json():
    """A fold stands instead of any split, and the JSON's split, under any usual name, where names say nothing."""
    write_shard(Path("d/train.tar"), samples([{"label": "a", "fold": 1}, {"label": "b", "fold": 2}]))
    assert [(e.fold, e.split) for e in load("wds:d/train.tar").examples] == [(1, None), (2, None)]
    write_shard(Path("e/all.tar"), samples([{"answer": "a", "split": "valid"}, {"answer": "b", "split": "test"}]))
    assert [e.split for e in load("wds:e/all.tar").examples] == ["validation", "test"]


def test_a_split_that_nothing_or_two_things_say():
    """No word of a name: the error says how to name it; a JSON that contradicts its shard is refused too."""
    write_shard(Path("d/000.tar"), samples([{"answer": "yes"}]))
    assert "nothing says its split. Name shards or their folders train, validation" in told("wds:d")
    write_shard(Path("d/000.tar"), samples([{"answer": "yes", "split": "later"}]))
    assert "split 'later' is none of train, validation, test" in told("wds:d")
    write_shard(Path("e/train.tar"), samples([{"answer": "yes", "split": "test"}]))
    assert "its split is 'test', though its place says train" in told("wds:e")
    write_shard(Path("f/train_test.tar"), samples([{"answer": "yes"}]))
    assert "nothing says its split" in told("wds:f")


# --- patterns


def test_patterns_and_their_short_names():
    """Braces and wildcards start at the working directory; ids of like-named shards take their folders along."""
    for split in ("train", "test"):
        for number in range(2):
            start = number + 2 * (split == "test")
            write_shard(Path(f"d/{split}/{number}.tar"), samples([{"answer": "yes"}], start=start))
    assert load("wds:d/{train,test}/{0..1}.tar").name == "wds:d/{train,test}/{0..1}.tar"
    data = load("wds:d/*/0.tar")
    assert [(e.id, e.split) for e in data.examples] == [("test/0/s2", "test"), ("train/0/s0", "train")]
    assert load("wds:" + str(Path("d/train/1.tar").absolute())).name == "wds:1.tar"


def test_names_that_lead_nowhere():
    """An absent folder or file, a folder without shards, an address, an unknown column: one line each."""
    Path("empty").mkdir()
    assert "no file 'absent'" in told("wds:absent")
    assert "no .tar or .tar.gz or .tgz below 'empty'" in told("wds:empty")
    assert "is an address. Fetch its shards" in told("wds:https://host.example/x.tar", UsageError)
    write_shard(Path("d/train.tar"), samples([{"answer": "yes"}]))
    assert "'lable' is no column of a manifest. Did you mean 'label'?" in told("wds:d:lable=answer", UsageError)
    assert "no column 'anser'. Did you mean 'answer'?" in told("wds:d:label=anser", UsageError)
    assert "the audio of a shard is a file in it" in told("wds:d:audio=answer", UsageError)
    write_shard(Path("none/train.tar"), [])
    assert "hold no sample" in told("wds:none")


# --- what is refused


def test_several_columns_that_could_hold_the_answers():
    """Two of a manifest's columns, or none: the error lists all columns and how to choose."""
    write_shard(Path("d/train.tar"), samples([{"label": "dog", "transcript": "woof", "rec": 1}]))
    message = told("wds:d")
    assert "several of its columns could hold the answers" in message and "wds:d:label=label" in message
    assert "Its columns: ['label', 'rec', 'transcript']" in message
    assert load("wds:d:transcript=transcript").kind == "transcription"
    write_shard(Path("e/train.tar"), samples([{"rec": 1}]))
    assert "no column is known to hold the answers" in told("wds:e")
    assert "a task has one kind of answer" in told("wds:d:label=label:transcript=transcript", UsageError)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("b.wav", b"1"), ("b.flac", b"2"), ("b.json", b'{"answer": "x"}')], "two audio files, .wav and .flac"),
        (pair("b", "[1, 2]", ".json"), "its .json is no JSON object"),
        (pair("b", "{", ".json"), "its .json is no JSON object"),
        (pair("b", b"\xff\xfe", ".txt"), "its .txt is no text in UTF-8"),
        (pair("b", '{"answer": ["x"]}', ".json"), "answer holds a list; one value was expected"),
        (pair("b", '{"answer": " "}', ".json"), "no label, labels, answer, captions or transcript"),
        (pair("b", '{"answer": "x", "id": "one"}', ".json"), "id 'one' already stands in sample 's0'"),
        ([("b.json", b'{"answer": "x"}')], "no audio file 'train/b (without audio)'; 1 of 2 are not there"),
    ],
)
def test_samples_that_are_no_questions(members, words):
    """What is wrong with one sample stops before anything is extracted, and names shard and sample."""
    write_shard(Path("d/train.tar"), [*samples([{"answer": "y", "id": "one"}]), *members])
    message = told("wds:d")
    assert words in message and "d/train.tar', sample 'b': " in message


def test_an_empty_list_of_captions():
    """A caption is needed, as in a manifest."""
    write_shard(Path("d/train.tar"), samples([{"captions": ["a"]}, {"captions": []}]))
    assert "sample 's1': captions '[]': expected a JSON list of texts" in told("wds:d")


def test_samples_without_audio_can_be_counted():
    """`data.allow_missing` counts them beside every score, as a manifest's absent files."""
    write_shard(Path("d/train.tar"), [*samples([{"answer": "y"}]), ("b.json", b'{"answer": "x"}')])
    data = load("wds:d", allow_missing=True)
    assert (len(data.examples), data.missing) == (1, ("train/b (without audio)",))


def test_unsafe_and_cut_shards_are_refused():
    """Links, devices and escaping names are refused as in any shard, and a tar that was cut is named."""
    for kind in (tarfile.SYMTYPE, tarfile.CHRTYPE):
        member = tarfile.TarInfo("x.wav")
        member.type, member.linkname = kind, "/etc/passwd"
        write_shard(Path("d/train.tar"), [*samples([{"answer": "y"}]), member])
        assert "is a link, a device or a pipe" in told("wds:d")
    write_shard(Path("d/train.tar"), [("../x.wav", b"1")])
    assert "leads out of the shard" in told("wds:d")
    Path("d/train.tar").write_bytes(tar_bytes(samples([{"answer": "y"}]))[:2000])
    assert "cut short or damaged" in told("wds:d")


def test_shards_are_unpacked_once(monkeypatch):
    """The second reading finds the first one's files; a cache from before texts were kept is filled again."""
    write_shard(Path("d/train.tar"), pair("a", "A dog.", ".txt"))
    first = load("wds:d").examples
    (index,) = Path("features/shards").glob("*/samples.json")
    with monkeypatch.context() as patched:
        patched.setattr(shards, "for_each_member", None)
        assert load("wds:d").examples == first
    rows = json.loads(index.read_text())
    del rows["samples"][0]["texts"]
    index.write_text(json.dumps(rows))
    assert load("wds:d").examples == first


# --- the whole way


def tone(hertz, seed):
    """The bytes of a tone in some noise, as FLAC."""
    times = np.arange(RATE // 2) / RATE
    noise = np.random.default_rng(seed).normal(size=len(times))
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.3 * np.sin(2 * np.pi * hertz * times) + 0.01 * noise, RATE, format="FLAC")
    return buffer.getvalue()


def test_from_shards_to_scores(palprobe):  # noqa: F811
    """`compare` reads quoted braces, trains on one shard and scores the other; the task is called as it was written."""
    for split, count, first in (("train", 12, 0), ("test", 4, 12)):
        members = []
        for number in range(first, first + count):
            label = ("low", "high")[number % 2]
            members += [
                (f"{number}.flac", tone(300 if label == "low" else 2000, number)),
                (f"{number}.cls", label.encode()),
            ]
        write_shard(Path(f"d/{split}-0.tar"), members)
    code, out, err = palprobe("compare", "--tasks", '"wds:d/{train,test}-0.tar"', *QUICK, "--format", "json")
    assert code == 0, err
    rows = [row for row in json.loads(out) if row["metric"] == "accuracy"]
    assert {(row["task"], row["n"]) for row in rows} == {("wds:d/{train,test}-0.tar", 4)}
