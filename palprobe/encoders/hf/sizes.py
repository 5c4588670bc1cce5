"""Published sizes, as what differs from the defaults of transformers' configurations: for untrained encoders.

From the papers' tables and the config.json of the published models; trained ones are read from their own config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Values = Mapping[str, Any]


def _whisper(width: int, layers: int, heads: int, *, mels: int = 80) -> Values:
    """Table 1 of Radford et al. (2022), arXiv 2212.04356: the feed-forward size is four times the width."""
    return {
        "d_model": width,
        "encoder_layers": layers,
        "encoder_attention_heads": heads,
        "encoder_ffn_dim": 4 * width,
        "num_mel_bins": mels,
    }


def _transformer(width: int, layers: int, heads: int, *, feed_forward: int | None = None) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": feed_forward or 4 * width,
    }


# Baevski et al. (2020), arXiv 2006.11477, and those after them: the larger models normalise every convolution, and
# before each part of a block instead of after it.
_LAYER_NORM = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
_LARGE = _transformer(1024, 24, 16) | _LAYER_NORM
_XLARGE = _transformer(1280, 48, 16) | _LAYER_NORM
_XXLARGE = _transformer(1920, 48, 16) | _LAYER_NORM

_WHISPER = {
    "tiny": _whisper(384, 4, 6),
    "base": _whisper(512, 6, 8),
    "small": _whisper(768, 12, 12),
    "medium": _whisper(1024, 24, 16),
    "large": _whisper(1280, 32, 20),
    "large-v2": _whisper(1280, 32, 20),
    "large-v3": _whisper(1280, 32, 20, mels=128),
    "large-v3-turbo": _whisper(1280, 32, 20, mels=128),  # only the decoder is smaller
}
_CODEC_HOP_320 = {"downsampling_ratios": [2, 4, 5, 8]}
_LARGER_CLAP = {"patch_embeds_hidden_size": 128, "hidden_size": 1024, "depths": [2, 2, 12, 2]}

SIZES: Mapping[str, Mapping[str, Values]] = {
    "whisper": _WHISPER | {f"{size}.en": _WHISPER[size] for size in ("tiny", "base", "small", "medium")},
    "wav2vec2": {"base": {}, "base-960h": {}, "large-lv60": _LARGE},
    "xls-r": {"300m": _LARGE, "1b": _XLARGE, "2b": _XXLARGE},
    "mms": {"300m": _LARGE, "1b": _XLARGE},
    "hubert": {"base": {}, "large": _LARGE, "xlarge": _XLARGE},
    "wavlm": {"base": {}, "base-plus": {}, "large": _LARGE},
    "data2vec": {"base": {}, "large": _transformer(1024, 24, 16)},
    "w2v-bert": {"2.0": {}},
    "parakeet": {
        "ctc-0.6b": {},
        "ctc-1.1b": {"num_hidden_layers": 42},
        "tdt-0.6b-v3": {
            "num_mel_bins": 128,
            "attention_bias": False,
            "convolution_bias": False,
            "scale_input": False,
        },
    },
    "moonshine": {
        "tiny": {},
        "base": {"hidden_size": 416, "intermediate_size": 1664, "encoder_num_hidden_layers": 8},
    },
    "ast": {"audioset": {}},
    "clap": {
        "htsat-unfused": {},
        "htsat-fused": {"enable_fusion": True},
        "larger-general": _LARGER_CLAP,
        "larger-music": _LARGER_CLAP,
        "larger-music-speech": _LARGER_CLAP,
    },
    "encodec": {
        "24khz": {},
        "32khz": {
            "sampling_rate": 32_000,
            "num_filters": 64,
            "upsampling_ratios": [8, 5, 4, 4],
            "use_causal_conv": False,
        },
        "48khz": {
            "sampling_rate": 48_000,
            "audio_channels": 2,
            "normalize": True,
            "chunk_length_s": 1.0,
            "overlap": 0.01,
            "norm_type": "time_group_norm",
            "use_causal_conv": False,
        },
    },
    "dac": {
        "44khz": {"sampling_rate": 44_100},
        "24khz": {"sampling_rate": 24_000, **_CODEC_HOP_320},
        "16khz": {"sampling_rate": 16_000, **_CODEC_HOP_320},
    },
    "mimi": {"24khz": {}},
    "qwen2-audio": {"7b": {}, "7b-instruct": {}},
    "audio-flamingo-3": {"hf": {}},
    "pe-audio": {
        "base": _transformer(1024, 16, 8, feed_forward=2752),
        "small": _transformer(768, 12, 6, feed_forward=2048),
        "large": _transformer(1792, 28, 14, feed_forward=4800),
    },
}

# Front-end settings of the published models that neither config.json nor the class's defaults give.
FRONT_ENDS: Mapping[str, Values] = {
    "clap": {"frequency_min": 50},
    "moonshine": {"do_normalize": False},
}
