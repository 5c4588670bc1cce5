from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from palprobe.encoders import EncoderIdentity
from palprobe.encoders.options import stored_layers
from palprobe.errors import DataError, EncoderError, StoreError
from palprobe.features import decoding, extraction, identity
from palprobe.features.clips import ClipIndex
from palprobe.features.extraction import extract
from palprobe.features.identity import feature_identities
from palprobe.features.store import FeatureStore
from palprobe.recipe import Recipe, load_recipe
from palprobe.specs import EncoderSpec, parse_encoder
from palprobe.types import Example

RATE = 8000
BLOCK = 800  # samples that make a token of the fake encoder
SPEC = parse_encoder("logmel")


class Blocks:
    """A token of the last layer, 3, is (first sample of its block, number of the block): known by hand.

    Each layer before it is one higher.
    """

    sample_rate, frame_rate, dim, bands, kind = RATE, RATE / BLOCK, 2, 1, "general"
    min_samples, max_seconds, depth = BLOCK, None, 3

    def __init__(self) -> None:
        self.encoded: Counter[float] = Counter()  # by the first sample

    def num_tokens(self, num_samples: int) -> int:
        return num_samples // BLOCK

    def encode(self, waveforms: Sequence[Tensor], layers: Sequence[int]) -> list[Tensor]:
        self.encoded.update(float(waveform[0]) for waveform in waveforms)
        firsts = [waveform[: self.num_tokens(len(waveform)) * BLOCK : BLOCK] for waveform in waveforms]
        return [torch.stack([self.tokens(first) + 3 - layer for layer in layers]) for first in firsts]

    def tokens(self, firsts: Tensor) -> Tensor:
        return torch.stack([firsts, torch.arange(len(firsts))], dim=1)


def layers(spec: EncoderSpec) -> list[tuple[int, ...]]:
    return stored_layers(spec, Blocks.depth)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Blocks]:
    """Puts the fake encoder in the place of all others, and lists each time that it is loaded."""
    encoders: list[Blocks] = []

    def load(spec: Any, section: Any, *, device: str) -> Blocks:
        encoders.append(Blocks())
        return encoders[-1]

    monkeypatch.setattr(extraction, "load_encoder", load)
    monkeypatch.setattr(identity, "identify", lambda spec, _: EncoderIdentity({"name": "blocks"}, tuple(layers(spec))))
    return encoders


def recipe(*settings: str) -> Recipe:
    return load_recipe(settings=settings)


def clip(folder: Path, number: int, *, samples: int = 2 * BLOCK) -> Example:
    """A wav of constant value number/256, exact in 16 bit and in float16."""
    path = folder / f"{number}.wav"
    soundfile.write(path, np.full(samples, number / 256, np.float32), RATE)
    return Example(id=f"e{number}", group=str(number), audio=path, prompt="?", references=("a",))


def broken(folder: Path, name: str = "bad") -> Example:
    (folder / f"{name}.wav").write_bytes(b"no audio " + name.encode())
    return Example(id=name, group=name, audio=folder / f"{name}.wav", prompt="?", references=("a",))


def read(store_path: Path, example: Example, root: Path) -> Tensor:
    store = FeatureStore.open(root, extraction_identity())
    assert store.path == store_path
    return store.get(ClipIndex(root).key(example))


def extraction_identity(*settings: str) -> dict[str, Any]:
    (only,) = feature_identities(SPEC, recipe(*settings))
    return only.fields


def test_features_arrive(tmp_path: Path, loaded: list[Blocks]) -> None:
    """Each clip's features are those that its samples give by hand, in float16; a short clip is padded and counted."""
    examples = [clip(tmp_path, 1), clip(tmp_path, 2, samples=3 * BLOCK), clip(tmp_path, 3, samples=10)]
    seen: list[tuple[int, int]] = []
    outcome = extract([SPEC], examples, recipe(), tmp_path / "f", progress=lambda *done: seen.append(done))
    features = [read(outcome.stores[0], example, tmp_path / "f") for example in examples]
    assert features[0].tolist() == [[1 / 256, 0], [1 / 256, 1]] and features[0].dtype == torch.float16
    assert features[1].tolist() == [[2 / 256, 0], [2 / 256, 1], [2 / 256, 2]]
    assert features[2].tolist() == [[3 / 256, 0]]
    assert (outcome.found, outcome.used, outcome.dropped, outcome.padded) == (3, 3, 0, 1)
    assert (outcome.encoded, outcome.reused, outcome.failures, outcome.notes) == (3, 0, (), ())
    assert outcome.audio_seconds == pytest.approx((2 * BLOCK + 3 * BLOCK + 10) / RATE)
    assert seen[-1] == (3, 3)
    store = FeatureStore.open(tmp_path / "f", extraction_identity())
    assert (store.dim, store.frame_rate, store.kind, store.info["device"]) == (2, 10.0, "general", "cpu")


def test_many_questions_encode_once(tmp_path: Path, loaded: list[Blocks]) -> None:
    """Forty questions on two clips, one of them copied to a second path, cost two encodings."""
    one, two = clip(tmp_path, 1), clip(tmp_path, 2)
    (tmp_path / "copy.wav").write_bytes(one.audio.read_bytes())
    copy = replace(one, id="copy", audio=tmp_path / "copy.wav")
    examples = [replace(example, id=f"{example.id}-{n}") for n in range(20) for example in (one, two)] + [copy]
    outcome = extract([SPEC], examples, recipe(), tmp_path / "f")
    assert (outcome.found, outcome.encoded) == (2, 2)
    assert loaded[0].encoded == {1 / 256: 1, 2 / 256: 1}
    assert read(outcome.stores[0], copy, tmp_path / "f")[0, 0] == 1 / 256


def test_nothing_to_do_loads_nothing(tmp_path: Path, loaded: list[Blocks]) -> None:
    """A second extraction reuses all, a third with one new clip encodes that one alone."""
    examples = [clip(tmp_path, number) for number in range(1, 6)]
    extract([SPEC], examples, recipe("store.shard_items=2"), tmp_path / "f")
    again = extract([SPEC], examples, recipe(), tmp_path / "f")
    assert (again.encoded, again.reused, again.audio_seconds, len(loaded)) == (0, 5, 0, 1)
    more = extract([SPEC], [*examples, clip(tmp_path, 9)], recipe(), tmp_path / "f")
    assert (more.encoded, more.reused, len(loaded)) == (1, 5, 2)
    assert loaded[1].encoded == {9 / 256: 1}


def test_without_audio_features_serve(tmp_path: Path, loaded: list[Blocks]) -> None:
    """When all clips are stored the audio may be gone; a clip that is not stored needs it."""
    examples = [clip(tmp_path, number) for number in (1, 2)]
    extract([SPEC], examples, recipe(), tmp_path / "f")
    for example in examples:
        example.audio.unlink()
    assert extract([SPEC], examples, recipe(), tmp_path / "f").reused == 2
    with pytest.raises(DataError, match=r"2 audio files are gone .*1\.wav"):
        extract([SPEC], examples, recipe("store.dtype=float32"), tmp_path / "f")


def test_changed_audio_is_a_new_clip(tmp_path: Path, loaded: list[Blocks]) -> None:
    """A file with new content under the old name is encoded anew."""
    example = clip(tmp_path, 1)
    extract([SPEC], [example], recipe(), tmp_path / "f")
    soundfile.write(example.audio, np.full(BLOCK, 0.5, np.float32), RATE)
    outcome = extract([SPEC], [example], recipe(), tmp_path / "f")
    assert (outcome.encoded, outcome.reused) == (1, 0)
    assert read(outcome.stores[0], example, tmp_path / "f").tolist() == [[0.5, 0]]


def test_stretches_of_one_file(tmp_path: Path, loaded: list[Blocks]) -> None:
    """Start and end in seconds cut the file at its own rate."""
    path = tmp_path / "long.wav"
    soundfile.write(path, np.repeat(np.arange(10) / 256, BLOCK).astype(np.float32), RATE)  # 1 s, 0.1 s a value
    cuts = [(0.0, None), (0.0, 0.2), (0.5, 0.7), (0.9, None)]
    examples = [Example(f"e{n}", "g", path, "?", ("a",), (), *cut) for n, cut in enumerate(cuts)]
    outcome = extract([SPEC], examples, recipe(), tmp_path / "f")
    assert outcome.found == 4
    values = [[v * 256 for v in read(outcome.stores[0], e, tmp_path / "f")[:, 0].tolist()] for e in examples]
    assert values == [list(range(10)), [0, 1], [5, 6], [9]]


def test_losses_within_the_limit_are_counted(tmp_path: Path, loaded: list[Blocks]) -> None:
    """Undecodable files are recorded with a reason, not tried again unless asked, and counted each time."""
    examples = [clip(tmp_path, 1), broken(tmp_path), clip(tmp_path, 2)]
    first = extract([SPEC], examples, recipe("data.max_dropped=0.5"), tmp_path / "f")
    assert (first.found, first.dropped, first.used, first.encoded) == (3, 1, 2, 2)
    assert first.failures[0][:2] == ("bad", str(tmp_path / "bad.wav")) and "decode" in first.failures[0][2]
    second = extract([SPEC], examples, recipe("data.max_dropped=0.5"), tmp_path / "f")
    assert (second.dropped, second.reused, second.encoded, len(loaded)) == (1, 2, 0, 1)
    assert second.failures == first.failures
    third = extract([SPEC], examples, recipe("data.max_dropped=0.5"), tmp_path / "f", retry_failed=True)
    assert (third.dropped, third.reused, third.encoded, len(loaded)) == (1, 2, 0, 2)


def test_too_many_losses_stop(tmp_path: Path, loaded: list[Blocks]) -> None:
    """One of thirty is above 1 %: it stops with name, reason and remedy, and keeps what was encoded."""
    examples = [clip(tmp_path, number) for number in range(29)] + [broken(tmp_path)]
    remedy = r"1 of 30 clips .* data.max_dropped = 0.01 .*bad: Audio file .*--set data.max_dropped=0.034"
    with pytest.raises(DataError, match=remedy):
        extract([SPEC], examples, recipe(), tmp_path / "f")
    assert len(FeatureStore.open(tmp_path / "f", extraction_identity())) == 29  # those before it
    with pytest.raises(DataError, match=remedy):  # the second time at once, from the record
        extract([SPEC], examples, recipe(), tmp_path / "f")
    assert len(loaded) == 1
    outcome = extract([SPEC], examples, recipe("data.max_dropped=0.034"), tmp_path / "f")
    assert (outcome.used, outcome.dropped) == (29, 1)
    assert sum(sum(encoder.encoded.values()) for encoder in loaded) == 29


def test_a_mended_file_is_a_new_clip(tmp_path: Path, loaded: list[Blocks]) -> None:
    """A file that is replaced by a good one needs no retry: its bytes, and so its key, are others."""
    examples = [clip(tmp_path, 1), broken(tmp_path)]
    with pytest.raises(DataError):
        extract([SPEC], examples, recipe(), tmp_path / "f")
    soundfile.write(examples[1].audio, np.zeros(BLOCK, np.float32), RATE)
    assert extract([SPEC], examples, recipe(), tmp_path / "f").used == 2


def test_all_clips_undecodable(tmp_path: Path, loaded: list[Blocks]) -> None:
    """With every loss allowed, nothing but losses is still a result with counts."""
    outcome = extract([SPEC], [broken(tmp_path)], recipe("data.max_dropped=1"), tmp_path / "f")
    assert (outcome.used, outcome.dropped) == (0, 1)


def test_ctrl_c_keeps_what_is_complete(tmp_path: Path, loaded: list[Blocks]) -> None:
    """An interrupt writes the open shard and goes on up; the next run encodes the rest only."""
    examples = [clip(tmp_path, number) for number in range(40)]

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract([SPEC], examples, recipe(), tmp_path / "f", progress=interrupt)
    outcome = extract([SPEC], examples, recipe(), tmp_path / "f")
    assert (outcome.reused, outcome.encoded) == (1, 39)
    assert all(count == 1 for count in (loaded[0].encoded + loaded[1].encoded).values())


def test_decoding_stays_ahead_but_bounded(tmp_path: Path, loaded: list[Blocks], monkeypatch: Any) -> None:
    """While the first clip is encoded, no more waveforms wait than the limits allow."""
    monkeypatch.setattr(decoding, "AHEAD_CLIPS", 3)
    decoded: list[str] = []
    real = decoding.load_clip
    monkeypatch.setattr(decoding, "load_clip", lambda path, *cut: (decoded.append(path), real(path, *cut))[1])
    most: list[int] = []
    examples = [clip(tmp_path, number) for number in range(20)]
    extract([SPEC], examples, recipe(), tmp_path / "f", progress=lambda done, _: most.append(len(decoded) - done))
    assert max(most) <= 3 and len(decoded) == 20


def test_overflow_names_clip_and_remedy(tmp_path: Path, loaded: list[Blocks], monkeypatch: Any) -> None:
    """A feature beyond float16 stops the extraction; float32, another store, holds it."""
    monkeypatch.setattr(Blocks, "tokens", lambda self, firsts: torch.full((len(firsts), 2), 70000.0))
    with pytest.raises(StoreError, match=r"e1 reach 70000.*--set store.dtype=float32"):
        extract([SPEC], [clip(tmp_path, 1)], recipe(), tmp_path / "f")
    outcome = extract([SPEC], [clip(tmp_path, 1)], recipe("store.dtype=float32"), tmp_path / "f")
    store = FeatureStore.open(tmp_path / "f", extraction_identity("store.dtype=float32"))
    assert outcome.stores == (store.path,)
    features = store.get(next(iter(store)))
    assert features.dtype == torch.float32 and features.unique().item() == 70000.0


def test_a_bad_encoder_is_named_with_its_clip(tmp_path: Path, loaded: list[Blocks], monkeypatch: Any) -> None:
    """When an encoder breaks its contract, the message says on which clip it was working."""
    monkeypatch.setattr(Blocks, "tokens", lambda self, firsts: torch.full((len(firsts), 2), float("nan")))
    with pytest.raises(EncoderError, match="on the clip e1"):
        extract([SPEC], [clip(tmp_path, 1), clip(tmp_path, 2)], recipe(), tmp_path / "f")


def test_a_disk_too_small_is_told_before(tmp_path: Path, loaded: list[Blocks], monkeypatch: Any) -> None:
    """The estimate, 1 s at 10 Hz of 2 float16 numbers, is compared with the free space before anything is encoded."""
    usage = extraction.shutil.disk_usage(tmp_path)
    example = clip(tmp_path, 1, samples=RATE)
    monkeypatch.setattr(extraction.shutil, "disk_usage", lambda path: usage._replace(free=39))
    with pytest.raises(StoreError, match="need about"):
        extract([SPEC], [example], recipe(), tmp_path / "f")
    assert not loaded[0].encoded
    monkeypatch.setattr(extraction.shutil, "disk_usage", lambda path: usage._replace(free=40))
    assert extract([SPEC], [example], recipe(), tmp_path / "f").encoded == 1


def stored(root: Path, text: str, example: Example) -> list[list[list[float]]]:
    """What each store of a spec holds of a clip."""
    key = ClipIndex(root).key(example)
    identities = feature_identities(parse_encoder(text), recipe())
    return [FeatureStore.open(root, identity.fields).get(key).tolist() for identity in identities]


def test_all_layers_come_from_one_pass(tmp_path: Path, loaded: list[Blocks]) -> None:
    """`@all` fills a store for each layer, with the numbers known by hand, and encodes each clip once."""
    example = clip(tmp_path, 128)  # samples of 0.5
    outcome = extract([parse_encoder("logmel@all")], [example], recipe(), tmp_path / "f")
    assert len(outcome.stores) == 4 and sum(loaded[0].encoded.values()) == 1
    assert stored(tmp_path / "f", "logmel@all", example) == [
        [[0.5 + up, up], [0.5 + up, 1 + up]] for up in (3, 2, 1, 0)
    ]
    assert stored(tmp_path / "f", "logmel@2", example) == stored(tmp_path / "f", "logmel@all", example)[2:3]
    assert extract([parse_encoder("logmel@1")], [example], recipe(), tmp_path / "f").reused == 1


def test_a_mean_of_layers_is_a_store_of_its_own(tmp_path: Path, loaded: list[Blocks]) -> None:
    """`@mean:1-3` holds the average of three layers, and several specs of one encoder share the pass."""
    example = clip(tmp_path, 128)
    specs = [parse_encoder(text) for text in ("logmel@mean:1-3", "logmel@0", "logmel")]
    outcome = extract(specs, [example], recipe(), tmp_path / "f")
    assert len(outcome.stores) == 3 and sum(loaded[0].encoded.values()) == 1
    assert stored(tmp_path / "f", "logmel@mean:1-3", example) == [[[1.5, 1.0], [1.5, 2.0]]]
    assert stored(tmp_path / "f", "logmel@0", example) == [[[3.5, 3.0], [3.5, 4.0]]]


def test_a_layer_asked_for_later_is_added(tmp_path: Path, loaded: list[Blocks]) -> None:
    """What is there stays, the new layer's store gets all clips, losses included, so that each store stands alone."""
    examples = [clip(tmp_path, 1), broken(tmp_path)]
    allowed = recipe("data.max_dropped=0.5")
    extract([parse_encoder("logmel@3")], examples, allowed, tmp_path / "f")
    outcome = extract([parse_encoder("logmel@3"), parse_encoder("logmel@2")], examples, allowed, tmp_path / "f")
    assert (outcome.dropped, outcome.encoded) == (1, 1)
    for store in outcome.stores:
        assert len(list(store.glob("*.safetensors"))) == 1
        assert len(list(store.glob("failed-*.jsonl"))) >= 1


def test_no_examples(tmp_path: Path) -> None:
    """An empty task is an error."""
    with pytest.raises(DataError, match="no examples"):
        extract([SPEC], [], recipe(), tmp_path)


def test_other_libraries_are_noted(tmp_path: Path, loaded: list[Blocks], monkeypatch: Any) -> None:
    """Going on with another torch is allowed and told."""
    extract([SPEC], [clip(tmp_path, 1)], recipe(), tmp_path / "f")
    monkeypatch.setattr(extraction, "version", lambda library: "99")
    notes = extract([SPEC], [clip(tmp_path, 2)], recipe(), tmp_path / "f").notes
    assert any("(versions.torch: 2." in note and note.endswith("99 here)") for note in notes)
