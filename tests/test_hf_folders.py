"""encoders/hf: folders that cannot work are refused in one line, in every family, and never with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hf_folders import CONFIG, FRONT_END, WEIGHTS, drop, edit, refusal, rewrite
from hf_oracles import clip, load, tokens
from small_encoders import MODELS, save_small

from palprobe.encoders.hf.families import FAMILIES

# A weight of each family's encoder that is not its last, and what its shape depends on.
INNER = {
    "whisper": "encoder.layers.1.fc1.bias", "qwen2-audio": "layers.1.fc1.bias", "audio-flamingo-3": "layers.1.fc1.bias",
    "w2v-bert": "encoder.layers.1.ffn1.output_dense.bias", "parakeet": "layers.1.self_attn.bias_u",
    "moonshine": "encoder.layers.1.mlp.fc1.bias", "ast": "layer.1.output.dense.bias", "mimi": "downsample.conv.weight",
    "clap": "audio_encoder.norm.bias", "encodec": "encoder.layers.0.conv.bias", "dac": "encoder.conv2.bias",
    "pe-audio": "audio_encoder.layers.1.mlp.up_proj.weight",
}  # fmt: skip
WAVE_INNER = "encoder.layers.1.feed_forward.output_dense.bias"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_missing_weight_is_refused(tmp_path: Path, name: str) -> None:
    """Never random weights silently: the missing key is named, and counted, in every family."""
    save_small(name, tmp_path)
    ending = INNER.get(name, WAVE_INNER)
    drop(tmp_path, ending)
    message = refusal(f"{name}={tmp_path}")
    assert "1 missing: " in message
    assert message.split("1 missing: ")[1].rstrip(").").split(".")[-1] == ending.split(".")[-1]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_weight_of_another_shape_is_refused(tmp_path: Path, name: str) -> None:
    """The key is named with both shapes, in every family."""
    save_small(name, tmp_path)
    ending = INNER.get(name, WAVE_INNER)
    rewrite(tmp_path, lambda state: {k: v[:-1].clone() if k.endswith(ending) else v for k, v in state.items()})
    assert "1 of another shape: " in refusal(f"{name}={tmp_path}")


@pytest.mark.parametrize("name", FAMILIES)
def test_another_models_weights_are_refused(tmp_path: Path, name: str) -> None:
    """A checkpoint that shares no key with the architecture: so many are missing, the first few of them listed."""
    save_small(name, tmp_path)
    rewrite(tmp_path, lambda state: {f"stranger.{key}": value for key, value in state.items()})
    message = refusal(f"{name}={tmp_path}")
    assert " missing: " in message
    assert " more" in message


@pytest.mark.parametrize("name", FAMILIES)
def test_another_familys_folder_is_refused(tmp_path: Path, name: str) -> None:
    """The model_type of config.json is told, and the name that loads it."""
    other = "ast" if name != "ast" else "clap"
    save_small(other, tmp_path)
    message = refusal(f"{name}={tmp_path}")
    assert f"Write {other}={tmp_path}." in message
    assert "expected '" in message


# Settings in which published models of a family differ, and that no config.json implies.
NEED_A_FRONT_END = {"wav2vec2", "xls-r", "mms", "hubert", "wavlm", "data2vec", "moonshine", "ast", "clap"}


@pytest.mark.parametrize("name", MODELS)
def test_without_a_front_end_file(tmp_path: Path, name: str) -> None:
    """Refused where published models differ in it; else the features are the same as with the file."""
    save_small(name, tmp_path)
    text = f"{name.split()[0]}={tmp_path}"
    with_file = load(text)
    waveform = clip(0.3, with_file.sample_rate)
    before = tokens(with_file, waveform)
    (tmp_path / FRONT_END).rename(tmp_path / "away")
    if name.split()[0] in NEED_A_FRONT_END:
        assert f"has no {FRONT_END}" in refusal(text)
        assert load(f"random:{text}").dim == with_file.dim  # an untrained one knows no right setting
    else:
        assert torch.equal(tokens(load(text), waveform), before)
    settings = {"feature_extractor": json.loads((tmp_path / "away").read_text()), "tokenizer": {}}
    (tmp_path / "processor_config.json").write_text(json.dumps(settings))
    assert torch.equal(tokens(load(text), waveform), before)  # the other place where published models have it


DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "bin only": ("whisper", lambda f: (f / WEIGHTS).rename(f / "pytorch_model.bin"), "Only safetensors are read"),
    "no weights": ("whisper", lambda f: (f / WEIGHTS).unlink(), f"has no {WEIGHTS}"),
    "no config": ("whisper", lambda f: (f / CONFIG).unlink(), f"has no {CONFIG}"),
    "torn config": ("whisper", lambda f: (f / CONFIG).write_text("{"), "not JSON"),
    "text model": ("whisper", lambda f: edit(f / CONFIG, model_type="bert"), "'bert' model; expected 'whisper'"),
    "text model, hf": ("hf", lambda f: edit(f / CONFIG, model_type="bert"), "in which no audio encoder was found"),
    "no model_type": ("hf", lambda f: (f / CONFIG).write_text("{}"), "a None model, which transformers does not know"),
    "torn weights": (
        "hf",
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:5000]),
        "damaged",
    ),
    "other config": ("hf", lambda f: edit(f / CONFIG, encoder_ffn_dim=48), "layers.0.fc1.bias (32,) instead of (48,)"),
    "value that cannot be": ("hf", lambda f: edit(f / CONFIG, d_model="wide"), "d_model"),
    "other front end": ("hf", lambda f: edit(f / FRONT_END, hop_length=128), "hop_length is 128; expected 160"),
    "setting that cannot be": ("hf", lambda f: edit(f / FRONT_END, n_fft="x"), "has a setting that cannot be"),
    "other extractor": (
        "hf",
        lambda f: edit(f / FRONT_END, feature_extractor_type="ASTFeatureExtractor"),
        "feature_extractor_type is ASTFeatureExtractor; expected WhisperFeatureExtractor",
    ),
    "remote code": (
        "hf",
        lambda f: edit(f / CONFIG, model_type="eat", auto_map={"AutoModel": "modeling_eat.EATModel"}),
        "its own code (auto_map), and code from a repository is never run",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_that_cannot_work_is_one_line(tmp_path: Path, damage: str) -> None:
    """A WeightsError that names the file, what was found in it and what was expected."""
    save_small("whisper", tmp_path)
    name, harm, expected = DAMAGES[damage]
    harm(tmp_path)
    assert expected in refusal(f"{name}={tmp_path}")


def test_clap_front_end_must_fit_its_fusion(tmp_path: Path) -> None:
    """A model that fuses four views, with the front end of one that hears one."""
    save_small("clap fused", tmp_path)
    edit(tmp_path / FRONT_END, truncation="rand_trunc")
    assert "truncation is rand_trunc; expected fusion" in refusal(f"clap={tmp_path}")
