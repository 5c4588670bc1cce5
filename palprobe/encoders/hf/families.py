"""The families, one entry each: what is special about every encoder of transformers that palprobe knows by name.

`kind` is what an encoder was trained on: speech alone, or sounds, music and speech (general). The towers of Qwen2-Audio
and Audio Flamingo 3 began as Whisper's encoder and went on with all of these, so they are general.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from palprobe.encoders.hf import frontend, geometry, outputs
from palprobe.encoders.hf.family import Family, Foreign, nothing
from palprobe.encoders.hf.geometry import KALDI_FRAME

WHISPER_RATE = 16_000  # Hz
WHISPER_HOP = WHISPER_RATE // 100  # a mel frame, 10 ms
WHISPER_FFT = WHISPER_RATE * KALDI_FRAME // 1000
# A checkpoint may lack it (wav2vec2-base-960h does): it replaces masked frames in training.
MASK_VECTOR = ("masked_spec_embed",)
# The adapters of some checkpoints halve the rate for a text decoder: they are left out, and with them the 25 Hz.
NO_ADAPTER = {"add_adapter": False}


def _whisper_settings(config: Foreign) -> dict[str, Any]:
    """All published models share one front end; another one would need more than a number changed."""
    return {
        "feature_size": config.num_mel_bins,
        "sampling_rate": WHISPER_RATE,
        "hop_length": WHISPER_HOP,
        "n_fft": WHISPER_FFT,
        "dither": 0.0,
        "padding_value": 0.0,
    }


def _codec_settings(config: Foreign) -> dict[str, Any]:
    return {
        "feature_size": config.audio_channels,
        "sampling_rate": config.sampling_rate,
        "chunk_length_s": getattr(config, "chunk_length_s", None),
    }


WHISPER = Family(
    name="whisper",
    kind="speech",
    model="whisper.modeling_whisper:WhisperEncoder",
    extractor="WhisperFeatureExtractor",
    model_types={"whisper": ""},
    keys=r"(?:model\.)?encoder\.",
    geometry=geometry.mel_window,
    prepare=frontend.window,
    call=outputs.transformer,
    arrange=outputs.in_order,
    implied=_whisper_settings,
    published=nothing,
    window_positions=1,
)

QWEN2_AUDIO = replace(
    WHISPER,
    name="qwen2-audio",
    kind="general",
    model="qwen2_audio.modeling_qwen2_audio:Qwen2AudioEncoder",
    model_types={"qwen2_audio_encoder": "", "qwen2_audio": "audio_config"},
    keys=r"(?:model\.)?audio_tower\.",
    geometry=geometry.pooled_mel_window,
    prepare=frontend.masked_window,
    call=outputs.qwen2_audio,
    arrange=outputs.pooled,
    window_positions=2,
)

AUDIO_FLAMINGO_3 = replace(
    QWEN2_AUDIO,
    name="audio-flamingo-3",
    model="audioflamingo3.modeling_audioflamingo3:AudioFlamingo3Encoder",
    model_types={"audioflamingo3_encoder": "", "audioflamingo3": "audio_config"},
    call=outputs.transformer,
)

# Whether the waveform is normalised differs between the sizes of one family and stands in no config.json.
WAV2VEC2 = Family(
    name="wav2vec2",
    kind="speech",
    model="wav2vec2.modeling_wav2vec2:Wav2Vec2Model",
    extractor="Wav2Vec2FeatureExtractor",
    model_types={"wav2vec2": ""},
    geometry=geometry.wave_conv,
    prepare=frontend.plain,
    call=outputs.transformer,
    arrange=outputs.in_order,
    unused=MASK_VECTOR,
    overrides=NO_ADAPTER,
)


def _like_wav2vec2(name: str, model: str, model_type: str, **changes: Any) -> Family:
    return replace(WAV2VEC2, name=name, model=model, model_types={model_type: ""}, **changes)


W2V_BERT = _like_wav2vec2(
    "w2v-bert",
    "wav2vec2_bert.modeling_wav2vec2_bert:Wav2Vec2BertModel",
    "wav2vec2-bert",
    extractor="SeamlessM4TFeatureExtractor",
    geometry=geometry.stacked_fbank,
    overrides={**NO_ADAPTER, "use_intermediate_ffn_before_adapter": False},
    published=nothing,
)

PARAKEET = Family(
    name="parakeet",
    kind="speech",
    model="parakeet.modeling_parakeet:ParakeetEncoder",
    extractor="ParakeetFeatureExtractor",
    model_types={
        "parakeet_encoder": "",
        "parakeet_ctc": "encoder_config",
        "parakeet_tdt": "encoder_config",
        "parakeet_rnnt": "encoder_config",
    },
    keys=r"(?:model\.)?encoder\.",
    geometry=geometry.subsampled_mels,
    prepare=frontend.plain,
    call=outputs.transformer,
    arrange=outputs.in_order,
    implied=lambda config: {"feature_size": config.num_mel_bins},
    published=nothing,
)

MOONSHINE = Family(
    name="moonshine",
    kind="speech",
    model="moonshine.modeling_moonshine:MoonshineEncoder",
    extractor="Wav2Vec2FeatureExtractor",
    model_types={"moonshine": ""},
    keys=r"(?:model\.)?encoder\.",
    geometry=geometry.moonshine,
    prepare=frontend.plain,
    call=outputs.transformer,
    arrange=outputs.in_order,
)

AST = Family(
    name="ast",
    kind="general",
    model="audio_spectrogram_transformer.modeling_audio_spectrogram_transformer:ASTModel",
    extractor="ASTFeatureExtractor",
    model_types={"audio-spectrogram-transformer": ""},
    geometry=geometry.ast,
    prepare=frontend.plain,
    call=outputs.transformer,
    arrange=outputs.ast_patches,
    implied=lambda config: {"num_mel_bins": config.num_mel_bins, "max_length": config.max_length},
)

CLAP = Family(
    name="clap",
    kind="general",
    model="clap.modeling_clap:ClapAudioModel",
    extractor="ClapFeatureExtractor",
    model_types={"clap_audio_model": "", "clap": "audio_config"},
    keys=r"audio_model\.",
    geometry=geometry.clap,
    prepare=frontend.clap,
    call=outputs.clap,
    arrange=outputs.clap_cells,
    implied=lambda config: {
        "feature_size": config.num_mel_bins,
        "truncation": "fusion" if config.enable_fusion else "rand_trunc",
    },
)

ENCODEC = Family(
    name="encodec",
    kind="general",
    model="encodec.modeling_encodec:EncodecModel",
    extractor="EncodecFeatureExtractor",
    model_types={"encodec": ""},
    part="encoder",
    geometry=geometry.encodec,
    prepare=frontend.codec,
    call=outputs.encodec,
    arrange=outputs.channels_first,
    implied=_codec_settings,
    published=nothing,
)

DAC = replace(
    ENCODEC,
    name="dac",
    model="dac.modeling_dac:DacModel",
    extractor="DacFeatureExtractor",
    model_types={"dac": ""},
    geometry=geometry.dac,
    call=outputs.dac,
    implied=lambda config: {"sampling_rate": config.sampling_rate},
    published=lambda config: {"hop_length": math.prod(config.downsampling_ratios)},  # clips are filled up to it
)

MIMI = replace(
    ENCODEC,
    name="mimi",
    model="mimi.modeling_mimi:MimiEncoderModel",
    model_types={"mimi": "encoder_config"},
    part="",
    geometry=geometry.mimi,
    call=outputs.mimi,
    implied=_codec_settings,
)

PE_AUDIO = Family(
    name="pe-audio",
    kind="general",
    model="pe_audio.modeling_pe_audio:PeAudioEncoder",
    extractor="PeAudioFeatureExtractor",
    model_types={
        "pe_audio_encoder": "",
        "pe_audio": "audio_config",
        "pe_audio_video": "audio_video_config.audio_config",
    },
    keys=r"(?:audio_model\.|audio_video_encoder\.embedder\.)?audio_encoder\.",
    geometry=geometry.pe_audio,
    prepare=frontend.plain,
    call=outputs.transformer,
    arrange=outputs.without_class_token,
    published=nothing,
)

# By registered name. xls-r and mms are wav2vec 2.0 trained on many languages: names of their own, since people know
# them by these and their licences differ.
FAMILIES: Mapping[str, Family] = {
    "whisper": WHISPER,
    "wav2vec2": WAV2VEC2,
    "xls-r": WAV2VEC2,
    "mms": WAV2VEC2,
    "hubert": _like_wav2vec2("hubert", "hubert.modeling_hubert:HubertModel", "hubert", overrides={}),
    "wavlm": _like_wav2vec2("wavlm", "wavlm.modeling_wavlm:WavLMModel", "wavlm"),
    "data2vec": _like_wav2vec2("data2vec", "data2vec.modeling_data2vec_audio:Data2VecAudioModel", "data2vec-audio"),
    "w2v-bert": W2V_BERT,
    "parakeet": PARAKEET,
    "moonshine": MOONSHINE,
    "ast": AST,
    "clap": CLAP,
    "encodec": ENCODEC,
    "dac": DAC,
    "mimi": MIMI,
    "qwen2-audio": QWEN2_AUDIO,
    "audio-flamingo-3": AUDIO_FLAMINGO_3,
    "pe-audio": PE_AUDIO,
}

# Reached through hf: alone; the same in all but the class.
RELATIVES = (
    _like_wav2vec2(
        "wav2vec2-conformer",
        "wav2vec2_conformer.modeling_wav2vec2_conformer:Wav2Vec2ConformerModel",
        "wav2vec2-conformer",
    ),
    _like_wav2vec2("unispeech", "unispeech.modeling_unispeech:UniSpeechModel", "unispeech", overrides={}),
    _like_wav2vec2(
        "unispeech-sat", "unispeech_sat.modeling_unispeech_sat:UniSpeechSatModel", "unispeech-sat", overrides={}
    ),
)


def family_of(model_type: str) -> Family | None:
    """The family of a config.json; None for one that no entry knows."""
    for family in (*FAMILIES.values(), *RELATIVES):
        if model_type in family.model_types:
            return family
    return None
