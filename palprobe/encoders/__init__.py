"""Encoders by name: who they are (`identify`) and the thing itself (`load_encoder`); importing this loads no torch."""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

from palprobe.recipe import EncoderSection, EncoderSpec
from palprobe.registry import Part, Registry
from palprobe.types import Encoder

ENCODERS = Registry(
    "encoder",
    {
        "logmel": Part("palprobe.encoders.logmel:LogMel", "64 log-mel bands, four 10 ms frames to a token: the floor"),
        "mfcc": Part("palprobe.encoders.mfcc:MFCC", "20 MFCC with both deltas, four 10 ms frames to a token: a floor"),
        "whisper": Part("palprobe.encoders.hf:Whisper", "Whisper's encoder (tiny to large-v3-turbo): speech, 50 Hz"),
    },
)


class EncoderPart(Protocol):
    """What a registered class offers; all raise UsageError or WeightsError if the spec cannot work."""

    def identify(self, spec: EncoderSpec, section: EncoderSection) -> dict[str, Any]:
        """Everything that decides the output, as JSON, without loading weights into memory."""
        ...

    def origin(self, spec: EncoderSpec, section: EncoderSection) -> dict[str, str]:
        """Where the weights come from (folder; hub id and revision): told in results, no part of the identity."""
        ...

    def load(self, spec: EncoderSpec, section: EncoderSection, *, device: str) -> Encoder: ...


def identify(spec: EncoderSpec, section: EncoderSection) -> dict[str, Any]:
    """Everything that decides an encoder's output: its part of a feature store's identity.

    Raises:
        UnknownNameError: no encoder of that name.
        UsageError: the spec asks for something that the encoder does not have.
        WeightsError: weights are not there.
        EncoderError: a user's class cannot be made.
    """
    return _part(spec).identify(spec, section)


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
    return _part(spec).load(spec, section, device=device)


def _part(spec: EncoderSpec) -> EncoderPart:
    if spec.name == "file":  # path/to/file.py:Class
        return cast(EncoderPart, importlib.import_module("palprobe.encoders.custom").UserEncoder)
    return cast(EncoderPart, ENCODERS.load(spec.name))
