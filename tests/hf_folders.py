"""Folders of tiny models that tests damage, and the line with which they are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from palprobe.encoders.hf import HFEncoder
from palprobe.errors import WeightsError
from palprobe.recipe import EncoderSection
from palprobe.specs import parse_encoder

SECTION = EncoderSection(untrained_window_seconds=2.0)
WEIGHTS, CONFIG, FRONT_END = "model.safetensors", "config.json", "preprocessor_config.json"


def refusal(text: str, kind: type[Exception] = WeightsError) -> str:
    """The one line with which a spec is refused."""
    with pytest.raises(kind) as caught:
        HFEncoder.load(parse_encoder(text), SECTION, device="cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})


def drop(folder: Path, ending: str) -> None:
    rewrite(folder, lambda state: {key: value for key, value in state.items() if not key.endswith(ending)})
