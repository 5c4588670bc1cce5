"""BEATs (Chen et al. 2022, arXiv 2212.09058), and OpenBEATs, which is the same network trained on open data.

Shape legend: S samples, F frames of 10 ms, N or T tokens, D encoder size. A token is 16 frames by 16 of 128 mel
bands; tokens are time-major, eight to a time step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchaudio.compliance import kaldi

from palprobe.encoders.beats_model import BANDS, NUM_MELS, PATCH, BeatsModel, BeatsShape
from palprobe.encoders.catalog import Published, published, variants_of
from palprobe.encoders.checkpoints import load_exactly, read_checkpoint, state_of
from palprobe.encoders.options import check_options
from palprobe.encoders.untrained import seeded
from palprobe.encoders.vit import check_values, weights_identity, without_values
from palprobe.encoders.weights import find_file
from palprobe.errors import PalprobeError, WeightsError
from palprobe.recipe import EncoderSection
from palprobe.recipe.yaml12 import parse_yaml
from palprobe.specs import EncoderSpec
from palprobe.types import Kind

SAMPLE_RATE = 16_000  # Hz
HOP = SAMPLE_RATE // 100  # a frame, 10 ms
FRAME = SAMPLE_RATE // 40  # samples that a frame covers, 25 ms
STEP = PATCH * HOP  # samples from one time step to the next, 160 ms
SCALE = 2**15  # the front end expects 16-bit integers
MEAN, STD = 15.41663, 6.55582  # of AudioSet's log-mel energies
WINDOW_STEPS = 63  # the fewest that cover 10 s, the length of training, of which it used 62

BASE = BeatsShape(
    encoder_layers=12,
    encoder_embed_dim=768,
    encoder_ffn_embed_dim=3072,
    encoder_attention_heads=12,
    embed_dim=512,
    relative_position_embedding=True,
    max_distance=800,
    gru_rel_pos=True,
    deep_norm=True,
)
LARGE = replace(  # of OpenBEATs; as in the base model, the feed-forward size is four times the width
    BASE, encoder_layers=24, encoder_embed_dim=1024, encoder_ffn_embed_dim=4096, encoder_attention_heads=16
)
FIXED = {"input_patch_size": PATCH, "activation_fn": "gelu"}  # what a cfg may say that is implemented
NO_PATCH_SIZE = -1  # what a cfg means that does not name it
ESPNET_CONFIG = "config.yaml"
ESPNET_PREFIX = "encoder."
UNUSED = ("decoder.", "patch_embedding_pad", "raw2fbank_pad")  # serve pre-training only


def log_mels(waveform: Tensor) -> Tensor:
    """(S,) → (F, 128) normalised log-mel energies, F = 1 + (S - 400) // 160; nothing is padded."""
    fbank = kaldi.fbank(
        waveform[None] * SCALE,
        num_mel_bins=NUM_MELS,
        sample_frequency=SAMPLE_RATE,
        frame_length=1000 * FRAME / SAMPLE_RATE,  # ms
        frame_shift=1000 * HOP / SAMPLE_RATE,  # ms
    )
    normalised: Tensor = (fbank - MEAN) / (2 * STD)
    return normalised


class Beats:
    """BEATs or OpenBEATs at 6.25 time steps of 8 tokens per second, each clip on its own.

    As in the official model, only whole time steps make tokens: up to 15 frames at the end of a clip, less than 160 ms,
    are not heard. A clip shorter than one time step is padded to it. Windows of long clips end with a whole time step
    (10.095 s, 63 steps), so that nothing is lost inside a clip, and 10 s stay in one piece.
    `=PATH` is a `.pt` file of `{'cfg', 'model'}`, or a file of weights alone with ESPnet's config.yaml beside it.
    """

    VERSION = 1
    sample_rate = SAMPLE_RATE
    frame_rate = SAMPLE_RATE / STEP  # 6.25 Hz
    bands = BANDS
    kind: Kind = "general"
    min_samples = FRAME + (PATCH - 1) * HOP  # gives one time step
    max_seconds: float | None = (FRAME + (WINDOW_STEPS * PATCH - 1) * HOP) / SAMPLE_RATE

    def __init__(self, model: BeatsModel, shape: BeatsShape, *, device: str) -> None:
        self.dim = shape.encoder_embed_dim
        self.depth = shape.encoder_layers
        self._device = torch.device(device)
        self._model = model.to(self._device).eval().requires_grad_(False)

    @classmethod
    def identify(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, Any]:
        path, shape = _resolve(spec)
        front_end = {"sample_rate": SAMPLE_RATE, "hop": HOP, "frame": FRAME, "mels": NUM_MELS, "mean": MEAN, "std": STD}
        return {
            "name": spec.name,
            "version": cls.VERSION,
            **weights_identity(spec, section, path),
            **asdict(shape),
            "front_end": {"backend": "torchaudio", **front_end},
            "window": {"min_samples": cls.min_samples, "max_seconds": cls.max_seconds},
        }

    @classmethod
    def kind_of(cls, spec: EncoderSpec, section: EncoderSection) -> Kind:  # noqa: ARG003 - of all alike
        return cls.kind

    @classmethod
    def depth_of(cls, spec: EncoderSpec, section: EncoderSection) -> int:  # noqa: ARG003 - no option changes it
        return _resolve(spec)[1].encoder_layers

    @classmethod
    def origin(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, str]:  # noqa: ARG003 - nothing to choose
        path = _locate(spec)
        if spec.untrained or path is None:
            return {"weights": "untrained"}
        if spec.path is not None:
            return {"weights": str(path)}
        return {"weights": published(spec).hub_id, "revision": path.parent.name}  # a snapshot's folder

    @classmethod
    def load(cls, spec: EncoderSpec, section: EncoderSection, *, device: str) -> Beats:
        path = _locate(spec)
        if spec.untrained or path is None:
            shape = _resolve(spec)[1]
            with seeded(section.init_seed):
                return cls(BeatsModel(shape), shape, device=device)
        weights = _read(path)
        _check_variant(spec, weights.shape, path)
        model = without_values(lambda: BeatsModel(weights.shape))
        load_exactly(model, weights.state, source=path)
        _check_shared(weights.state, path)
        return cls(model, weights.shape, device=device)

    def num_tokens(self, num_samples: int) -> int:
        num_frames = 1 + (num_samples - FRAME) // HOP
        return num_frames // PATCH * BANDS

    def encode(self, waveforms: Sequence[Tensor], layers: Sequence[int]) -> list[Tensor]:
        return [self._encode_one(waveform, layers) for waveform in waveforms]  # padding changes features, even masked

    def _encode_one(self, waveform: Tensor, layers: Sequence[int]) -> Tensor:
        states: Tensor = self._model(log_mels(waveform.to(self._device))[None], layers)
        return states[:, 0]  # (layers, T, D)


@dataclass(frozen=True, eq=False)
class _Weights:
    """What a file holds."""

    shape: BeatsShape
    state: Mapping[str, Tensor]  # by the official names


def _locate(spec: EncoderSpec) -> Path | None:
    """The file of the weights; None for an untrained encoder of published size."""
    check_options(spec, variants=variants_of(spec.name), folder=True, weights=True)
    entry = published(spec)
    return None if spec.untrained and spec.path is None else find_file(spec.path, entry)


def _resolve(spec: EncoderSpec) -> tuple[Path | None, BeatsShape]:
    """The file of the weights, None for an untrained encoder of published size, and the shape."""
    path = _locate(spec)
    if path is None:
        return None, _published_shape(published(spec))
    shape = _read(path).shape
    _check_variant(spec, shape, path)
    return path, shape


def _published_shape(entry: Published) -> BeatsShape:
    return next(shape for shape in (BASE, LARGE) if shape.encoder_embed_dim == entry.dim)


def _check_variant(spec: EncoderSpec, found: BeatsShape, path: Path) -> None:
    """Raises WeightsError if the weights have another size than the variant that the spec names."""
    if spec.variant is None:
        return
    entry = published(spec)
    named = _published_shape(entry)
    size, expected = ((shape.encoder_layers, shape.encoder_embed_dim) for shape in (found, named))
    if size != expected:
        raise WeightsError(
            f"{path} has {size[0]} layers of width {size[1]}, which is not {entry.spec} ({expected[0]} of {expected[1]}"
            f"). Drop ':{spec.variant}'."
        )


def _read(file: Path) -> _Weights:
    """A `{'cfg', 'model'}` file, or weights alone with a configuration beside them.

    Raises:
        WeightsError: it is damaged, something is missing, or the configuration is not that of a BEATs model.
    """
    checkpoint = read_checkpoint(file)
    if isinstance(checkpoint, Mapping) and checkpoint and all(isinstance(v, Tensor) for v in checkpoint.values()):
        return _Weights(read_shape(*_read_espnet(file)), _own_keys(checkpoint))
    state = state_of(checkpoint, "model", file)
    cfg = checkpoint.get("cfg")
    if not isinstance(cfg, Mapping):
        raise WeightsError(f"{file}: 'cfg' is {type(cfg).__name__}; expected the keys and values of a BEATs model.")
    return _Weights(read_shape(cfg, file), _own_keys(state))


def _read_espnet(file: Path) -> tuple[Mapping[str, Any], Path]:
    """The configuration beside a file of weights alone, and where it is."""
    source = file.with_name(ESPNET_CONFIG)
    try:
        config = parse_yaml(source.read_text(encoding="utf-8"), where=str(source))
    except FileNotFoundError as error:
        raise WeightsError(
            f"{file} holds weights without a 'cfg'. Put ESPnet's {ESPNET_CONFIG} with encoder_conf.beats_config "
            "beside it."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{source} cannot be read: {error}.") from error
    except PalprobeError as error:
        raise WeightsError(str(error)) from error
    for key in ("encoder_conf", "beats_config"):
        config = config.get(key) if isinstance(config, Mapping) else None
    if not isinstance(config, Mapping):
        raise WeightsError(f"{source} has no keys and values under encoder_conf.beats_config.")
    return config, source


def _own_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's weights by their official names; ESPnet's have a prefix, beside a decoder."""
    wrapped = any(key.startswith(f"{ESPNET_PREFIX}patch_embedding.") for key in state)
    names = {key: key.removeprefix(ESPNET_PREFIX) if wrapped else key for key in state}
    return {name: state[key] for key, name in names.items() if not name.startswith(UNUSED)}


def read_shape(cfg: Mapping[str, Any], source: Path) -> BeatsShape:
    """What a configuration says; sizes must be there. Rates of dropout and decay act in training only.

    Raises:
        WeightsError: a value that is missing or cannot be, named with its key.
    """
    known = fields(BeatsShape)
    missing = [field.name for field in known if field.default is MISSING and field.name not in cfg]
    if missing:
        raise WeightsError(f"{source} is not of a BEATs model: its configuration lacks {', '.join(missing)}.")
    check_values({"input_patch_size": NO_PATCH_SIZE, **cfg}, FIXED, source)
    for field in known:
        value = cfg.get(field.name, field.default)
        expected = "True or False" if field.type == "bool" else "a whole number above 0"
        if not isinstance(value, bool) if field.type == "bool" else type(value) is not int or value < 1:
            raise WeightsError(f"{source}: {field.name} is {value!r}; expected {expected}.")
    shape = BeatsShape(**{field.name: cfg[field.name] for field in known if field.name in cfg})
    _check_together(shape, source)
    return shape


def _check_together(shape: BeatsShape, source: Path) -> None:
    """Raises WeightsError if a value of the configuration does not go with another."""
    width, exact = shape.encoder_embed_dim, shape.num_buckets // 4
    wanted = {
        "encoder_attention_heads": (width % shape.encoder_attention_heads == 0, f"a divisor of the width {width}"),
        "conv_pos_groups": (width % shape.conv_pos_groups == 0, f"a divisor of the width {width}"),
        "num_buckets": (exact > 0 and shape.num_buckets % 2 == 0, "an even number from 4"),
        "max_distance": (shape.max_distance > exact, f"more than {exact}, a quarter of num_buckets"),
        "gru_rel_pos": (shape.relative_position_embedding or not shape.gru_rel_pos, "False without a position bias"),
    }
    for key, (holds, expected) in wanted.items():
        if not holds:
            raise WeightsError(f"{source}: {key} is {getattr(shape, key)!r}; expected {expected}.")


def _check_shared(state: Mapping[str, Tensor], source: Path) -> None:
    """Raises WeightsError if the table that all layers share differs between them."""
    tables = {key: value for key, value in state.items() if key.endswith(".relative_attention_bias.weight")}
    first = next(iter(tables.values()), None)
    odd = [key for key, value in tables.items() if first is not None and not torch.equal(value, first)]
    if odd:
        raise WeightsError(f"{source}: {odd[0]} differs from the first layer's. Expected one table for all layers.")
