"""hf: for an architecture that no family knows: what AutoModel and AutoFeatureExtractor make of its folder.

Its rate is measured when it is loaded, and the length of a clip is known once the clip is encoded. It has no layers to
choose from, since nothing says that its inner states are a stack of one shape. S samples, T tokens, D encoder size.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from palprobe.encoders.hf.family import Foreign, Inputs
from palprobe.encoders.hf.files import CONFIG, PREPROCESSOR, find_weights, read_weights
from palprobe.encoders.hf.frontend import moved
from palprobe.encoders.hf.geometry import WINDOW_SECONDS
from palprobe.encoders.hf.model import trained, untrained
from palprobe.encoders.hf.quiet import quiet
from palprobe.encoders.hf.settings import ASIDE, NAMES, back_end, front_end_file, make_config
from palprobe.encoders.weights import file_sha256, read_config
from palprobe.errors import EncoderError, WeightsError
from palprobe.hub import config_errors
from palprobe.recipe import EncoderSection
from palprobe.specs import EncoderSpec
from palprobe.types import Kind

DEPTH = 0
PROBE_SECONDS = (1, 9)  # shorter than any fixed window; a rate is measured to 1/8 Hz
SHORTEST_SECONDS = (0.1, 0.5, 1.0)  # tried in turn
SPEECH = frozenset(
    {
        "canary", "cohere_asr", "glmasr", "glmasr_encoder", "granite_speech", "granite_speech_encoder", "lasr_ctc",
        "lasr_encoder", "moonshine_streaming", "seamless_m4t", "seamless_m4t_v2", "sew", "sew-d", "speech_to_text",
        "speecht5", "voxtral", "voxtral_encoder",
    }
)  # fmt: skip
# Where the encoder is, in models that do not tell: class of transformers (None: AutoModel's) and dotted name in it.
PARTS: Mapping[str, tuple[str | None, str]] = {
    "granite_speech": (None, "encoder"),
    "lasr_ctc": (None, "encoder"),
    "seamless_m4t": (None, "speech_encoder"),
    "seamless_m4t_v2": (None, "speech_encoder"),
    "speecht5": ("SpeechT5ForSpeechToText", "speecht5.encoder"),
}
WAVEFORMS, MASKS = ("input_values", "input_features"), ("attention_mask", "padding_mask", "input_features_mask")
# What a model raises that is given something else than it expects, or too little.
UNFIT = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError)


def identify(spec: EncoderSpec, section: EncoderSection, folder: Path) -> dict[str, Any]:
    """Everything that decides the output, as JSON.

    Raises:
        WeightsError: the folder holds no audio encoder, or no weights.
    """
    raw, extractor = read_config(folder, CONFIG), _extractor(folder)
    _, settings = front_end_file(folder)
    files = () if spec.untrained else find_weights(spec, spec.variant or "", folder, "")
    trained_by = {"weights_sha256": [file_sha256(path) for path in files]}
    return {
        "name": "hf",
        "untrained": spec.untrained,
        **({"init_seed": section.init_seed} if spec.untrained else trained_by),
        "config": {key: value for key, value in raw.items() if key not in ASIDE},
        "front_end": {
            "class": type(extractor).__name__,
            "back_end": back_end(extractor),
            **{key: value for key, value in (settings or {}).items() if key not in NAMES},
        },
        "sample_rate": extractor.sampling_rate,
    }


def kind_of(folder: Path) -> Kind:
    """What the encoder of a folder was trained on, as far as its architecture tells."""
    return "speech" if read_config(folder, CONFIG).get("model_type") in SPEECH else "general"


def load(spec: EncoderSpec, section: EncoderSection, folder: Path, *, device: str) -> AutomaticEncoder:
    """The encoder inside the model of a folder.

    Raises:
        WeightsError: the folder holds no audio encoder, or not all of its weights.
        EncoderError: its output is no row of tokens.
    """
    raw, extractor = read_config(folder, CONFIG), _extractor(folder)
    config = make_config(raw, str(folder / CONFIG))
    kind, part = _find_part(config, folder)
    if spec.untrained:
        model = untrained(lambda: kind(config), seed=section.init_seed)
    else:
        state = read_weights(find_weights(spec, spec.variant or "", folder, ""), "")
        model = trained(kind, config, state, part=part, unused=(), where=str(folder), what=config.model_type)
    return AutomaticEncoder(model, part, extractor, name=spec.text, device=device)


def _extractor(folder: Path) -> Foreign:
    from transformers import AutoFeatureExtractor

    try:
        with quiet():
            extractor = AutoFeatureExtractor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except config_errors(OSError) as error:
        model_type = read_config(folder, CONFIG).get("model_type")
        raise WeightsError(
            f"{folder} is of a {model_type!r} model without an audio feature extractor. Expected an audio encoder, "
            f"with {PREPROCESSOR} beside {CONFIG}."
        ) from error
    return extractor


def _find_part(config: Foreign, folder: Path) -> tuple[Any, str]:
    """The class to load, and the dotted name of the audio encoder in it; "" if it is the whole."""
    import transformers

    name, part = PARTS.get(config.model_type, (None, ""))
    kind: Any = getattr(transformers, name) if name else transformers.MODEL_MAPPING.get(type(config), None)
    if not callable(kind):  # nothing, or several classes to choose from
        raise WeightsError(f"{folder / CONFIG}: transformers has no AutoModel for {config.model_type!r}.")
    if part:
        return kind, part
    with torch.device("meta"), quiet():
        model: Foreign = kind(config)
    encodes_text_too = bool(getattr(config, "is_encoder_decoder", False))
    if model.main_input_name in WAVEFORMS and not encodes_text_too:
        return kind, ""  # get_encoder() of wav2vec2-like models leaves out their convolutions
    encoder = model.get_encoder(modality="audio")
    if encoder is model and encodes_text_too:
        encoder = model.get_encoder()
    if getattr(encoder, "main_input_name", "") not in WAVEFORMS:
        raise WeightsError(f"{folder} is of a {config.model_type!r} model, in which no audio encoder was found.")
    return kind, next(name for name, module in model.named_modules() if module is encoder)


class AutomaticEncoder:
    """Runs a part of a model of transformers on what its feature extractor gives for one clip."""

    bands = 1
    depth = DEPTH

    def __init__(self, model: Foreign, part: str, extractor: Foreign, *, name: str, device: str) -> None:
        self.name = name
        self.kind: Kind = "speech" if model.config.model_type in SPEECH else "general"
        self.sample_rate: int = extractor.sampling_rate
        chunk = getattr(extractor, "chunk_length", None)  # seconds, of extractors like Whisper's
        self.max_seconds: float | None = min(chunk or WINDOW_SECONDS, WINDOW_SECONDS)
        self._device = torch.device(device)
        self._extractor, self._model = extractor, model.to(self._device).eval().requires_grad_(False)
        self._encoder = self._model.get_submodule(part)
        self._accepts = inspect.signature(self._encoder.forward).parameters
        self._seen: dict[int, int] = {}  # samples -> tokens
        # Some towers have a parameter for a mask that they cannot use, and are run without one in their own models.
        self._masked = self._takes(PROBE_SECONDS[0], masked=True)
        self._measure()

    def _measure(self) -> None:
        try:
            first, second = (self._run(self._noise(seconds)) for seconds in PROBE_SECONDS)
        except UNFIT as error:
            raise EncoderError(
                f"{self.name}: {type(self._encoder).__name__} cannot be run on what {type(self._extractor).__name__} "
                f"gives ({' '.join(str(error).split())[:200]})."
            ) from error
        self.dim = first.shape[1]
        self.frame_rate = (len(second) - len(first)) / (PROBE_SECONDS[1] - PROBE_SECONDS[0])
        if self.frame_rate <= 0:
            raise EncoderError(f"{self.name} gives {len(first)} tokens whatever the length of a clip: no time steps.")
        self.min_samples = next(
            (round(seconds * self.sample_rate) for seconds in SHORTEST_SECONDS if self._takes(seconds)),
            PROBE_SECONDS[0] * self.sample_rate,
        )

    def _takes(self, seconds: float, *, masked: bool | None = None) -> bool:
        self._masked = self._masked if masked is None else masked
        try:
            return bool(self._run(self._noise(seconds)).isfinite().all())
        except UNFIT:  # too short for its convolutions or its front end, or a mask where none is wanted
            return False

    def _noise(self, seconds: float) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return 0.1 * torch.randn(round(seconds * self.sample_rate), generator=generator)

    def num_tokens(self, num_samples: int) -> int:
        """What it gave for that length; before the first time, what its frame rate leads one to expect."""
        expected = math.ceil(num_samples / self.sample_rate * self.frame_rate)
        return self._seen.get(num_samples, max(expected, 1))

    def encode(self, waveforms: Sequence[Tensor], layers: Sequence[int]) -> list[Tensor]:
        return [self._run(waveform).expand(len(layers), -1, -1) for waveform in waveforms]

    def _run(self, waveform: Tensor) -> Tensor:
        with torch.inference_mode():
            inputs = moved(self._features(waveform), self._device)
            output = self._encoder(**{name: inputs[name] for name in inputs if self._masked or name not in MASKS})
        tokens = getattr(output, "last_hidden_state", None)
        if not isinstance(tokens, Tensor) or tokens.dim() != 3 or len(tokens) != 1:
            found = tuple(tokens.shape) if isinstance(tokens, Tensor) else type(output).__name__
            raise EncoderError(f"{self.name}: the output is {found}; expected last_hidden_state (1, T, D).")
        self._seen[len(waveform)] = self._num_valid(inputs, output, tokens.shape[1])
        return tokens[0, : self._seen[len(waveform)]]

    def _features(self, waveform: Tensor) -> Inputs:
        wants_mask = "return_attention_mask" in inspect.signature(self._extractor.__call__).parameters
        options = {"return_attention_mask": True} if wants_mask else {}
        features = self._extractor(
            waveform.cpu().numpy(), sampling_rate=self.sample_rate, return_tensors="pt", **options
        )
        given = {name: value for name, value in features.items() if isinstance(value, Tensor)}
        if "input_features_mask" in self._accepts and "attention_mask" in given:
            given["input_features_mask"] = given["attention_mask"]
        return {name: value for name, value in given.items() if name in self._accepts}

    def _num_valid(self, inputs: Inputs, output: Foreign, num_tokens: int) -> int:
        """Tokens that hear some of the clip, by the first of the ways in which models tell."""
        mask = next((inputs[name] for name in MASKS if name in inputs), None)  # (1, frames)
        valid: Any = num_tokens
        if mask is not None and hasattr(self._encoder, "_get_output_attention_mask"):
            valid = self._encoder._get_output_attention_mask(mask, num_tokens).sum()
        elif mask is not None and hasattr(self._model, "_get_feature_vector_attention_mask"):
            valid = self._model._get_feature_vector_attention_mask(num_tokens, mask).sum()
        elif mask is not None and self._lengths(mask.shape[-1]).count(num_tokens):
            stage = self._lengths(mask.shape[-1]).index(num_tokens)  # some tell the length before a later pooling too
            valid = self._lengths(int(mask.sum()))[stage]
        elif getattr(output, "output_mask", None) is not None:
            valid = output.output_mask.sum()
        elif mask is not None:
            valid = math.ceil(num_tokens * int(mask.sum()) / mask.shape[-1])
        return min(max(int(valid), 1), num_tokens)

    def _lengths(self, num_frames: int) -> list[int]:
        """What the model says of the length that its convolutions leave; none if it says nothing."""
        if not hasattr(self._encoder, "_get_feat_extract_output_lengths"):
            return []
        told = self._encoder._get_feat_extract_output_lengths(torch.tensor(num_frames))
        return [int(length) for length in (told if isinstance(told, tuple) else (told,))]
