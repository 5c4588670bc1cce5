"""encoders/hf: checkpoints as people really publish them (old names, parts, halves), and the catalogue's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hf_folders import WEIGHTS, drop, rewrite
from hf_oracles import clip, load, saved, tokens
from safetensors.torch import load_file
from small_encoders import LAYER_NORM, Small, pe_audio, quiet, save_small, stir, wav2vec2

from palprobe.encoders.catalog import CATALOG, published, variants_of
from palprobe.encoders.hf import HFEncoder
from palprobe.encoders.hf.families import FAMILIES
from palprobe.encoders.hf.model import model_class
from palprobe.encoders.hf.sizes import SIZES
from palprobe.encoders.hf.source import find_source
from palprobe.recipe import EncoderSection
from palprobe.specs import parse_encoder

OURS = [entry for entry in CATALOG if entry.encoder in FAMILIES]
# Encoder parameters that others counted on the published weights, or that the papers' tables give.
COUNTED = {
    "whisper:tiny.en": 8_208_384, "whisper:base.en": 20_590_592, "whisper:small.en": 88_154_112,
    "encodec:24khz": 7_425_792, "encodec:48khz": 7_428_336, "mimi:24khz": 38_867_232,
    "wav2vec2:base": 95e6, "wav2vec2:large-lv60": 317e6, "hubert:base": 95e6, "hubert:large": 317e6,
    "hubert:xlarge": 964e6, "wavlm:base": 94.70e6, "wavlm:large": 316.62e6, "xls-r:300m": 317e6, "xls-r:1b": 965e6,
    "xls-r:2b": 2162e6, "w2v-bert:2.0": 580e6, "ast:audioset": 87e6, "dac:44khz": 22e6,
}  # fmt: skip


@pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry.spec)
def test_catalogue_tells_the_architecture(entry: Any) -> None:
    """Parameters (to 2 %), size, tokens per second and kind are those of the model that `random:` builds."""
    source = find_source(parse_encoder(f"random:{entry.spec}"), EncoderSection(untrained_window_seconds=30.0))
    shape = source.geometry
    with torch.device("meta"), quiet():
        model = model_class(source.family)(source.config)
    part = model.get_submodule(source.family.part)
    assert sum(parameter.numel() for parameter in part.parameters()) == pytest.approx(entry.parameters, rel=0.02)
    assert entry.dim == shape.dim
    assert entry.tokens_per_second == pytest.approx(shape.frame_rate * shape.bands, rel=1e-3)
    assert entry.kind == source.family.kind


@pytest.mark.parametrize("spec", COUNTED)
def test_catalogue_agrees_with_what_others_counted(spec: str) -> None:
    """Within 2 % of numbers from papers and measurements; the files themselves are not at hand."""
    assert published(parse_encoder(spec)).parameters == pytest.approx(COUNTED[spec], rel=0.02)


def test_every_variant_has_a_size() -> None:
    """What the catalogue lists can also be had untrained, and the other way round."""
    assert {name: set(SIZES[name]) for name in FAMILIES} == {name: set(variants_of(name)) for name in FAMILIES}


@pytest.mark.parametrize("name", ["wav2vec2", "hubert", "wavlm", "encodec"])
def test_old_names_of_weight_norm(tmp_path: Path, name: str) -> None:
    """Checkpoints from before torch renamed the two parts of a normalised weight give the same features."""
    save_small(name, tmp_path)
    new, old = (f".parametrizations.weight.original{part}" for part in (0, 1)), (".weight_g", ".weight_v")
    renames = dict(zip(new, old, strict=True))

    def rename(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found = {}
        for key, value in state.items():
            ending = next((ending for ending in renames if key.endswith(ending)), "")
            found[key.removesuffix(ending) + renames.get(ending, "")] = value
        return found

    rewrite(tmp_path, rename)
    assert any(key.endswith(".weight_g") for key in load_file(tmp_path / WEIGHTS))
    waveform = clip(0.3, 16_000)
    assert torch.equal(tokens(load(f"{name}={tmp_path}"), waveform), tokens(saved(name).encoder, waveform))


def test_old_names_of_ast() -> None:
    """The published AST has the names of transformers before its fifth version, and so have the tests' folders."""
    keys = load_file(saved("ast").folder / WEIGHTS)
    assert "audio_spectrogram_transformer.encoder.layer.0.attention.attention.query.weight" in keys


@pytest.mark.parametrize("name", ["wav2vec2", "hubert", "wavlm", "data2vec", "w2v-bert"])
def test_the_mask_vector_may_be_missing(tmp_path: Path, name: str) -> None:
    """wav2vec2-base-960h has none, and in eval mode nothing is masked."""
    save_small(name, tmp_path)
    assert any(key.endswith("masked_spec_embed") for key in load_file(tmp_path / WEIGHTS))
    drop(tmp_path, "masked_spec_embed")
    waveform = clip(0.3, 16_000)
    assert torch.equal(tokens(load(f"{name}={tmp_path}"), waveform), tokens(saved(name).encoder, waveform))


ALONE = {
    "whisper": lambda model: model.model.encoder,
    "wav2vec2": lambda model: model.wav2vec2,
    "parakeet": lambda model: model.encoder,
    "moonshine": lambda model: model.model.encoder,
    "ast": lambda model: model.audio_spectrogram_transformer,
    "clap": lambda model: model.audio_model,
    "qwen2-audio": lambda model: model.model.audio_tower,
    "audio-flamingo-3": lambda model: model.model.audio_tower,
    "pe-audio": lambda model: model.audio_encoder,
}


@pytest.mark.parametrize("name", ALONE)
def test_an_encoder_saved_alone(tmp_path: Path, name: str) -> None:
    """Without the rest of its model, whose names its keys then lack, it gives the same features."""
    made, _, _, encoder = saved(name)
    Small(ALONE[name](made.model), made.extractor).save(tmp_path)
    waveform = clip(0.3, encoder.sample_rate)
    assert torch.equal(tokens(load(f"{name}={tmp_path}"), waveform), tokens(encoder, waveform))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    """A checkpoint in half precision runs in float32, with the rounded weights."""
    save_small("hubert", tmp_path)
    rewrite(tmp_path, lambda state: {key: value.to(dtype) for key, value in state.items()})
    waveform = clip(0.3, 16_000)
    found, exact = tokens(load(f"hubert={tmp_path}"), waveform), tokens(saved("hubert").encoder, waveform)
    assert found.dtype == torch.float32
    assert 0 < (found - exact).abs().max() < 0.5


def test_a_length_adapter_is_left_out(tmp_path: Path) -> None:
    """It serves a text decoder at a lower rate: the encoder before it keeps its 50 Hz and its layers."""
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        made = wav2vec2(**LAYER_NORM, add_adapter=True, num_adapter_layers=1)
        stir(made.model)
    made.save(tmp_path)
    waveform = clip(0.5, 16_000)
    with torch.no_grad():
        features = made.extractor(waveform.numpy(), sampling_rate=16_000, return_tensors="pt")
        base = made.model.wav2vec2
        hidden = base.feature_projection(base.feature_extractor(features.input_values).transpose(1, 2))[0]
        expected = base.encoder(hidden).last_hidden_state[0]
    torch.testing.assert_close(tokens(load(f"wav2vec2={tmp_path}"), waveform)[-1], expected, rtol=0, atol=1e-6)


def test_audio_tower_of_an_audio_video_model(tmp_path: Path) -> None:
    """PE-AV holds PE-Audio's encoder inside: the folder of the whole gives the features of the tower."""
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        made = pe_audio()
        stir(made.model)
        audio = made.model.config.audio_config
        video = {
            "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 8, "intermediate_size": 16,
            "vision_config": {"model_type": "timm_wrapper", "architecture": "vit_tiny_patch16_224"},
        }  # fmt: skip
        config = transformers.PeAudioVideoConfig(
            text_config=made.model.config.text_config.to_dict(),
            audio_video_config={"audio_config": audio.to_dict(), "video_config": video, "hidden_size": 16},
        )
    for prefix in ("audio_model.", "audio_video_encoder.embedder."):
        folder = tmp_path / prefix
        made.save(folder)
        config.save_pretrained(folder)
        rewrite(folder, lambda state, prefix=prefix: {f"{prefix}{key}": value for key, value in state.items()})
        waveform = clip(0.3, 48_000)
        alone = tmp_path / "alone"
        made.save(alone)
        assert torch.equal(tokens(load(f"pe-audio={folder}"), waveform), tokens(load(f"pe-audio={alone}"), waveform))


def test_untrained_sizes_are_buildable() -> None:
    """The smallest published size of each small family is built, and hears the whole clip at its rate."""
    for spec in ("whisper:tiny", "moonshine:tiny", "encodec:24khz", "mimi:24khz", "clap:htsat-unfused"):
        encoder = HFEncoder.load(
            parse_encoder(f"random:{spec}"), EncoderSection(untrained_window_seconds=2.0), device="cpu"
        )
        found = tokens(encoder, clip(1.0, encoder.sample_rate))
        assert found.shape[1:] == (encoder.num_tokens(encoder.sample_rate), published(parse_encoder(spec)).dim)
        assert found.isfinite().all()
        assert found[-1].std(dim=0).mean() > 0  # tokens differ in time
