"""Dasheng (Dinkel et al. 2024, arXiv 2406.06992): a masked autoencoder's encoder on 40 ms slices of a mel spectrogram.

Shape legend: S samples, F frames of 10 ms, B chunks, T tokens (four frames each), D encoder size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from palprobe.encoders.checkpoints import load_exactly, read_checkpoint, state_of
from palprobe.encoders.untrained import seeded
from palprobe.encoders.vit import (
    MLP_RATIO,
    NORM_EPS,
    TOKEN_STD,
    Block,
    PatchEmbed,
    VitSize,
    check_values,
    check_variant,
    hidden_states,
    locate,
    published_size,
    read_folder,
    read_size,
    size_named,
    weights_identity,
    weights_origin,
    without_values,
)
from palprobe.encoders.weights import read_config
from palprobe.errors import WeightsError
from palprobe.recipe import EncoderSection
from palprobe.specs import EncoderSpec
from palprobe.types import Kind

SAMPLE_RATE = 16_000  # Hz
HOP = SAMPLE_RATE // 100  # a frame, 10 ms
FFT = 512  # samples, the window's length too
NUM_MELS = 64
TOP_HERTZ = 8000
PATCH_FRAMES = 4
POWER_FLOOR = 1e-10
RANGE_DB = 120.0  # below the clip's loudest point the mel spectrogram is flat
CHUNK = 1008  # frames, 10.08 s: what the table of positions covers
CHUNKS_AT_ONCE = 8  # bounds the memory that a long clip takes
SIZES = {
    "dasheng-base": VitSize(768, 12, 12),
    "dasheng-06b": VitSize(1280, 32, 16),
    "dasheng-12b": VitSize(1536, 40, 24),
}
# What the configurations may say, and the one value of it that is implemented.
FIXED = {
    "target_length": CHUNK, "patch_size": [NUM_MELS, PATCH_FRAMES], "patch_stride": [NUM_MELS, PATCH_FRAMES],
    "mlp_ratio": MLP_RATIO, "qkv_bias": True,
}  # fmt: skip
FRONT_END = {
    "feature_size": NUM_MELS, "f_min": 0, "f_max": TOP_HERTZ, "hop_size": HOP, "win_size": FFT, "n_fft": FFT,
    "center": True, "sampling_rate": SAMPLE_RATE,
}  # fmt: skip
FRONT_END_PREFIX = "front_end."  # of buffers in the files on zenodo


class DashengModel(nn.Module):
    """The network from mel spectrogram to tokens."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        dim = size.embed_dim
        self.init_bn = nn.Sequential(nn.Identity(), nn.BatchNorm1d(NUM_MELS))  # the second: weights are init_bn.1
        self.patch_embed = PatchEmbed(dim, (NUM_MELS, PATCH_FRAMES))
        self.time_pos_embed = nn.Parameter(
            nn.init.normal_(torch.empty(1, dim, 1, CHUNK // PATCH_FRAMES), std=TOKEN_STD)
        )
        self.freq_pos_embed = nn.Parameter(nn.init.normal_(torch.empty(1, dim, 1, 1), std=TOKEN_STD))
        self.blocks = nn.ModuleList(Block(size, norm_first=True) for _ in range(size.depth))
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, decibels: Tensor, layers: Sequence[int]) -> Tensor:
        """(64, F) mel spectrogram in dB → (layers, F // 4, D); each chunk of 1008 frames is on its own.

        The last of several is padded with zeros after normalisation; a clip of one chunk is not padded.
        """
        mels = self.init_bn(decibels[None])[0]  # (64, F)
        num_frames = mels.shape[1]
        if num_frames > CHUNK:
            mels = F.pad(mels, (0, -num_frames % CHUNK))
        chunks = mels.unflatten(1, (-1, min(num_frames, CHUNK))).transpose(0, 1)[:, None]  # (B, 1, 64, at most 1008)
        starts = range(0, len(chunks), CHUNKS_AT_ONCE)
        tokens = [self._encode(chunks[start : start + CHUNKS_AT_ONCE], layers) for start in starts]
        return torch.cat(tokens, dim=1).flatten(1, 2)[:, : num_frames // PATCH_FRAMES]

    def _encode(self, chunks: Tensor, layers: Sequence[int]) -> Tensor:
        """(B, 1, 64, F) → (layers, B, F // 4, D)."""
        patches = self.patch_embed(chunks)  # (B, D, 1, F // 4)
        patches = patches + self.time_pos_embed[..., : patches.shape[-1]] + self.freq_pos_embed
        states = hidden_states(self.blocks, patches.flatten(2).transpose(1, 2), layers)
        last = len(self.blocks)
        return torch.stack([self.norm(states[layer]) if layer == last else states[layer] for layer in layers])


def mel_transform() -> MelSpectrogram:
    """Power in 64 HTK mel bands, centred frames, reflected at both ends."""
    return MelSpectrogram(
        SAMPLE_RATE, n_fft=FFT, win_length=FFT, hop_length=HOP, f_min=0, f_max=TOP_HERTZ, n_mels=NUM_MELS
    )


def to_decibels(power: Tensor) -> Tensor:
    """The floor is relative to the whole tensor, so give one clip at a time."""
    decibels = 10 * power.clamp(min=POWER_FLOOR).log10()
    return torch.maximum(decibels, decibels.max() - RANGE_DB)


class Dasheng:
    """Dasheng at 25 Hz; it cuts long clips into chunks of 10.08 s itself, after one front end over the whole clip.

    Hence there is no `max_seconds`: the floor of 120 dB stays relative to the clip, and no chunk begins with a
    reflected edge. Memory grows with the front end alone. Up to three frames at the end, 30 ms, make no token.
    `=PATH` is a folder with config.json and safetensors, or a `.pt` from zenodo.
    """

    VERSION = 1
    sample_rate = SAMPLE_RATE
    frame_rate = SAMPLE_RATE / (PATCH_FRAMES * HOP)  # 25 Hz
    bands = 1
    kind: Kind = "general"
    min_samples = (PATCH_FRAMES - 1) * HOP  # gives one token
    max_seconds: float | None = None

    def __init__(self, model: DashengModel, size: VitSize, *, device: str) -> None:
        self.dim = size.embed_dim
        self.depth = size.depth
        self._device = torch.device(device)
        self._model = model.to(self._device).eval().requires_grad_(False)
        self._mels = mel_transform().to(self._device)

    @classmethod
    def identify(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, Any]:
        path, size = _resolve(spec)
        floors = {"power_floor": POWER_FLOOR, "range_db": RANGE_DB}
        return {
            "name": "dasheng",
            "version": cls.VERSION,
            **weights_identity(spec, section, path),
            **asdict(size),
            "front_end": {"backend": "torchaudio", **FRONT_END, **floors},
            "window": {"chunk_frames": CHUNK, "min_samples": cls.min_samples, "max_seconds": cls.max_seconds},
        }

    @classmethod
    def kind_of(cls, spec: EncoderSpec, section: EncoderSection) -> Kind:  # noqa: ARG003 - of all alike
        return cls.kind

    @classmethod
    def depth_of(cls, spec: EncoderSpec, section: EncoderSection) -> int:  # noqa: ARG003 - no option changes it
        return _resolve(spec)[1].depth

    @classmethod
    def origin(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, str]:  # noqa: ARG003 - nothing to choose
        return weights_origin(spec, _resolve(spec)[0])

    @classmethod
    def load(cls, spec: EncoderSpec, section: EncoderSection, *, device: str) -> Dasheng:
        path, size = _resolve(spec)
        if spec.untrained or path is None:
            with seeded(section.init_seed):
                return cls(DashengModel(size), size, device=device)
        state = read_folder(path, "encoder.") if path.is_dir() else _read_zenodo(path)[1]
        model = without_values(lambda: DashengModel(size))
        load_exactly(model, state, source=path)
        return cls(model, size, device=device)

    def num_tokens(self, num_samples: int) -> int:
        return (1 + num_samples // HOP) // PATCH_FRAMES

    def encode(self, waveforms: Sequence[Tensor], layers: Sequence[int]) -> list[Tensor]:
        return [self._encode_one(waveform, layers) for waveform in waveforms]  # the floor is each clip's own

    def _encode_one(self, waveform: Tensor, layers: Sequence[int]) -> Tensor:
        states: Tensor = self._model(to_decibels(self._mels(waveform.to(self._device))), layers)
        return states  # (layers, T, D)


def _resolve(spec: EncoderSpec) -> tuple[Path | None, VitSize]:
    """The folder or file of the weights, None for an untrained encoder of published size, and the size."""
    path = locate(spec)
    if path is None:
        return None, size_named(spec, SIZES.values())
    if path.is_dir():
        size = _read_size(_read_folder_config(path), path / "config.json")
    else:
        size = _read_size(_read_zenodo(path)[0], path)
    check_variant(spec, size, SIZES.values(), path)
    return path, size


def _read_folder_config(folder: Path) -> dict[str, Any]:
    config = read_config(folder)
    if config.get("model_type") != "dasheng":
        raise WeightsError(f"{folder / 'config.json'} is of a {config.get('model_type')!r} model; expected 'dasheng'.")
    if (folder / "preprocessor_config.json").is_file():
        source = folder / "preprocessor_config.json"
        check_values(read_config(folder, source.name), FRONT_END, source)
    return config


def _read_size(config: Mapping[str, Any], source: Path) -> VitSize:
    """`name` picks a published size; `encoder_kwargs`, and before those the values beside it, say otherwise."""
    name = str(config.get("name", "")).lower().replace("_", "-").replace(".", "")
    inner = config.get("encoder_kwargs")
    said = {**(inner if isinstance(inner, Mapping) else {}), **config}
    listed = {key: list(value) if isinstance(value, tuple) else value for key, value in said.items()}
    check_values(listed, FIXED, source)
    return read_size({**(asdict(SIZES[name]) if name in SIZES else {}), **listed}, source)


def _read_zenodo(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration of a `{'model', 'config'}` file, with the size as wide as the weights where it names none."""
    checkpoint = read_checkpoint(file)
    state = state_of(checkpoint, "model", file)
    _check_front_end(state, file)
    config = checkpoint.get("config")
    state = {key: value for key, value in state.items() if not key.startswith(FRONT_END_PREFIX)}
    return {**published_size(state, SIZES.values()), **(config if isinstance(config, Mapping) else {})}, state


def _check_front_end(state: Mapping[str, Tensor], file: Path) -> None:
    """The buffers are not used, since they can be computed; window and mel filters must be those of `mel_transform`."""
    for key, own in mel_transform().state_dict().items():
        for name, found in state.items():
            if not name.startswith(FRONT_END_PREFIX) or not name.endswith(f".{key}"):
                continue
            if found.shape != own.shape or not torch.allclose(found.float(), own, atol=1e-5):
                raise WeightsError(f"{file}: {name} is not the {key} of this front end, so the weights expect another.")
