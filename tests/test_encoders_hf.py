"""encoders/hf: Whisper against transformers by hand, untrained controls, identity, and where weights are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hf_folders import FRONT_END, SECTION, WEIGHTS, drop, edit, refusal
from hf_oracles import clip, load, tokens
from small_encoders import quiet, save_small

from palprobe.encoders.hf import HFEncoder
from palprobe.errors import UsageError
from palprobe.recipe import EncoderSection
from palprobe.specs import parse_encoder


def identity(text: str, **section: float) -> dict[str, Any]:
    return HFEncoder.identify(parse_encoder(text), EncoderSection(**{"untrained_window_seconds": 2.0, **section}))


def short_whisper(folder: Path) -> Any:
    """A Whisper with a window of 2 s and no front-end file, saved as the hub's folders are."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(
        d_model=32, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=64, max_source_positions=100,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=64, vocab_size=100, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(3)
        model = WhisperForConditionalGeneration(config)
        model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_local_whisper_equals_transformers_by_hand(tmp_path: Path, layer: int) -> None:
    """The folder's encoder gives what WhisperModel gives on the same 2 s window: 43 valid tokens of 0.85 s."""
    from transformers import WhisperFeatureExtractor

    model = short_whisper(tmp_path).eval()
    waveform = clip(0.85, 16_000)
    mels = WhisperFeatureExtractor(chunk_length=2)(waveform.numpy(), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        hidden = model.get_encoder()(mels.input_features, output_hidden_states=True).hidden_states[layer][0]
    found = tokens(load(f"whisper={tmp_path}"), waveform)
    assert found.shape == (3, 43, 32)  # ceil(0.85 s x 50 Hz)
    torch.testing.assert_close(found[layer], hidden[:43], rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["tiny", "base", "small", "medium.en", "large-v2", "large-v3", "large-v3-turbo"])
def test_untrained_whisper_has_the_published_size(variant: str) -> None:
    """Width, depth and mel bands are those of the paper's table (and of the third generation, 128 bands)."""
    published = {
        "tiny": (384, 4, 80), "base": (512, 6, 80), "small": (768, 12, 80), "medium.en": (1024, 24, 80),
        "large-v2": (1280, 32, 80), "large-v3": (1280, 32, 128), "large-v3-turbo": (1280, 32, 128),
    }  # fmt: skip
    found = identity(f"random:whisper:{variant}")["config"]
    assert (found["d_model"], found["encoder_layers"], found["num_mel_bins"]) == published[variant]


@pytest.mark.parametrize("name", ["whisper=", "qwen2-audio=", "clap="])
def test_untrained_control_of_a_folder(tmp_path: Path, name: str) -> None:
    """random:NAME=FOLDER has the folder's sizes and front end, other weights, those of its seed, and a short window."""
    save_small(name[:-1], tmp_path)
    encoders = [
        HFEncoder.load(parse_encoder(text), EncoderSection(init_seed=seed, untrained_window_seconds=1.0), device="cpu")
        for text, seed in ((f"{name}{tmp_path}", 0), *((f"random:{name}{tmp_path}", seed) for seed in (0, 0, 1)))
    ]
    trained, one, again, other = (tokens(encoder, clip(0.5, encoder.sample_rate)) for encoder in encoders)
    assert torch.equal(one, again)
    assert trained.shape == one.shape
    assert min((one - trained).abs().max(), (one - other).abs().max()) > 0.01
    assert [encoder.max_seconds for encoder in encoders[:2]] == ([10.0, 10.0] if name == "clap=" else [30.0, 1.0])


def test_identity_changes_with_what_decides_the_output(tmp_path: Path) -> None:
    """Seed, window, size, weights, front end and family each change it; how the default is written does not."""
    for folder in ("one", "two", "three"):
        save_small("wavlm", tmp_path / folder)
    edit(tmp_path / "two" / FRONT_END, do_normalize=True)
    drop(tmp_path / "three", "masked_spec_embed")
    identities = [
        identity("random:whisper:tiny"),
        identity("random:whisper:base"),
        identity("random:whisper:tiny", init_seed=1),
        identity("random:whisper:tiny", untrained_window_seconds=1.0),
        identity("random:hubert"),
        identity("random:wav2vec2"),
        *(identity(f"wavlm={tmp_path / folder}") for folder in ("one", "two", "three")),
    ]
    assert len({json.dumps(found, sort_keys=True) for found in identities}) == len(identities)
    assert identity("random:whisper:small") == identity("random:whisper")
    assert identity(f"hf={tmp_path / 'one'}") == identity(f"wavlm={tmp_path / 'one'}")
    assert identity("random:ast")["front_end"]["back_end"] == "torchaudio"
    assert HFEncoder.origin(parse_encoder(f"wavlm={tmp_path / 'one'}"), SECTION) == {"weights": str(tmp_path / "one")}


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize(
    ("text", "hub_id"),
    [
        ("whisper", "openai/whisper-small"),
        ("mms:1b", "facebook/mms-1b"),
        ("qwen2-audio", "Qwen/Qwen2-Audio-7B"),
        ("hf:facebook/wav2vec2-base", "facebook/wav2vec2-base"),
    ],
)
def test_weights_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool, text: str, hub_id: str
) -> None:
    """Offline, or with a hub that refuses connections: one line with file, hub id, command and control."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))  # read from HF_HOME when the library is imported
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    message = refusal(text)
    assert [
        part for part in (WEIGHTS, hub_id, f"`hf download {hub_id}`", f"random:{text}") if part not in message
    ] == []
    assert ("HF_HUB_OFFLINE is set" in message) == offline


def in_hub_cache(cache: Path, hub_id: str) -> Path:
    """The folder of a repository's only snapshot, as huggingface_hub lays it out."""
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    return repository / "snapshots" / revision


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def test_weights_in_the_hub_cache_are_used(hub_cache: Path) -> None:
    """A snapshot that is in the cache needs no network, and tells its revision."""
    folder = in_hub_cache(hub_cache, "microsoft/wavlm-large")
    save_small("wavlm", folder)
    assert load("wavlm:large").dim == load("hf:microsoft/wavlm-large").dim == 16
    expected = {"weights": "microsoft/wavlm-large", "revision": folder.name}
    assert HFEncoder.origin(parse_encoder("wavlm:large"), SECTION) == expected
    assert HFEncoder.origin(parse_encoder("hf:microsoft/wavlm-large"), SECTION) == expected


def test_a_repository_of_pickles_says_how_to_convert(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Online, where the hub has only a .bin: the line that makes a folder of safetensors of it."""
    from palprobe.encoders.hf import files

    folder = in_hub_cache(hub_cache, "microsoft/wavlm-base-plus")
    save_small("wavlm", folder)
    (folder / WEIGHTS).unlink()
    monkeypatch.setattr(files, "snapshot", lambda hub_id, names, is_whole: folder)  # what a download leaves
    message = refusal("wavlm")
    wanted = ["microsoft/wavlm-base-plus", "save_pretrained('FOLDER')", "a pickle can run code", "wavlm=FOLDER"]
    assert [part for part in wanted if part not in message] == []


@pytest.mark.parametrize("name", ["qwen2-audio", "audio-flamingo-3"])
def test_of_a_large_model_only_the_tower_is_read(hub_cache: Path, name: str) -> None:
    """In shards, from the hub's cache: those without the tower need not be there, and decide nothing."""
    made = save_small(name, hub_cache / "whole")
    folder = in_hub_cache(hub_cache, {"qwen2-audio": "Qwen/Qwen2-Audio-7B"}.get(name, "nvidia/audio-flamingo-3-hf"))
    made.save(folder, max_shard_size="20KB")
    index = json.loads((folder / f"{WEIGHTS}.index.json").read_text())["weight_map"]
    tower = {file for key, file in index.items() if "audio_tower." in key}
    assert tower < set(index.values())
    with_all = identity(name)
    for file in set(index.values()) - tower:
        (folder / file).unlink()
    waveform = clip(0.3, 16_000)
    assert torch.equal(tokens(load(name), waveform), tokens(load(f"{name}={hub_cache / 'whole'}"), waveform))
    assert identity(name) == with_all
    assert len(with_all["weights_sha256"]) == len(tower)
    (folder / sorted(tower)[0]).unlink()
    assert f"lacks {sorted(tower)[0]}" in refusal(f"{name}={folder}")
    assert sorted(tower)[0] in refusal(name)


@pytest.mark.parametrize("name", ["whisper:tiny", "wavlm:large", "pe-audio:base", "dac:44khz"])
def test_variant_must_fit_the_folder(tmp_path: Path, name: str) -> None:
    """NAME:VARIANT=FOLDER with another size inside is refused, since the name would be a lie in every table."""
    save_small(name.split(":")[0], tmp_path)
    assert f"is not {name} (" in refusal(f"{name}={tmp_path}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf", "write hf:ORG/REPO"),
        ("random:hf", "write hf:ORG/REPO"),
        ("hf:a/b=folder", "write hf:ORG/REPO"),
        ("wavlm:big", "wavlm has no variant 'big'"),
        ("random:pe-audio:smal", "Did you mean 'small'?"),
    ],
)
def test_a_spec_that_cannot_work_is_one_line(text: str, expected: str) -> None:
    """Refused before any look at disk or hub, with what to write instead."""
    assert expected in refusal(text, UsageError)
