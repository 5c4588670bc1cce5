"""The encoder itself: its weights from safetensors, every one of them, or untrained ones."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from palprobe.encoders.hf.family import Family, Foreign
from palprobe.encoders.hf.files import read_weights
from palprobe.encoders.hf.quiet import quiet
from palprobe.encoders.hf.source import Source
from palprobe.encoders.untrained import seeded
from palprobe.errors import WeightsError

SHOWN_KEYS = 5  # in a message


def make_model(source: Source, *, seed: int) -> Foreign:
    """The model on the CPU, in float32; `seed` is that of untrained weights.

    Raises:
        WeightsError: weights are missing, have another shape, or are damaged.
    """
    family, kind = source.family, model_class(source.family)
    if not source.weights:
        return untrained(lambda: kind(source.config), seed=seed)
    state = read_weights(list(source.weights), family.keys)
    return trained(
        kind, source.config, state, part=family.part, unused=family.unused, where=f"{source.folder}", what=family.name
    )


def model_class(family: Family) -> Any:
    module, _, name = family.model.partition(":")
    return getattr(importlib.import_module(f"transformers.models.{module}"), name)


def untrained(build: Callable[[], Foreign], *, seed: int) -> Foreign:
    with seeded(seed), quiet():
        return build().float()


def trained(
    kind: Any, config: Foreign, state: dict[str, Tensor], *, part: str, unused: Iterable[str], where: str, what: str
) -> Foreign:
    """A model of a class of transformers with all the weights that its encoder needs.

    Args:
        kind: the class; it renames the keys of older checkpoints itself.
        config: its configuration.
        state: tensors by name, in any dtype; those of other parts of a model are left over.
        part: dotted name of the encoder in the model; "" if it is the whole.
        unused: weights that a checkpoint may lack.
        where: the folder, for messages.
        what: the family, for messages.

    Raises:
        WeightsError: weights are missing, or have another shape.
    """
    with seeded(0), quiet():  # what is missing is drawn at random before it can be refused
        model, info = kind.from_pretrained(
            None,
            config=config,
            state_dict=state,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told below
            dtype=torch.float32,
        )
    shapes = {key: f"{key} {tuple(found)} instead of {tuple(own)}" for key, found, own in info["mismatched_keys"]}
    wrong = {
        "missing": _of_part(info["missing_keys"] - shapes.keys(), part, unused),
        "of another shape": [shapes[key] for key in _of_part(shapes, part, unused)],
    }
    told = "; ".join(f"{len(keys)} {kind}: {_shown(keys)}" for kind, keys in wrong.items() if keys)
    if told or info["error_msgs"]:
        told = told or " ".join(" ".join(info["error_msgs"]).split())
        raise WeightsError(f"{where} does not hold the weights of a {what} encoder ({told}).")
    return model


def _of_part(keys: Iterable[str], part: str, unused: Iterable[str]) -> list[str]:
    ours = [key for key in keys if not part or key.startswith(f"{part}.")]
    return sorted(key for key in ours if not key.endswith(tuple(unused)))


def _shown(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    return ", ".join(keys[:SHOWN_KEYS]) + more
