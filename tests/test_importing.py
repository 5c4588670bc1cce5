"""features/importing: embeddings of other tools, in folders and tars, become features; bad ones are refused."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from palprobe.encoders.foreign.imported import Imported
from palprobe.encoders.options import stored_layers
from palprobe.errors import DataError, PalprobeError, StoreError, UsageError, WeightsError
from palprobe.features import archive
from palprobe.features.clips import ClipIndex
from palprobe.features.decoding import Work
from palprobe.features.importing import ImportedFeatures, import_features
from palprobe.features.losses import Losses
from palprobe.features.store import FeatureStore
from palprobe.recipe import EncoderSection, load_recipe
from palprobe.specs import EncoderSpec, parse_encoder
from palprobe.types import Example

RATE = 8000
SECTION = EncoderSection()


def example(folder: Path, name: str, seconds: float, *, start: float = 0.0, end: float | None = None) -> Example:
    """A wav whose bytes depend on its name."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    samples = 0.1 * np.random.default_rng(seed).normal(size=round(seconds * RATE))
    soundfile.write(path, samples, RATE)
    return Example(f"id-{name}-{start:g}", name, path, "?", ("a",), start_seconds=start, end_seconds=end)


def clips_of(examples: list[Example], root: Path = Path("features")) -> list[Work]:
    index = ClipIndex(root)
    return [Work(key, each, index.seconds(each)) for key, each in zip(index.keys(examples), examples, strict=True)]


def values(num_frames: int, dim: int = 3, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_frames, dim)).astype(dtype)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)  # what a stranger may have done
    return buffer.getvalue()


def tar(path: Path, contents: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def folder(path: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def spec_of(path: Path, rate: str = "20hz") -> EncoderSpec:
    return parse_encoder(f"imported:{rate}={path}")


def imported(
    spec: EncoderSpec, examples: list[Example], *settings: str
) -> tuple[FeatureStore, list[Work], ImportedFeatures, Losses]:
    """As extraction does it: match, make the store, import."""
    clips = clips_of(examples)
    recipe = load_recipe(settings=settings)
    features = ImportedFeatures(spec, clips)
    losses = Losses({}, found=len(clips), max_dropped=recipe.data.max_dropped)
    info = {"dim": features.dim, "frame_rate": features.frame_rate, "bands": features.bands, "kind": features.kind}
    store = FeatureStore.create(Path("features"), {"encoder": Imported.identify(spec, SECTION)}, info)
    import_features(features, clips, store, recipe, losses, progress=None)
    return store, clips, features, losses


LAYOUTS: dict[str, Callable[[Path, dict[str, np.ndarray]], Path]] = {
    "hear folder": lambda at, arrays: folder(
        at / "task",
        {f"fold00/{name}.wav.embedding.npy": npy(array) for name, array in arrays.items()}
        | {
            f"fold00/{name}.wav.timestamps.json": json.dumps([25.0 + 50 * t for t in range(len(array))]).encode()
            for name, array in arrays.items()
        }
        | {"fold00.embeddings.npy": b"a raw memory map, no .npy", "train.predicted-labels.json": b"{}"},
    ),
    "x-ares tar": lambda at, arrays: tar(
        at / "all.tar",
        {f"{name}.npy": npy(array) for name, array in arrays.items()}
        | {"one.json": b'{"label": 3}', "one.wav": b"RIFF"},
    ),
    "x-ares tar.gz": lambda at, arrays: tar(
        at / "all.tar.gz", {f"./{name}.npy": npy(array) for name, array in arrays.items()}, "w:gz"
    ),
    "folder of tars": lambda at, arrays: (
        tar(
            folder(at / "shards", {"readme.txt": b""}) / "0.tar",
            {f"{name}.npy": npy(array) for name, array in arrays.items()},
        ).parent
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_embeddings_become_features(tmp_path: Path, layout: str, dtype: str) -> None:
    """Each clip's features are the numbers that were saved under its name, in float16, in any order of files."""
    seconds = {"two": 2.0, "one.v2": 1.0, "three": 0.5}
    arrays = {
        name: values(round(20 * long), seed=number, dtype=dtype) for number, (name, long) in enumerate(seconds.items())
    }
    arrays["two"] = np.asfortranarray(arrays["two"])
    examples = [example(tmp_path, f"{name}.wav", long) for name, long in sorted(seconds.items())]
    path = LAYOUTS[layout](tmp_path, arrays | {"nobody": values(9)})
    store, clips, features, losses = imported(spec_of(path), examples)
    assert len(store) == 3 and not losses.failed and features.notes == []
    assert (store.dim, store.frame_rate, store.bands, store.kind) == (3, 20.0, 1, "general")
    for clip in clips:
        expected = arrays[clip.example.audio.stem].astype(np.float16)
        np.testing.assert_array_equal(store.get(clip.key).numpy(), expected)
        assert not store.padded(clip.key)


def test_identity_is_the_archive_and_the_rate(tmp_path: Path) -> None:
    """Any changed byte, another file, another rate make other features; the place of the archive does not."""

    def identity(path: Path, rate: str = "20hz") -> str:
        return json.dumps(Imported.identify(spec_of(path, rate), SECTION), sort_keys=True)

    contents = {"a.embedding.npy": npy(values(4)), "b.embedding.npy": npy(values(4, seed=1))}
    first = identity(folder(tmp_path / "one", contents))
    assert first == identity(folder(tmp_path / "two", contents)) == identity(tmp_path / "one", "20.0Hz")
    (tmp_path / "two" / "notes.txt").write_text("not read")
    assert first == identity(tmp_path / "two")
    others = [identity(tmp_path / "one", "25hz")]
    others.append(identity(folder(tmp_path / "three", contents | {"b.embedding.npy": npy(values(4, seed=2))})))
    others.append(identity(folder(tmp_path / "four", contents | {"a.timestamps.json": b"[0]"})))
    others.append(identity(tar(tmp_path / "five.tar", contents)))
    assert len({first, *others}) == 5
    tar(tmp_path / "six.tar", contents)
    assert identity(tmp_path / "six.tar") == others[-1]


def test_frames_past_the_end_are_left_out_and_told(tmp_path: Path) -> None:
    """Embeddings of a padded batch, all as long as its longest: those of shorter clips are cut to their clips."""
    examples = [example(tmp_path, f"{name}.wav", seconds) for name, seconds in (("a", 3.0), ("b", 1.0), ("c", 1.99))]
    path = tar(tmp_path / "padded.tar", {f"{name}.npy": npy(values(60, seed=ord(name))) for name in "abc"})
    store, clips, features, _ = imported(spec_of(path), examples)
    assert [store.num_tokens(clip.key) for clip in clips] == [60, 20, 40]
    np.testing.assert_array_equal(store.get(clips[1].key).numpy(), values(60, seed=ord("b"))[:20].astype(np.float16))
    assert (
        features.notes[0].startswith("2 of 3 embeddings")
        and "longer than their clips, by up to 2.00 s" in features.notes[0]
    )


def test_a_wrong_rate_is_refused(tmp_path: Path) -> None:
    """40 frames a second taken for 20: every embedding is twice too long; for 80: too short. The right one is named."""
    examples = [example(tmp_path, f"{name}.wav", seconds) for name, seconds in (("a", 3.0), ("b", 1.0))]
    path = tar(tmp_path / "all.tar", {"a.npy": npy(values(120)), "b.npy": npy(values(40))})
    with pytest.raises(
        DataError, match=r"All 2 embeddings .* about 40 frames per second, .* says 20\. Write imported:40hz="
    ):
        imported(spec_of(path), examples)
    with pytest.raises(
        DataError,
        match=r"No clip has an embedding .* that fits \(id-a\.wav-0: 120 frames for 3\.000 s, 40 per second\)",
    ):
        imported(spec_of(path, "80hz"), examples)
    assert len(imported(spec_of(path, "40hz"), examples)[0]) == 2


def test_timestamps_are_compared_with_the_rate(tmp_path: Path) -> None:
    """Timestamps of another rate, irregular ones, too few, or no numbers are refused."""
    examples = [example(tmp_path, "a.wav", 1.0)]
    regular = [25.0 + 50 * number for number in range(20)]
    cases = {
        "its timestamps say 20 frames per second": (regular, "21.5hz"),
        "its timestamps are not regular: 275 ms is followed by 310 ms": ([*regular[:6], 310.0, *regular[7:]], "20hz"),
        "has 20 frames and 19 timestamps": (regular[:-1], "20hz"),
        "is no JSON list of milliseconds": ({"a": 1}, "20hz"),
        "expected milliseconds from the begin": ([t / 1000 for t in regular], "20hz"),
    }
    for expected, (timestamps, rate) in cases.items():
        contents = {"a.embedding.npy": npy(values(20)), "a.timestamps.json": json.dumps(timestamps).encode()}
        with pytest.raises(DataError) as caught:
            imported(spec_of(folder(tmp_path / "hear", contents), rate), examples)
        assert expected in str(caught.value) and "hear/a." in str(caught.value) and "\n" not in str(caught.value)


def test_clips_without_an_embedding_are_counted_and_limited(tmp_path: Path) -> None:
    """Unmatched, ambiguous on either side, a stretch, too short: each with its reason; too many: nothing is written."""
    examples = [example(tmp_path, f"{number}.wav", 1.0) for number in range(3)]
    examples += [example(tmp_path, "missing.wav", 1.0), example(tmp_path, "twice.wav", 1.0)]
    examples += [example(tmp_path, "x/same.wav", 1.0), example(tmp_path, "y/same.wav", 1.0)]
    examples += [example(tmp_path, "part.wav", 1.0, start=0.2, end=0.6), example(tmp_path, "short.wav", 2.0)]
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    examples.append(Example("id-bad", "bad", tmp_path / "bad.wav", "?", ("a",)))
    names = ["0", "1", "2", "f/twice", "g/twice", "same", "part", "short", "bad"]
    path = folder(tmp_path / "hear", {f"{name}.embedding.npy": npy(values(20)) for name in names})
    with pytest.raises(
        DataError, match=r"1 of 10 clips .*data\.max_dropped = 0\.01 .*no embeddings are called 'missing'"
    ):
        imported(spec_of(path), examples)
    store = FeatureStore.open(Path("features"), {"encoder": Imported.identify(spec_of(path), SECTION)})
    assert len(store) == 0 and not store.failures()
    store, clips, _, losses = imported(spec_of(path), examples, "data.max_dropped=0.7")
    assert sorted(clip.example.id for clip in clips if clip.key in store) == ["id-0.wav-0", "id-1.wav-0", "id-2.wav-0"]
    reasons = {name: reason for name, _, reason in losses.failed.values()}
    assert reasons == {name: reason for name, _, reason in store.failures().values()}
    assert reasons == {
        "id-missing.wav-0": "no embeddings are called 'missing'",
        "id-twice.wav-0": "2 embeddings are called 'twice'",
        "id-x/same.wav-0": "2 clips are called 'same'",
        "id-y/same.wav-0": "2 clips are called 'same'",
        "id-part.wav-0.2": "it is a stretch of its file, an embedding is of the whole file",
        "id-short.wav-0": "20 frames for 2.000 s, 10 per second",
        "id-bad": "its audio cannot be decoded, so its length is not known",
    }


def test_nothing_matches(tmp_path: Path) -> None:
    """Names of both sides are shown where they do not meet at all."""
    path = tar(tmp_path / "all.tar", {"clip-1.npy": npy(values(20))})
    with pytest.raises(DataError, match=r"Embeddings there are called 'clip-1'; clips are called 'a'"):
        imported(spec_of(path), [example(tmp_path, "a.wav", 1.0)])


HEADER = b"\x93NUMPY\x01\x00"


def headed(header: bytes, data: bytes = b"") -> bytes:
    return HEADER + len(header).to_bytes(2, "little") + header + data


class Evil:
    """Leaves a file where it was unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (Path.touch, (Path("unpickled"),))  # type: ignore[return-value]


GOOD = npy(values(20))
BAD = {
    "pickle in npy": (npy(np.array([Evil()], dtype=object)), "holds '|O' of shape (1,); expected floats (T, D)"),
    "bare pickle": (pickle.dumps(Evil()), "is no .npy file of a plain array"),
    "scene embedding": (npy(values(20)[0]), "of shape (3,); expected floats (T, D). Scene embeddings have no time"),
    "rank": (npy(values(20)[None]), "of shape (1, 20, 3); expected floats (T, D)"),
    "scalar": (npy(np.array(1.0)), "of shape (); expected"),
    "empty": (npy(values(0)), "of shape (0, 3); expected floats"),
    "integers": (npy(np.ones((20, 3), int)), "holds '<i8' of shape (20, 3)"),
    "fields": (npy(np.zeros((20, 3), [("x", "f4")])), "is no .npy file of a plain array"),
    "NaN": (npy(np.full((20, 3), np.nan)), "holds 60 non-finite of 60 numbers"),
    "infinity": (npy(np.full((20, 3), np.inf)), "non-finite of 60 numbers"),
    "cut": (GOOD[:-1], "bytes; its header promises 368"),
    "longer": (GOOD + b"x", "has 369 bytes; its header promises 368"),
    "no file": (b"", "is no .npy file"),
    "promises": (
        headed(b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999, 768), }\n"),  # 83 bytes
        "its header promises 3071999999997011",
    ),
    "digits": (headed(b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * 9000 + b",), }"), "is no .npy"),
    "code": (headed(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, __import__('os')), }"), "is no .npy"),
    "long header": (b"\x93NUMPY\x02\x00" + (1 << 31).to_bytes(4, "little") + b"x", "is no .npy file"),
    "version": (b"\x93NUMPY\x09\x00" + GOOD[8:], "is no .npy file"),
}


@pytest.mark.parametrize("kind", ["tar", "folder"])
@pytest.mark.parametrize("fault", BAD)
def test_bad_embeddings_are_refused(tmp_path: Path, fault: str, kind: str) -> None:
    """One line that names the file, nothing is executed, and a file that no clip asks for does not matter."""
    content, expected = BAD[fault]
    examples = [example(tmp_path, "a.wav", 1.0), example(tmp_path, "b.wav", 1.0)]
    contents = {"a.npy": content, "b.npy": GOOD}
    path = tar(tmp_path / "all.tar", contents) if kind == "tar" else folder(tmp_path / "all", contents)
    with pytest.raises(DataError) as caught:
        imported(spec_of(path), examples)
    message = str(caught.value)
    assert expected in message and "a.npy" in message and "\n" not in message
    assert not Path("unpickled").exists()
    assert len(imported(spec_of(path), examples[1:])[0]) == 1


def test_too_large_an_embedding_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size that the tar gives is looked at first."""
    monkeypatch.setattr(archive, "MAX_ARRAY_BYTES", 300)
    path = tar(tmp_path / "all.tar", {"a.npy": GOOD})
    with pytest.raises(DataError, match="has 368 bytes; expected at most 300 for one clip"):
        imported(spec_of(path), [example(tmp_path, "a.wav", 1.0)])


def test_two_sizes_do_not_mix(tmp_path: Path) -> None:
    """Embeddings of 3 and of 4 numbers are from two encoders; both files are named."""
    path = tar(tmp_path / "all.tar", {"a.npy": npy(values(20)), "b.npy": npy(values(20, dim=4))})
    with pytest.raises(DataError, match=r"'a\.npy' has 3 numbers a frame and .*'b\.npy' has 4"):
        imported(spec_of(path), [example(tmp_path, f"{name}.wav", 1.0) for name in "ab"])


def test_numbers_beyond_float16_name_the_remedy(tmp_path: Path) -> None:
    """70000 does not fit; a float32 store takes it."""
    path = tar(tmp_path / "all.tar", {"a.npy": npy(np.full((20, 3), 70000.0, np.float32))})
    examples = [example(tmp_path, "a.wav", 1.0)]
    with pytest.raises(StoreError, match=r"reach 70000, .* --set store\.dtype=float32"):
        imported(spec_of(path), examples)
    store, clips, _, _ = imported(spec_of(path), examples, "store.dtype=float32")
    assert store.get(clips[0].key).unique().tolist() == [70000.0]


def test_links_lead_nowhere(tmp_path: Path) -> None:
    """A link in a tar, and one out of a folder, are refused; nothing of a tar is written to the disk."""
    secret = tmp_path / "secret.npy"
    secret.write_bytes(GOOD)
    with tarfile.open(tmp_path / "link.tar", "w") as file:
        info = tarfile.TarInfo("a.npy")
        info.type, info.linkname = tarfile.SYMTYPE, str(secret)
        file.addfile(info)
    examples = [example(tmp_path, "a.wav", 1.0)]
    with pytest.raises(DataError, match=r"'a\.npy' is a link, a folder or a device; expected a file"):
        imported(spec_of(tmp_path / "link.tar"), examples)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a.npy").symlink_to(secret)
    with pytest.raises(WeightsError, match="is a link out of the archive"):
        imported(spec_of(tmp_path / "linked"), examples)
    escaping = tar(tmp_path / "up.tar", {"../../a.npy": GOOD, "/tmp/a-palprobe.npy": GOOD})
    assert len(imported(spec_of(escaping), examples)[0]) == 1
    assert not (tmp_path.parent / "a.npy").exists() and not Path("/tmp/a-palprobe.npy").exists()


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_damaged_tars_are_named(tmp_path: Path, mode: str) -> None:
    """Cut at any of many places, or with bytes that are no tar: one line, whichever step meets it."""
    suffix = ".tar.gz" if mode == "w:gz" else ".tar"
    contents = {f"{name}.npy": npy(values(400, seed=ord(name))) for name in "abc"}
    whole = tar(tmp_path / f"whole{suffix}", contents, mode).read_bytes()
    examples = [example(tmp_path, f"{name}.wav", 20.0) for name in "abc"]
    path = tmp_path / f"cut{suffix}"
    for part in (0.0, 0.1, 0.3, 0.5, 0.7):
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(PalprobeError) as caught:
            imported(spec_of(path), examples)
        assert f"cut{suffix}" in str(caught.value) and "\n" not in str(caught.value)
    path.write_bytes(b"x" * 2000)
    with pytest.raises(DataError, match="is no tar, or is damaged"):
        imported(spec_of(path), examples)


def test_an_archive_that_changes_is_noticed(tmp_path: Path) -> None:
    """An embedding that was there when names were matched and is gone afterwards."""
    clips = clips_of([example(tmp_path, f"{name}.wav", 1.0) for name in "ab"])
    path = tar(tmp_path / "all.tar", {"a.npy": GOOD, "b.npy": GOOD})
    features = ImportedFeatures(spec_of(path), clips)
    store = FeatureStore.create(Path("features"), {}, {"dim": 3, "frame_rate": 20.0, "bands": 1, "kind": "general"})
    tar(path, {"a.npy": GOOD})
    losses = Losses({}, found=2, max_dropped=0)
    with pytest.raises(DataError, match="was changed while it was read"):
        import_features(features, clips, store, load_recipe(), losses, progress=None)


def test_only_what_is_missing_is_imported(tmp_path: Path) -> None:
    """Clips that the store has are not read again; progress counts all of them."""
    clips = clips_of([example(tmp_path, f"{name}.wav", 1.0) for name in "abc"])
    path = tar(tmp_path / "all.tar", {f"{name}.npy": GOOD for name in "abc"})
    features = ImportedFeatures(spec_of(path), clips)
    store = FeatureStore.create(Path("features"), {}, {"dim": 3, "frame_rate": 20.0, "bands": 1, "kind": "general"})
    seen: list[tuple[int, int]] = []
    losses = Losses({}, found=3, max_dropped=0)
    import_features(features, clips[1:], store, load_recipe(), losses, progress=lambda *done: seen.append(done))
    assert clips[0].key not in store and len(store) == 2
    assert seen == [(2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("imported", "write imported:RATEhz=ARCHIVE"),
        ("imported:20hz", "write imported:RATEhz=ARCHIVE"),
        ("imported=all.tar", "write imported:RATEhz=ARCHIVE"),
        ("imported:0hz=all.tar", "write imported:RATEhz=ARCHIVE"),
        ("imported:fast=all.tar", "write imported:RATEhz=ARCHIVE"),
        ("random:imported:20hz=all.tar", "has no weights"),
        ("imported:20hz=nowhere.tar", "'nowhere.tar' is neither a folder nor a tar"),
        ("imported:20hz=all.zip", "'all.zip' is neither a folder nor a tar"),
        ("imported:20hz=empty", "holds neither .npy files nor tars"),
    ],
)
def test_a_spec_that_cannot_work_is_one_line(text: str, expected: str) -> None:
    """Refused before any work, with what to write."""
    Path("all.zip").touch()
    Path("empty").mkdir()
    with pytest.raises((UsageError, WeightsError)) as caught:
        Imported.identify(parse_encoder(text), SECTION)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_it_encodes_nothing(tmp_path: Path) -> None:
    """Loading it as an encoder is refused; it has no layers, and says where it is from."""
    path = tar(tmp_path / "all.tar", {"a.npy": GOOD})
    with pytest.raises(UsageError, match="holds features and encodes nothing"):
        Imported.load(spec_of(path), SECTION, device="cpu")
    assert stored_layers(spec_of(path), Imported.depth_of(spec_of(path), SECTION)) == [(0,)]
    assert Imported.origin(spec_of(path), SECTION) == {"weights": f"unknown; features imported from {path}"}
