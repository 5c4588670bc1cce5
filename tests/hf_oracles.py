"""What transformers itself gives for a clip, without palprobe; and each tiny model, saved and loaded once."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from small_encoders import Small, save_small
from torch import Tensor

from palprobe.encoders.hf import HFEncoder
from palprobe.encoders.windows import encode_clips
from palprobe.recipe import EncoderSection
from palprobe.specs import parse_encoder
from palprobe.types import Encoder

SECTION = EncoderSection()

RATES = {"clap": 48_000, "encodec": 24_000, "encodec 48khz": 48_000, "mimi": 24_000, "pe-audio": 48_000}  # Hz, not 16 k


class Saved(NamedTuple):
    """A tiny model in memory, its folder, and the encoder that palprobe makes of it."""

    made: Small
    folder: Path
    spec: str
    encoder: Encoder


@cache
def saved(name: str) -> Saved:
    """One for all tests, which change nothing in it."""
    temporary = TemporaryDirectory(prefix="palprobe-")
    atexit.register(temporary.cleanup)
    made, folder = save_small(name, Path(temporary.name)), Path(temporary.name)
    spec = f"{name.split()[0]}={folder}"
    return Saved(made, folder, spec, load(spec))


def load(spec: str) -> Encoder:
    return HFEncoder.load(parse_encoder(spec), SECTION, device="cpu")


def clip(seconds: float, rate: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(round(seconds * rate), generator=torch.Generator().manual_seed(seed))


def tokens(encoder: Encoder, waveform: Tensor) -> Tensor:
    """(layers, T, D) of all layers."""
    return encode_clips(encoder, [waveform], range(encoder.depth + 1))[0].features.values


@torch.no_grad()
def oracle(name: str, made: Small, waveform: np.ndarray) -> list[Tensor]:
    """(T, D) valid tokens of each layer of a clip that fits one window, the output last."""
    return ORACLES[name.removesuffix(" fused")](made, waveform)


def features_of(made: Small, waveform: np.ndarray, **options: Any) -> Any:
    rate = made.extractor.sampling_rate
    return made.extractor(waveform, sampling_rate=rate, return_tensors="pt", **options)


def states(output: Any) -> list[Tensor]:
    return [*output.hidden_states[:-1], output.last_hidden_state]


def base_model(made: Small, waveform: np.ndarray) -> list[Tensor]:
    """Of wav2vec2-like models: all that the model below the head gives for the clip alone."""
    base = getattr(made.model, made.model.base_model_prefix, made.model)
    return [state[0] for state in states(base(**features_of(made, waveform), output_hidden_states=True))]


def whisper(made: Small, waveform: np.ndarray) -> list[Tensor]:
    features = features_of(made, waveform, return_attention_mask=True)
    encoder = made.model.model.encoder
    output = encoder(features.input_features, output_hidden_states=True)
    num_valid = int(encoder._get_feat_extract_output_lengths(features.attention_mask.sum()))
    return [state[0, :num_valid] for state in states(output)]


def w2v_bert(made: Small, waveform: np.ndarray) -> list[Tensor]:
    features = features_of(made, waveform)
    output = made.model.wav2vec2_bert(**features, output_hidden_states=True)
    return [state[0, features.attention_mask[0] == 1] for state in states(output)]


def parakeet(made: Small, waveform: np.ndarray) -> list[Tensor]:
    output = made.model.encoder(**features_of(made, waveform), output_hidden_states=True)
    return [state[0, output.attention_mask[0] == 1] for state in states(output)]


def moonshine(made: Small, waveform: np.ndarray) -> list[Tensor]:
    output = made.model.model.encoder(**features_of(made, waveform), output_hidden_states=True)
    return [state[0] for state in states(output)]


def ast(made: Small, waveform: np.ndarray) -> list[Tensor]:
    """Token 2 + band x 101 + step; a step counts if one of its frames is the clip's."""
    output = made.model.audio_spectrogram_transformer(**features_of(made, waveform), output_hidden_states=True)
    last_frame = (len(waveform) - 400) // 160
    steps = [step for step in range(101) if 10 * step <= last_frame]
    order = [2 + band * 101 + step for step in steps for band in range(12)]
    return [state[0, order] for state in states(output)]


def clap(made: Small, waveform: np.ndarray) -> list[Tensor]:
    """A step of 10 s / 32 counts if it begins before the clip ends."""
    cells = made.model.audio_model(**features_of(made, waveform)).last_hidden_state[0]  # (D, 2, 32)
    steps = [step for step in range(32) if step * 480_000 / 32 < len(waveform)]
    return [torch.stack([cells[:, band, step] for step in steps for band in range(2)])]


def encodec(made: Small, waveform: np.ndarray) -> list[Tensor]:
    features = features_of(made, waveform)
    num_valid = made.model.encode(**features).audio_codes.shape[-1]
    return [made.model.encoder(features.input_values)[0].T[:num_valid]]


def encodec_48khz(made: Small, waveform: np.ndarray) -> list[Tensor]:
    """The first chunk of what its extractor makes, with the loudness that its own encode finds."""
    chunk = features_of(made, np.stack([waveform, waveform]))["input_values"][..., :48_000]
    _, scale = made.model._encode_frame(chunk, 3.0)
    num_valid = int(np.ceil(len(waveform) / 320))
    return [made.model.encoder(chunk / scale[:, :, None])[0].T[:num_valid]]


def dac(made: Small, waveform: np.ndarray) -> list[Tensor]:
    num_valid = int(np.ceil(len(waveform) / 320))
    return [made.model.encoder(features_of(made, waveform)["input_values"])[0].T[:num_valid]]


def mimi(made: Small, waveform: np.ndarray) -> list[Tensor]:
    num_valid = int(made.model.get_encoded_length(torch.tensor(len(waveform))))
    return [made.model.encoder(features_of(made, waveform)["input_values"]).latents[0].T[:num_valid]]


def qwen2_audio(made: Small, waveform: np.ndarray) -> list[Tensor]:
    """What the tower is given, and gives, while the whole model answers a prompt with the clip in it."""
    features = features_of(made, waveform, return_attention_mask=True, padding="max_length")
    tower, seen = made.model.model.audio_tower, []
    _, num_valid = tower._get_feat_extract_output_lengths(features.attention_mask.sum(-1))
    handle = tower.register_forward_pre_hook(lambda _, args, given: seen.append((args, given)), with_kwargs=True)
    made.model(
        input_ids=torch.tensor([[49] * int(num_valid) + [1]]),
        attention_mask=torch.ones(1, int(num_valid) + 1, dtype=torch.long),
        input_features=features.input_features,
        feature_attention_mask=features.attention_mask,
    )
    handle.remove()
    (args, given), *_ = seen
    return pooled(tower(*args, **given, output_hidden_states=True), int(num_valid))


def audio_flamingo_3(made: Small, waveform: np.ndarray) -> list[Tensor]:
    features = features_of(made, waveform, return_attention_mask=True)
    output = made.model.model.get_audio_features(
        features.input_features, features.attention_mask, output_hidden_states=True
    )
    return pooled(output, len(output.pooler_output))


def pooled(output: Any, num_valid: int) -> list[Tensor]:
    """Inner layers as the mean of each two neighbours."""
    inner = [(state[0, 0::2] + state[0, 1::2]) / 2 for state in output.hidden_states[:-1]]
    return [state[:num_valid] for state in (*inner, output.last_hidden_state[0])]


def pe_audio(made: Small, waveform: np.ndarray) -> list[Tensor]:
    output = made.model.audio_encoder(**features_of(made, waveform), output_hidden_states=True)
    num_valid = int(output.output_mask.sum())
    inner: Sequence[Tensor] = [state[:, 1:] for state in output.hidden_states[:-1]]
    return [state[0, :num_valid] for state in (*inner, output.last_hidden_state)]


ORACLES: dict[str, Callable[[Small, np.ndarray], list[Tensor]]] = {
    "whisper": whisper,
    **dict.fromkeys(("wav2vec2", "xls-r", "mms", "hubert", "wavlm", "data2vec"), base_model),
    "w2v-bert": w2v_bert,
    "parakeet": parakeet,
    "moonshine": moonshine,
    "ast": ast,
    "clap": clap,
    "encodec": encodec,
    "encodec 48khz": encodec_48khz,
    "dac": dac,
    "mimi": mimi,
    "qwen2-audio": qwen2_audio,
    "audio-flamingo-3": audio_flamingo_3,
    "pe-audio": pe_audio,
}
