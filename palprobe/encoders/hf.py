"""Encoders that transformers implements; the one file among the encoders that imports it. Never remote code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from palprobe.encoders.options import check_options
from palprobe.encoders.untrained import seeded
from palprobe.encoders.weights import find_folder, read_config, weight_files, weights_sha256
from palprobe.errors import UsageError, WeightsError
from palprobe.recipe import EncoderSection, EncoderSpec

SAMPLE_RATE = 16_000  # Hz
HOP = SAMPLE_RATE // 100  # a mel frame, 10 ms
TOKEN = 2 * HOP  # the second convolution has stride 2
FRAME_RATE = SAMPLE_RATE / TOKEN  # 50 Hz
FFT = 400  # 25 ms
CONFIG_DEFAULTS = {"activation_function": "gelu", "scale_embedding": False}


@dataclass(frozen=True)
class WhisperShape:
    """What decides the encoder's architecture, by its names in config.json."""

    d_model: int
    encoder_layers: int
    encoder_attention_heads: int
    encoder_ffn_dim: int
    num_mel_bins: int = 80
    max_source_positions: int = 1500  # 30 s
    activation_function: str = "gelu"
    scale_embedding: bool = False


# Table 1 of Radford et al. (2022), arXiv 2212.04356; the feed-forward size is four times the width, and the third
# generation hears 128 mel bands.
LARGE_V3 = WhisperShape(1280, 32, 20, 5120, num_mel_bins=128)
SHAPES = {
    "tiny": WhisperShape(384, 4, 6, 1536),
    "base": WhisperShape(512, 6, 8, 2048),
    "small": WhisperShape(768, 12, 12, 3072),
    "medium": WhisperShape(1024, 24, 16, 4096),
    "large": WhisperShape(1280, 32, 20, 5120),
    "large-v2": WhisperShape(1280, 32, 20, 5120),
    "large-v3": LARGE_V3,
    "large-v3-turbo": LARGE_V3,  # only the decoder is smaller
}
SHAPES |= {f"{size}.en": SHAPES[size] for size in ("tiny", "base", "small", "medium")}
DEFAULT_VARIANT = "small"


class Whisper:
    """Whisper's encoder: log-mel windows of 30 s, padded with silence; tokens past the clip's length are dropped.

    `random:whisper` has a shorter window (recipe key encoder.untrained_window_seconds), since nothing ties an
    untrained one to 30 s. `@N` is the hidden state that enters block N (0-based); the last one is normalised.
    """

    VERSION = 1
    sample_rate = SAMPLE_RATE
    frame_rate = FRAME_RATE
    bands = 1
    kind: Literal["general", "speech"] = "speech"
    min_samples = TOKEN

    def __init__(self, encoder: Any, shape: WhisperShape, *, layer: int, device: str) -> None:
        from transformers import WhisperFeatureExtractor

        self.dim = shape.d_model
        self.max_seconds: float | None = shape.max_source_positions / FRAME_RATE
        self._window = shape.max_source_positions * TOKEN  # samples
        self._layer = layer
        self._device = torch.device(device)
        self._encoder = encoder.to(self._device).eval().requires_grad_(False)
        self._front_end = WhisperFeatureExtractor(feature_size=shape.num_mel_bins, hop_length=HOP, n_fft=FFT)

    @classmethod
    def identify(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, Any]:
        folder, shape = _resolve(spec, section)
        weights = {"weights_sha256": weights_sha256(folder)} if folder else {"init_seed": section.init_seed}
        front_end = {"backend": "transformers", "sample_rate": SAMPLE_RATE, "hop": HOP, "fft": FFT}
        return {
            "name": "whisper",
            "version": cls.VERSION,
            "untrained": spec.untrained,
            "layer": _layer(spec, shape),
            **weights,
            **asdict(shape),
            "front_end": front_end,
        }

    @classmethod
    def origin(cls, spec: EncoderSpec, section: EncoderSection) -> dict[str, str]:
        folder, _ = _resolve(spec, section)
        if folder is None:
            return {"weights": "untrained"}
        if spec.path is not None:
            return {"weights": str(folder)}
        return {"weights": _hub_id(spec), "revision": folder.name}  # a snapshot's folder is named by its commit

    @classmethod
    def load(cls, spec: EncoderSpec, section: EncoderSection, *, device: str) -> Whisper:
        folder, shape = _resolve(spec, section)
        layer = _layer(spec, shape)
        if folder is None:
            return cls(_untrained(shape, section.init_seed), shape, layer=layer, device=device)
        return cls(_trained(folder), shape, layer=layer, device=device)

    def num_tokens(self, num_samples: int) -> int:
        num_mels = -(-num_samples // HOP)
        return (num_mels - 1) // 2 + 1

    def encode(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        return [self._encode_one(waveform) for waveform in waveforms]  # one by one: a batch changes the last bits

    def _encode_one(self, waveform: Tensor) -> Tensor:
        mels = self._front_end(
            waveform.cpu().numpy(), sampling_rate=SAMPLE_RATE, max_length=self._window, return_tensors="pt"
        ).input_features  # (1, mel bands, 2 x positions)
        output = self._encoder(mels.to(self._device), output_hidden_states=True)
        hidden: Tensor = output.hidden_states[self._layer][0]  # (positions, D)
        return hidden[: self.num_tokens(len(waveform))]


def _hub_id(spec: EncoderSpec) -> str:
    return f"openai/whisper-{spec.variant or DEFAULT_VARIANT}"


def _resolve(spec: EncoderSpec, section: EncoderSection) -> tuple[Path | None, WhisperShape]:
    """The folder of the weights, None for an untrained encoder, and the shape; what can be wrong is found here."""
    check_options(spec, variants=SHAPES, folder=True, layers=True, weights=True)
    variant = spec.variant or DEFAULT_VARIANT
    if spec.untrained:
        shape = SHAPES[variant] if spec.path is None else _read_shape(Path(spec.path).expanduser(), spec)
        return None, replace(shape, max_source_positions=max(1, round(section.untrained_window_seconds * FRAME_RATE)))
    folder = find_folder(spec.path, hub_id=_hub_id(spec), control=f"random:whisper:{variant}")
    shape = _read_shape(folder, spec)
    weight_files(folder)
    return folder, shape


def _read_shape(folder: Path, spec: EncoderSpec) -> WhisperShape:
    config = {**CONFIG_DEFAULTS, **read_config(folder)}
    if config.get("model_type") != "whisper":
        raise WeightsError(f"{folder / 'config.json'} is of a {config.get('model_type')!r} model; expected 'whisper'.")
    names = [field.name for field in fields(WhisperShape)]
    missing = [name for name in names if name not in config]
    if missing:
        raise WeightsError(f"{folder / 'config.json'} lacks {', '.join(missing)}.")
    shape = WhisperShape(**{name: config[name] for name in names})
    if spec.variant is not None and shape != SHAPES[spec.variant]:
        raise WeightsError(f"{folder} holds {shape}, which is not whisper:{spec.variant}. Drop ':{spec.variant}'.")
    if (folder / "preprocessor_config.json").is_file():
        _check_front_end(folder, shape)
    return shape


def _check_front_end(folder: Path, shape: WhisperShape) -> None:
    """All published models share one front end; another one would need more than a number changed."""
    found = read_config(folder, "preprocessor_config.json")
    expected: dict[str, float] = {
        "feature_size": shape.num_mel_bins,
        "sampling_rate": SAMPLE_RATE,
        "hop_length": HOP,
        "n_fft": FFT,
    }
    expected |= {"dither": 0.0, "padding_value": 0.0}
    for key, value in expected.items():
        if found.get(key, value) != value:
            raise WeightsError(f"{folder / 'preprocessor_config.json'}: {key} is {found[key]}; expected {value}.")


def _layer(spec: EncoderSpec, shape: WhisperShape) -> int:
    """Index into the hidden states; the last and its number are the same."""
    layer = shape.encoder_layers if spec.layer == "last" else int(spec.layer)
    if layer > shape.encoder_layers:
        raise UsageError(
            f"{spec.text!r}: its layers are @0, input of the first block, to @{shape.encoder_layers}, the last."
        )
    return layer


def _untrained(shape: WhisperShape, seed: int) -> Any:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    with seeded(seed):
        return WhisperEncoder(WhisperConfig(**asdict(shape)))


def _trained(folder: Path) -> Any:
    from safetensors import SafetensorError
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    try:
        with _quiet():  # of a whole model, the decoder's weights are rightly left over
            encoder, info = WhisperEncoder.from_pretrained(
                folder,
                key_mapping={r"^(model\.)?encoder\.": ""},
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below
                use_safetensors=True,
                local_files_only=True,
                dtype=torch.float32,
            )
    except SafetensorError as error:
        raise WeightsError(f"The safetensors in {folder} are damaged ({error}). Fetch them again.") from error
    wrong = [*info["missing_keys"], *(key[0] for key in info["mismatched_keys"])]
    if wrong or info["error_msgs"]:
        shown = ", ".join(sorted(wrong)[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise WeightsError(f"{folder} does not hold a Whisper encoder: missing or of another shape are {shown}.")
    return encoder


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the loading report and progress bar of transformers; its settings are put back."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
