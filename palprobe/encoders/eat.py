"""EAT (Chen et al. 2024, arXiv 2401.03497) and SSLAM (Alex et al. 2025), which is the same network trained on mixtures.

Shape legend: S samples, F frames of 10 ms, N tokens, D encoder size. A token is 16 frames by 16 of 128 mel bands;
tokens are time-major, eight to a time step, after one class token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.compliance import kaldi

from palprobe.encoders.catalog import published
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
FRAME = SAMPLE_RATE // 40  # samples that a frame covers, 25 ms
NUM_MELS = 128
PATCH = 16  # frames, and mel bands
BANDS = NUM_MELS // PATCH
TARGET_FRAMES = 1024  # AudioSet's clips of 10 s, padded: the length of training
MEAN, STD = -4.268, 4.569  # of AudioSet's log-mel energies
MAX_STEPS = 768  # rows of the table of positions, 122.88 s
AUDIOSET_CLASSES = 527
SIZES = (VitSize(768, 12, 12), VitSize(1024, 24, 16))
# What config.json may say, and the one value of it that is implemented.
FIXED = {
    "patch_size": PATCH, "stride": PATCH, "in_chans": 1, "mel_bins": NUM_MELS, "qkv_bias": True,
    "layer_norm_first": False, "norm_affine": True, "fixed_positions": True,
}  # fmt: skip
IMAGE = "modality_encoders.IMAGE."
FAIRSEQ_NAMES = {f"{IMAGE}context_encoder.norm.": "pre_norm.", IMAGE: ""}
FAIRSEQ_UNUSED = ("_ema", "decoder.", f"{IMAGE}decoder.")  # serve pre-training only


@dataclass(frozen=True)
class EatShape:
    """What decides the architecture."""

    size: VitSize
    mlp_ratio: float = MLP_RATIO
    norm_eps: float = NORM_EPS
    max_steps: int = MAX_STEPS


class Positions(nn.Module):
    """A fixed table with a row for each patch, which the state dict holds too."""

    positions: Tensor  # (1, 8 steps, D)

    def __init__(self, num_steps: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("positions", sincos_table(num_steps, dim))


class EatModel(nn.Module):
    """The network from log-mel patches to tokens; a fine-tuned one has a head, which features do not pass."""

    def __init__(self, shape: EatShape, *, num_classes: int | None = None) -> None:
        super().__init__()
        dim, norms = shape.size.embed_dim, {"mlp_ratio": shape.mlp_ratio, "norm_eps": shape.norm_eps}
        self.local_encoder = PatchEmbed(dim, (PATCH, PATCH))
        self.fixed_positional_encoder = Positions(shape.max_steps, dim)
        self.extra_tokens = nn.Parameter(nn.init.normal_(torch.empty(1, 1, dim), std=TOKEN_STD))
        self.pre_norm = nn.LayerNorm(dim, eps=shape.norm_eps)
        self.blocks = nn.ModuleList(Block(shape.size, norm_first=False, **norms) for _ in range(shape.size.depth))
        if num_classes is not None:
            self.fc_norm = nn.LayerNorm(dim)
            self.head = nn.Linear(dim, num_classes)

    def forward(self, fbank: Tensor, layers: Sequence[int]) -> Tensor:
        """(F, 128), F a multiple of 16 → (layers, 1 + F / 2, D), the class token first."""
        patches = self.local_encoder(fbank[None, None]).flatten(2).transpose(1, 2)  # (1, N, D)
        tokens = patches + self.fixed_positional_encoder.positions[:, : patches.shape[1]]
        tokens = self.pre_norm(torch.cat([self.extra_tokens, tokens], dim=1))
        states = hidden_states(self.blocks, tokens, layers)
        return torch.cat([states[layer] for layer in layers])


def sincos_table(num_steps: int, dim: int) -> Tensor:
    """(1, 8 steps, D): half of D for the band and half for the time step, each of sines and then cosines."""
    rates = 10_000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))

    def waves(index: Tensor) -> Tensor:
        angles = index[:, None] * rates
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    steps, bands = torch.arange(num_steps), torch.arange(BANDS)
    table = torch.cat([waves(bands.repeat(num_steps)), waves(steps.repeat_interleave(BANDS))], dim=1)
    return table.float()[None]


def log_mels(waveform: Tensor, target_frames: int | None) -> Tensor:
    """(S,) → (F, 128) normalised log-mel energies, F as in `target_frames`; None: up to the next multiple of 16.

    Padding is 0 in the log-mel energies themselves, hence not 0 once they are normalised. Kaldi removes the mean of
    each frame besides, so that of the clip is removed only to compute what the authors do.
    """
    fbank = kaldi.fbank(
        (waveform - waveform.mean())[None],
        num_mel_bins=NUM_MELS,
        sample_frequency=SAMPLE_RATE,
        frame_shift=1000 * HOP / SAMPLE_RATE,  # ms
        htk_compat=True,
        use_energy=False,
        window_type="hanning",
        dither=0.0,
    )
    length = -(-len(fbank) // PATCH) * PATCH if target_frames is None else target_frames
    padded = F.pad(fbank, (0, 0, 0, length - len(fbank)))
    return (padded - MEAN) / (2 * STD)


class Eat:
    """EAT or SSLAM on windows of 10.24 s, as trained: shorter ones are padded to 1024 frames, without a mask.

    Tokens past the window's own frames and the class token are left out. `=PATH` is a folder with config.json and
    safetensors, or a `.pt` of fairseq that holds tensors and plain values only.
    """

    VERSION = 1
    sample_rate = SAMPLE_RATE
    frame_rate = SAMPLE_RATE / (PATCH * HOP)  # 6.25 Hz
    bands = BANDS
    kind: Kind = "general"
    min_samples = FRAME  # gives one time step
    max_seconds: float | None = TARGET_FRAMES * HOP / SAMPLE_RATE  # 1022 whole frames, 64 time steps

    def __init__(self, model: EatModel, shape: EatShape, *, device: str) -> None:
        self.dim = shape.size.embed_dim
        self.depth = shape.size.depth
        self._device = torch.device(device)
        self._model = model.to(self._device).eval().requires_grad_(False)

    @classmethod
    def identify(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, Any]:
        path, shape = _resolve(spec)
        front_end = {"backend": "torchaudio", "sample_rate": SAMPLE_RATE, "mels": NUM_MELS, "mean": MEAN, "std": STD}
        return {
            "name": spec.name,
            "version": cls.VERSION,
            **weights_identity(spec, section, path),
            **asdict(shape),
            "front_end": {**front_end, "target_frames": TARGET_FRAMES},
            "window": {"min_samples": cls.min_samples, "max_seconds": cls.max_seconds},
        }

    @classmethod
    def kind_of(cls, spec: EncoderSpec, section: EncoderSection) -> Kind:  # noqa: ARG003 - of all alike
        return cls.kind

    @classmethod
    def depth_of(cls, spec: EncoderSpec, section: EncoderSection) -> int:  # noqa: ARG003 - no option changes it
        return _resolve(spec)[1].size.depth

    @classmethod
    def origin(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, str]:  # noqa: ARG003 - nothing to choose
        return weights_origin(spec, _resolve(spec)[0])

    @classmethod
    def load(cls, spec: EncoderSpec, section: EncoderSection, *, device: str) -> Eat:
        path, shape = _resolve(spec)
        if spec.untrained or path is None:
            with seeded(section.init_seed):
                return cls(EatModel(shape), shape, device=device)
        state = read_folder(path, "model.") if path.is_dir() else _read_fairseq(path, spec)[1]
        model = without_values(lambda: EatModel(shape, num_classes=_num_classes(state)))
        load_exactly(model, state, source=path)
        return cls(model, shape, device=device)

    def num_tokens(self, num_samples: int) -> int:
        num_frames = 1 + (num_samples - FRAME) // HOP
        return -(-num_frames // PATCH) * BANDS

    def encode(self, waveforms: Sequence[Tensor], layers: Sequence[int]) -> list[Tensor]:
        return [self._encode_one(waveform, layers) for waveform in waveforms]  # a batch changes the last bits

    def _encode_one(self, waveform: Tensor, layers: Sequence[int]) -> Tensor:
        states: Tensor = self._model(log_mels(waveform.to(self._device), TARGET_FRAMES), layers)
        return states[:, 1 : 1 + self.num_tokens(len(waveform))]  # (layers, T, D)


def _resolve(spec: EncoderSpec) -> tuple[Path | None, EatShape]:
    """The folder or file of the weights, None for an untrained encoder of published size, and the shape."""
    path = locate(spec)
    if path is None:
        return None, EatShape(size_named(spec, SIZES))
    if path.is_dir():
        shape = _read_shape(_read_folder_config(path), path / "config.json")
    else:
        shape = _read_shape(_read_fairseq(path, spec)[0], path)
    check_variant(spec, shape.size, SIZES, path)
    return path, shape


def _read_folder_config(folder: Path) -> dict[str, Any]:
    config = read_config(folder)
    if config.get("model_type") not in ("eat", "sslam"):
        raise WeightsError(f"{folder / 'config.json'} is of a {config.get('model_type')!r} model; expected 'eat'.")
    return config


def _read_shape(config: Mapping[str, Any], source: Path) -> EatShape:
    """What a configuration says; sizes must be there, other values default to those of the published models.

    `img_size` decides nothing, since the table of positions covers any length; dropout rates act in training only.
    """
    check_values(config, FIXED, source)
    numbers = {"mlp_ratio": MLP_RATIO, "norm_eps": NORM_EPS, "max_length": MAX_STEPS}
    found = {name: config.get(name, default) for name, default in numbers.items()}
    wrong = [f"{name} {value!r}" for name, value in found.items() if not isinstance(value, int | float) or value <= 0]
    if wrong:
        raise WeightsError(f"{source} has {', '.join(wrong)}; expected numbers above 0.")
    if found["max_length"] < TARGET_FRAMES // PATCH:
        raise WeightsError(
            f"{source}: max_length is {found['max_length']}; a window has {TARGET_FRAMES // PATCH} steps."
        )
    return EatShape(read_size(config, source), found["mlp_ratio"], found["norm_eps"], int(found["max_length"]))


def _read_fairseq(file: Path, spec: EncoderSpec) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the state dict of a fairseq checkpoint, both by the names of the Hugging Face layout."""
    try:
        checkpoint = read_checkpoint(file)
    except WeightsError as error:
        other = published(spec).hub_id
        raise WeightsError(f"{error} For a .pt as fairseq writes it, take the safetensors of {other}.") from error
    model = checkpoint.get("model") if isinstance(checkpoint, Mapping) else None
    if isinstance(model, Mapping):
        checkpoint = {**checkpoint, "model": {key: value for key, value in model.items() if key != "_ema"}}
    state = _from_fairseq(state_of(checkpoint, "model", file))
    cfg = checkpoint.get("cfg")
    said = cfg.get("model") if isinstance(cfg, Mapping) else None
    config = {**published_size(state, SIZES), **(said if isinstance(said, Mapping) else {})}
    positions = state.get("fixed_positional_encoder.positions")  # fairseq keeps its length elsewhere in cfg
    if positions is not None and positions.dim() == 3:
        config["max_length"] = positions.shape[1] // BANDS
    return config, state


def _from_fairseq(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for full, value in state.items():
        key = full.removeprefix("model.")  # of a fine-tuned one
        if key.startswith(FAIRSEQ_UNUSED):
            continue
        old, new = next(((old, new) for old, new in FAIRSEQ_NAMES.items() if key.startswith(old)), ("", ""))
        renamed[new + key.removeprefix(old)] = value
    return renamed


def _num_classes(state: Mapping[str, Tensor]) -> int | None:
    """Classes of a fine-tuned model, as many as its head has; None for a pre-trained one."""
    if not any(key.startswith(("fc_norm.", "head.")) for key in state):
        return None
    return len(state["head.weight"]) if "head.weight" in state else AUDIOSET_CLASSES
