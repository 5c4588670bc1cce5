"""encoders/hf: what hf: makes of any folder, against transformers itself where no family knows the architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from hf_folders import drop, edit, refusal, rewrite
from hf_oracles import clip, features_of, load, saved, tokens
from small_encoders import WAVE, Small, quiet, stir
from torch import Tensor

from palprobe.encoders.hf import HFEncoder
from palprobe.encoders.hf.families import FAMILIES
from palprobe.encoders.windows import encode_clips
from palprobe.errors import EncoderError
from palprobe.files import canonical_json
from palprobe.recipe import EncoderSection
from palprobe.specs import parse_encoder

SECTION = EncoderSection()
TWO_SIDES = {
    "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "vocab_size": 50,
}  # fmt: skip


def speech_to_text() -> Small:
    config = hf.Speech2TextConfig(
        d_model=16, conv_channels=16, pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
        **TWO_SIDES,
    )  # fmt: skip
    return Small(hf.Speech2TextForConditionalGeneration(config), hf.Speech2TextFeatureExtractor())


def sew() -> Small:
    config = hf.SEWConfig(**{**WAVE, "conv_dim": (8,) * 13})
    return Small(hf.SEWForCTC(config), hf.Wav2Vec2FeatureExtractor())


def speecht5() -> Small:
    wave = {key: value for key, value in WAVE.items() if key.startswith(("conv_", "num_conv_", "hidden_size"))}
    return Small(hf.SpeechT5ForSpeechToText(hf.SpeechT5Config(**wave, **TWO_SIDES)), hf.SpeechT5FeatureExtractor())


def voxtral() -> Small:
    audio = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
        "num_mel_bins": 16,
    }  # fmt: skip
    text = {
        "model_type": "llama", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "intermediate_size": 16, "vocab_size": 50,
    }  # fmt: skip
    config = hf.VoxtralConfig(audio_config=audio, text_config=text)
    return Small(hf.VoxtralForConditionalGeneration(config), hf.WhisperFeatureExtractor(feature_size=16))


def of_speech_to_text(made: Small, waveform: Any) -> Tensor:
    features = features_of(made, waveform)
    output = made.model.model.encoder(**features).last_hidden_state[0]
    return output[: int(made.model._get_feat_extract_output_lengths(features.attention_mask.sum()))]


def of_voxtral(made: Small, waveform: Any) -> Tensor:
    """A token for two mel frames of 10 ms; the tower is run without a mask by its own model."""
    output = made.model.model.audio_tower(features_of(made, waveform).input_features)
    return output.last_hidden_state[0, : -(-len(waveform) // 320)]


# name -> (model, its own output for a clip, tokens per second)
OTHERS: dict[str, tuple[Callable[[], Small], Callable[[Small, Any], Tensor], float]] = {
    "speech_to_text": (speech_to_text, of_speech_to_text, 25.0),
    "sew": (sew, lambda made, wave: made.model.sew(**features_of(made, wave)).last_hidden_state[0], 50.0),
    "speecht5": (
        speecht5,
        lambda made, wave: made.model.speecht5.encoder(**features_of(made, wave)).last_hidden_state[0],
        50.0,
    ),
    "voxtral": (voxtral, of_voxtral, 50.0),
}


def save_other(name: str, folder: Path) -> Small:
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        made = OTHERS[name][0]()
        stir(made.model)
    made.save(folder)
    return made


@pytest.mark.parametrize("name", OTHERS)
def test_output_is_that_of_transformers(tmp_path: Path, name: str) -> None:
    """The last layer, its valid tokens and the measured rate are the model's own, alone as in a batch."""
    made, (_, own, rate) = save_other(name, tmp_path), OTHERS[name]
    encoder = load(f"hf={tmp_path}")
    assert (encoder.depth, encoder.bands, encoder.kind) == (0, 1, "speech")
    assert encoder.frame_rate == pytest.approx(rate, rel=0.01)
    waveforms = [clip(seconds, 16_000) for seconds in (0.3, 1.7)]
    together = encode_clips(encoder, waveforms, [0])
    for waveform, encoded in zip(waveforms, together, strict=True):
        with torch.no_grad():
            expected = own(made, waveform.numpy())
        torch.testing.assert_close(encoded.features.values[0], expected, rtol=0, atol=2e-6)
        assert torch.equal(tokens(load(f"hf={tmp_path}"), waveform), encoded.features.values)
    spec = parse_encoder(f"hf={tmp_path}")
    assert canonical_json(HFEncoder.identify(spec, SECTION)) == canonical_json(HFEncoder.identify(spec, SECTION))
    assert HFEncoder.depth_of(spec, SECTION) == 0


@pytest.mark.parametrize("name", FAMILIES)
def test_known_architectures_are_run_by_their_family(name: str) -> None:
    """hf=FOLDER gives all layers of NAME=FOLDER under the same identity, so that features are shared."""
    _, folder, spec, encoder = saved(name)
    waveform = clip(0.3, encoder.sample_rate)
    assert torch.equal(tokens(load(f"hf={folder}"), waveform), tokens(encoder, waveform))
    shared = HFEncoder.identify(parse_encoder(f"hf={folder}"), SECTION)
    assert shared == HFEncoder.identify(parse_encoder(spec), SECTION)


@pytest.mark.parametrize(
    ("model_type", "kind"),
    [
        ("unispeech", hf.UniSpeechForCTC),
        ("unispeech_sat", hf.UniSpeechSatForCTC),
        ("wav2vec2_conformer", hf.Wav2Vec2ConformerForCTC),
    ],
)
def test_relatives_of_wav2vec2_have_layers(tmp_path: Path, model_type: str, kind: Any) -> None:
    """Architectures without a name of their own that go the same way: every layer is the model's."""
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        made = Small(kind(kind.config_class(**WAVE)), hf.Wav2Vec2FeatureExtractor())
        stir(made.model)
    made.save(tmp_path)
    waveform = clip(0.3, 16_000)
    with torch.no_grad():
        output = getattr(made.model, model_type)(**features_of(made, waveform.numpy()), output_hidden_states=True)
    expected = torch.cat([*output.hidden_states[:-1], output.last_hidden_state])
    torch.testing.assert_close(tokens(load(f"hf={tmp_path}"), waveform), expected, rtol=0, atol=2e-6)


def test_untrained_control_of_a_folder(tmp_path: Path) -> None:
    """random:hf=FOLDER has the same shape and another output, that of its seed."""
    save_other("speech_to_text", tmp_path)
    waveform = clip(0.5, 16_000)
    trained = tokens(load(f"hf={tmp_path}"), waveform)
    spec = parse_encoder(f"random:hf={tmp_path}")
    one, again, other = (
        tokens(HFEncoder.load(spec, EncoderSection(init_seed=seed), device="cpu"), waveform) for seed in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert one.shape == trained.shape
    assert not torch.allclose(one, other, atol=0.01)
    assert HFEncoder.identify(spec, SECTION)["init_seed"] == 0
    assert HFEncoder.origin(spec, SECTION) == {"weights": "untrained"}


def test_a_missing_weight_of_the_encoder_is_refused(tmp_path: Path) -> None:
    """One of the decoder may be missing; of the encoder none."""
    save_other("speech_to_text", tmp_path)
    drop(tmp_path, "decoder.layers.0.fc1.bias")
    load(f"hf={tmp_path}")
    drop(tmp_path, "encoder.layers.1.fc1.bias")
    assert "1 missing: encoder.layers.1.fc1.bias" in refusal(f"hf={tmp_path}")
    rewrite(tmp_path, lambda state: {f"stranger.{key}": value for key, value in state.items()})
    assert " more" in refusal(f"hf={tmp_path}")


def test_a_model_of_text_or_images_is_refused(tmp_path: Path) -> None:
    """Without a feature extractor for audio, or without an encoder that wants one, in one line."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    for model in (hf.BertModel(hf.BertConfig(**sizes, vocab_size=50)), hf.ViTModel(hf.ViTConfig(**sizes))):
        folder = tmp_path / model.config.model_type
        with quiet():
            model.save_pretrained(folder)
        assert "model without an audio feature extractor" in refusal(f"hf={folder}")
        hf.Wav2Vec2FeatureExtractor().save_pretrained(folder)
        assert "in which no audio encoder was found" in refusal(f"hf={folder}")


def test_a_front_end_that_does_not_fit(tmp_path: Path) -> None:
    """Mels of another size than the model's are one line that names both classes."""
    save_other("speech_to_text", tmp_path)
    edit(tmp_path / "preprocessor_config.json", num_mel_bins=40, feature_size=40)
    message = refusal(f"hf={tmp_path}", EncoderError)
    assert "Speech2TextEncoder cannot be run on what Speech2TextFeatureExtractor gives" in message
