"""Encoders by name: who they are (`identify`) and the thing itself (`load_encoder`); importing this loads no torch."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Protocol, cast

from palprobe.encoders.options import stored_layers
from palprobe.recipe import EncoderSection
from palprobe.registry import Part, Registry
from palprobe.specs import EncoderSpec
from palprobe.types import Encoder, Kind

_FLOORS = {
    "logmel": Part("palprobe.encoders.logmel:LogMel", "64 log-mel bands and their changes, 25 Hz: the floor"),
    "logmel-patches": Part(
        "palprobe.encoders.logmel:LogMelPatches", "logmel cut into 16x16 patches, 6.25 Hz and 4 bands: a floor"
    ),
    "mfcc": Part("palprobe.encoders.mfcc:MFCC", "20 MFCC with both deltas, four 10 ms frames to a token: a floor"),
}
_BUILT_IN = {
    "beats": Part("palprobe.encoders.beats:Beats", "BEATs: general audio, 6.25 Hz and 8 bands"),
    "dasheng": Part("palprobe.encoders.dasheng:Dasheng", "Dasheng: general audio, 25 Hz"),
    "eat": Part("palprobe.encoders.eat:Eat", "EAT: general audio, 6.25 Hz and 8 bands"),
    "openbeats": Part("palprobe.encoders.beats:Beats", "OpenBEATs, BEATs' network trained on open data"),
    "sslam": Part("palprobe.encoders.eat:Eat", "SSLAM, EAT's network trained on mixtures"),
}
_HF = {
    "ast": "AST, tuned on AudioSet: general, 10 Hz and 12 bands",
    "audio-flamingo-3": "the audio tower of Audio Flamingo 3, alone: general, 25 Hz",
    "clap": "LAION-CLAP's audio tower: general, 3.2 Hz and 2 bands",
    "dac": "the Descript codec before its quantiser: general",
    "data2vec": "data2vec: speech, 50 Hz",
    "encodec": "EnCodec before its quantiser: general",
    "hf": "any audio encoder that transformers loads: hf:ORG/REPO or hf=FOLDER",
    "hubert": "HuBERT: speech, 50 Hz",
    "mimi": "the Mimi codec before its quantiser: general, 12.5 Hz",
    "mms": "MMS, wav2vec 2.0 on over 1000 languages: speech, 50 Hz",
    "moonshine": "Moonshine's encoder: speech, 41.7 Hz",
    "parakeet": "Parakeet's FastConformer: speech, 12.5 Hz",
    "pe-audio": "PE-Audio: general, 25 Hz",
    "qwen2-audio": "the audio tower of Qwen2-Audio, alone: general, 25 Hz",
    "w2v-bert": "w2v-BERT 2.0: speech, 50 Hz",
    "wav2vec2": "wav2vec 2.0: speech, 50 Hz",
    "wavlm": "WavLM: speech, 50 Hz",
    "whisper": "Whisper's encoder (tiny to large-v3-turbo): speech, 50 Hz",
    "xls-r": "XLS-R, wav2vec 2.0 on 128 languages: speech, 50 Hz",
}
_OTHERS = {
    "imported": Part(
        "palprobe.encoders.foreign.imported:Imported", "features that another tool computed: imported:RATEhz=ARCHIVE"
    )
}
ENCODERS = Registry(
    "encoder",
    _FLOORS
    | _BUILT_IN
    | {name: Part("palprobe.encoders.hf:HFEncoder", summary) for name, summary in _HF.items()}
    | _OTHERS,
)
WITHOUT_WEIGHTS = frozenset((*_FLOORS, *_OTHERS))  # there is nothing to leave untrained
USER_CODE = {
    "file": "palprobe.encoders.custom:UserEncoder",  # path/to/file.py:Class
    "hear": "palprobe.encoders.foreign.hear:HearEncoder",
    "s3prl": "palprobe.encoders.foreign.s3prl:S3prlEncoder",
    "xares": "palprobe.encoders.foreign.xares:XaresEncoder",
}


class EncoderPart(Protocol):
    """What a registered class offers; all raise UsageError or WeightsError if the spec cannot work."""

    def identify(self, spec: EncoderSpec, section: EncoderSection) -> dict[str, Any]:
        """Everything that decides the output, but the layer, as JSON, without loading weights into memory."""
        ...

    def depth_of(self, spec: EncoderSpec, section: EncoderSection) -> int:
        """Number of the last layer, without loading weights into memory; 0 where there are none to choose from."""
        ...

    def kind_of(self, spec: EncoderSpec, section: EncoderSection) -> Kind:
        """What it was trained on: how the integration `pal` routes it."""
        ...

    def origin(self, spec: EncoderSpec, section: EncoderSection) -> dict[str, str]:
        """Where the weights come from (folder; hub id and revision): told in results, no part of the identity."""
        ...

    def load(self, spec: EncoderSpec, section: EncoderSection, *, device: str) -> Encoder: ...


@dataclass(frozen=True)
class EncoderIdentity:
    """Everything that decides an encoder's output, which of its layers a spec asks for, and its kind."""

    fields: dict[str, Any]  # JSON
    layers: tuple[tuple[int, ...], ...]  # a tuple for each store: the layers whose mean it holds
    kind: Kind = "general"


def identify(spec: EncoderSpec, section: EncoderSection) -> EncoderIdentity:
    """Who an encoder is: its part of a feature store's identity.

    Raises:
        UnknownNameError: no encoder of that name.
        UsageError: the spec asks for something that the encoder does not have.
        WeightsError: weights are not there.
        EncoderError: a user's class cannot be made.
    """
    part, section = _part(spec), _seeded(spec, section)
    fields = part.identify(spec, section)
    layers = tuple(stored_layers(spec, part.depth_of(spec, section)))
    return EncoderIdentity(fields, layers, part.kind_of(spec, section))


def origin(spec: EncoderSpec, section: EncoderSection) -> dict[str, str]:
    """Where an encoder's weights come from, for people: no part of the identity.

    Raises:
        as `identify`.
    """
    return _part(spec).origin(spec, section)


def load_encoder(spec: EncoderSpec, section: EncoderSection, *, device: str = "cpu") -> Encoder:
    """The encoder, frozen and in eval mode; `palprobe.encoders.windows.encode_clips` feeds it.

    Raises:
        as `identify`.
    """
    return _part(spec).load(spec, _seeded(spec, section), device=device)


def _seeded(spec: EncoderSpec, section: EncoderSection) -> EncoderSection:
    """The options with the initial weights that the spec itself names: `random2:NAME` is NAME under `init_seed=2`."""
    return section if spec.init_seed is None else section.model_copy(update={"init_seed": spec.init_seed})


def _part(spec: EncoderSpec) -> EncoderPart:
    if spec.runs_user_code:
        module, _, name = USER_CODE[spec.name].partition(":")
        return cast(EncoderPart, getattr(importlib.import_module(module), name))
    return cast(EncoderPart, ENCODERS.load(spec.name))
