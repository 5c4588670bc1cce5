"""Tiny models of every family that transformers implements, with random weights, saved as the published ones are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from transformers.utils import logging

SEED = 3
WINDOW = 1500  # positions of a table of 30 s
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}
WAVE = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32,
    "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4, "vocab_size": 12,
}  # fmt: skip
LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
MEL_WINDOW = {"num_mel_bins": 16, "max_source_positions": WINDOW, "dropout": 0.0}
DAC = {"encoder_hidden_size": 2, "decoder_hidden_size": 16, "n_codebooks": 1}


@dataclass(frozen=True)
class Small:
    """A whole model, as people publish it, and its feature extractor."""

    model: Any
    extractor: Any

    def save(self, folder: Path, **options: Any) -> None:
        with quiet():
            self.model.save_pretrained(folder, **options)
        self.extractor.save_pretrained(folder)


def small(name: str) -> Small:
    """A tiny model of a registered name, in eval mode; the same each time."""
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(SEED)
        made = MODELS[name]()
        stir(made.model)
    return made


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and notes of transformers."""
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    yield
    logging.set_verbosity(level)
    if bar:
        logging.enable_progress_bar()


def save_small(name: str, folder: Path) -> Small:
    """Saves it to a folder that `NAME=FOLDER` loads."""
    made = small(name)
    made.save(folder)
    return made


@torch.no_grad()
def stir(model: Any) -> None:
    """No norm, bias, position or running statistic keeps a value of 0 or 1 that would hide a mistake."""
    model.eval()
    for parameter in model.parameters():
        parameter += 0.05 * torch.randn_like(parameter)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer += 0.1 * torch.randn_like(buffer)
        if name.endswith("running_var"):
            buffer += 0.5 * torch.rand_like(buffer)


def whisper() -> Small:
    config = hf.WhisperConfig(
        d_model=16, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=16, vocab_size=50, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=1, **MEL_WINDOW,
    )  # fmt: skip
    return Small(hf.WhisperForConditionalGeneration(config), hf.WhisperFeatureExtractor(feature_size=16))


def wav2vec2(**changes: Any) -> Small:
    config = hf.Wav2Vec2Config(**{**WAVE, **changes})
    return Small(hf.Wav2Vec2ForCTC(config), hf.Wav2Vec2FeatureExtractor(return_attention_mask=bool(changes)))


def hubert() -> Small:
    return Small(hf.HubertForCTC(hf.HubertConfig(**WAVE)), hf.Wav2Vec2FeatureExtractor())


def wavlm() -> Small:
    config = hf.WavLMConfig(**WAVE, num_buckets=20)
    return Small(hf.WavLMModel(config), hf.Wav2Vec2FeatureExtractor(do_normalize=False))


def data2vec() -> Small:
    config = hf.Data2VecAudioConfig(**{**WAVE, "num_conv_pos_embeddings": 2})
    return Small(hf.Data2VecAudioForCTC(config), hf.Wav2Vec2FeatureExtractor())


def w2v_bert() -> Small:
    config = hf.Wav2Vec2BertConfig(**TEXT, feature_projection_input_dim=160)
    config.num_hidden_layers = 2
    return Small(hf.Wav2Vec2BertForCTC(config), hf.SeamlessM4TFeatureExtractor())


def parakeet() -> Small:
    encoder = hf.ParakeetEncoderConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, num_mel_bins=16,
        subsampling_conv_channels=4,
    )  # fmt: skip
    config = hf.ParakeetCTCConfig(encoder_config=encoder, vocab_size=20, pad_token_id=19)
    return Small(hf.ParakeetForCTC(config), hf.ParakeetFeatureExtractor(feature_size=16))


def moonshine() -> Small:
    config = hf.MoonshineConfig(
        hidden_size=16, intermediate_size=32, encoder_num_hidden_layers=2, decoder_num_hidden_layers=1,
        encoder_num_attention_heads=2, decoder_num_attention_heads=2, vocab_size=50, pad_token_id=2,
    )  # fmt: skip
    extractor = hf.Wav2Vec2FeatureExtractor(do_normalize=False)
    return Small(hf.MoonshineForConditionalGeneration(config), extractor)


def ast() -> Small:
    config = hf.ASTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    return Small(hf.ASTForAudioClassification(config), hf.ASTFeatureExtractor())


def clap(*, fused: bool = False) -> Small:
    audio = {
        "patch_embeds_hidden_size": 4, "hidden_size": 32, "depths": [1, 2, 1, 1], "num_attention_heads": [1, 1, 2, 2],
        "enable_fusion": fused,
    }  # fmt: skip
    config = hf.ClapConfig(text_config={**TEXT, "projection_dim": 8}, audio_config={**audio, "projection_dim": 8})
    truncation = "fusion" if fused else "rand_trunc"
    return Small(hf.ClapModel(config), hf.ClapFeatureExtractor(frequency_min=50, truncation=truncation))


def encodec(**changes: Any) -> Small:
    config = hf.EncodecConfig(num_filters=2, hidden_size=8, codebook_size=16, **changes)
    extractor = hf.EncodecFeatureExtractor(
        feature_size=config.audio_channels,
        sampling_rate=config.sampling_rate,
        chunk_length_s=config.chunk_length_s,
        overlap=config.overlap,
    )
    return Small(hf.EncodecModel(config), extractor)


def encodec_48khz() -> Small:
    return encodec(
        sampling_rate=48_000, audio_channels=2, normalize=True, chunk_length_s=1.0, overlap=0.01,
        norm_type="time_group_norm", use_causal_conv=False,
    )  # fmt: skip


def dac() -> Small:
    config = hf.DacConfig(**DAC, downsampling_ratios=[2, 4, 5, 8])
    return Small(hf.DacModel(config), hf.DacFeatureExtractor(hop_length=320))


def mimi() -> Small:
    config = hf.MimiConfig(
        num_filters=2, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, head_dim=8,
        intermediate_size=16, upsample_groups=16, vector_quantization_hidden_dimension=8, codebook_dim=8,
        num_quantizers=2, codebook_size=16,
    )  # fmt: skip
    return Small(hf.MimiModel(config), hf.EncodecFeatureExtractor(sampling_rate=24_000))


def qwen2_audio() -> Small:
    audio = {
        "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, **MEL_WINDOW,
    }  # fmt: skip
    config = hf.Qwen2AudioConfig(audio_config=audio, text_config=_qwen2(), audio_token_index=49)
    return Small(hf.Qwen2AudioForConditionalGeneration(config), hf.WhisperFeatureExtractor(feature_size=16))


def audio_flamingo_3() -> Small:
    audio = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, **MEL_WINDOW,
    }  # fmt: skip
    config = hf.AudioFlamingo3Config(audio_config=audio, text_config=_qwen2(), audio_token_id=49)
    return Small(hf.AudioFlamingo3ForConditionalGeneration(config), hf.WhisperFeatureExtractor(feature_size=16))


def _qwen2() -> dict[str, Any]:
    return {"model_type": "qwen2", **TEXT, "num_key_value_heads": 2, "max_position_embeddings": 64}


def pe_audio() -> Small:
    codec = {"model_type": "dac", **DAC, "downsampling_ratios": [2, 8, 10, 12], "codebook_dim": 4}
    audio = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 8, "intermediate_size": 32,
        "dac_config": codec,
    }  # fmt: skip
    text = {"model_type": "modernbert", **TEXT, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2}
    config = hf.PeAudioConfig(audio_config=audio, text_config=text)
    return Small(hf.PeAudioModel(config), hf.PeAudioFeatureExtractor())


MODELS: dict[str, Callable[[], Small]] = {
    "whisper": whisper,
    "wav2vec2": wav2vec2,
    "xls-r": lambda: wav2vec2(**LAYER_NORM),
    "mms": lambda: wav2vec2(**LAYER_NORM, adapter_attn_dim=4),
    "hubert": hubert,
    "wavlm": wavlm,
    "data2vec": data2vec,
    "w2v-bert": w2v_bert,
    "parakeet": parakeet,
    "moonshine": moonshine,
    "ast": ast,
    "clap": clap,
    "encodec": encodec,
    "dac": dac,
    "mimi": mimi,
    "qwen2-audio": qwen2_audio,
    "audio-flamingo-3": audio_flamingo_3,
    "pe-audio": pe_audio,
}
# Other checkpoints of the same families, with a path of their own through the loader.
MODELS |= {"clap fused": lambda: clap(fused=True), "encodec 48khz": encodec_48khz}
