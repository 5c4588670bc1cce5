"""encoders/hf and weights: Whisper against transformers by hand, where weights are found, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_encoders import SECTION, clip, features, tiny_whisper

from palprobe.encoders import identify, load_encoder
from palprobe.errors import WeightsError
from palprobe.recipe import EncoderSection, parse_encoder


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    tiny_whisper(folder)
    return folder


@pytest.mark.parametrize(("suffix", "index"), [("", -1), ("@0", 0), ("@1", 1), ("@2", 2)])
def test_local_whisper_equals_transformers_by_hand(whisper_folder: Path, suffix: str, index: int) -> None:
    """The folder's encoder gives what WhisperModel gives on the same 2 s window: 43 valid tokens of 0.85 s."""
    from transformers import WhisperFeatureExtractor, WhisperModel

    waveform = clip(0.85, 16_000)
    mels = WhisperFeatureExtractor(chunk_length=2)(waveform.numpy(), sampling_rate=16_000, return_tensors="pt")
    model = WhisperModel.from_pretrained(whisper_folder).eval()
    with torch.no_grad():
        hidden = model.get_encoder()(mels.input_features, output_hidden_states=True).hidden_states[index][0]
    found = features(load_encoder(parse_encoder(f"whisper={whisper_folder}{suffix}"), SECTION), waveform)
    assert found.shape == (43, 32)  # ceil(0.85 s x 50 Hz)
    torch.testing.assert_close(found, hidden[:43], rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["tiny", "base", "small", "medium.en", "large-v2", "large-v3", "large-v3-turbo"])
def test_untrained_whisper_has_the_published_size(variant: str) -> None:
    """Width, depth and mel bands are those of the paper's table (and of the third generation, 128 bands)."""
    published = {
        "tiny": (384, 4, 80), "base": (512, 6, 80), "small": (768, 12, 80), "medium.en": (1024, 24, 80),
        "large-v2": (1280, 32, 80), "large-v3": (1280, 32, 128), "large-v3-turbo": (1280, 32, 128),
    }  # fmt: skip
    found = identify(parse_encoder(f"random:whisper:{variant}"), SECTION)
    assert (found["d_model"], found["encoder_layers"], found["num_mel_bins"]) == published[variant]


def test_untrained_whisper_follows_its_seed() -> None:
    """Another init seed gives other features."""
    waveform, spec = clip(0.5, 16_000), parse_encoder("random:whisper:tiny")
    one, other = (load_encoder(spec, EncoderSection(init_seed=seed, untrained_window_seconds=1)) for seed in (0, 1))
    assert not torch.allclose(features(one, waveform), features(other, waveform), atol=0.1)


@pytest.mark.parametrize("offline", [True, False])
def test_weights_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool) -> None:
    """Offline, or with a hub that refuses connections: one line with file, hub id, command and control."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))  # read from HF_HOME when the library is imported
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError) as caught:
        identify(parse_encoder("whisper"), SECTION)
    message = str(caught.value)
    wanted = ["model.safetensors", "openai/whisper-small", "`hf download openai/whisper-small`", "random:whisper:small"]
    assert [text for text in wanted if text not in message] == []
    assert ("HF_HUB_OFFLINE is set" in message) == offline
    assert "\n" not in message


def test_weights_in_the_hub_cache_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot that is in the cache needs no network, and tells its revision."""
    from huggingface_hub import constants

    from palprobe.encoders import hf

    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--openai--whisper-tiny"
    tiny_whisper(repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    shape = hf.WhisperShape(32, 2, 2, 64, max_source_positions=100)
    monkeypatch.setitem(hf.SHAPES, "tiny", shape)  # the saved one is smaller than the published one
    spec = parse_encoder("whisper:tiny")
    assert load_encoder(spec, SECTION).dim == 32
    assert hf.Whisper.origin(spec, SECTION) == {"weights": "openai/whisper-tiny", "revision": revision}


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def drop_weight(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["model.encoder.conv1.weight"], tensors["model.encoder.layers.1.fc1.bias"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "bin only": (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "Only safetensors are read"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "torn config": (lambda f: (f / "config.json").write_text("{"), "not JSON"),
    "another model": (lambda f: edit_config(f, model_type="bert"), "'bert' model; expected 'whisper'"),
    "missing keys": (drop_weight, "conv1.weight, layers.1.fc1.bias"),
    "other shape": (lambda f: edit_config(f, encoder_ffn_dim=128), "layers.0.fc1.weight"),
    "torn weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:5000]),
        "damaged",
    ),
    "other front end": (
        lambda f: (f / "preprocessor_config.json").write_text('{"hop_length": 128}'),
        "hop_length is 128; expected 160",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_that_cannot_work_is_one_line(tmp_path: Path, damage: str) -> None:
    """A WeightsError that names the file, and the missing weights where some are: never random weights silently."""
    tiny_whisper(tmp_path)
    harm, expected = DAMAGES[damage]
    harm(tmp_path)
    with pytest.raises(WeightsError) as caught:
        load_encoder(parse_encoder(f"whisper={tmp_path}"), SECTION)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_variant_must_fit_the_folder(whisper_folder: Path) -> None:
    """whisper:tiny=FOLDER with a smaller model inside is refused, since the name would be a lie in every table."""
    with pytest.raises(WeightsError, match="is not whisper:tiny"):
        identify(parse_encoder(f"whisper:tiny={whisper_folder}"), SECTION)
