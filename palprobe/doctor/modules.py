"""The torch modules inside an encoder, found without knowing its class, and what must not move in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

State = dict[tuple[int, str], str]  # (id of the module, name in it) → digest


def modules_in(thing: Any) -> list[nn.Module]:
    """Every torch module that an object holds: in attributes, lists and dicts at any depth, registered or not."""
    found: dict[int, nn.Module] = {}
    seen: set[int] = set()
    waiting = [thing]
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, nn.Module):
            found[id(current)] = current
        waiting += _held(current)
    return list(found.values())


def _held(thing: Any) -> Iterator[Any]:
    """What an object holds; nothing for classes, modules of Python, tensors, arrays and plain values."""
    if isinstance(thing, dict):
        yield from list(thing.values())
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from thing
    elif not isinstance(thing, type | ModuleType | Tensor | np.ndarray):
        yield from list(getattr(thing, "__dict__", {}).values())


def in_training_mode(modules: list[nn.Module]) -> list[str]:
    """Class names of those whose training mode can matter: dropout, batch norm, and whatever has parameters.

    The transforms of torchaudio are modules too, and left in training mode by everybody: they have only buffers.
    """
    matter = [m for m in modules if isinstance(m, _DropoutNd | _BatchNorm) or next(m.parameters(), None) is not None]
    return sorted({type(module).__name__ for module in matter if module.training})


def parameters_of(modules: list[nn.Module]) -> list[Tensor]:
    """Each parameter once, shared ones too."""
    return list({id(p): p for module in modules for p in module.parameters(recurse=False)}.values())


def state_of(modules: list[nn.Module]) -> State:
    """A digest of everything that would be saved; caches are buffers that are not saved, and may change."""
    state = {}
    for module in modules:
        kept = [(n, b) for n, b in module.named_buffers(recurse=False) if n not in module._non_persistent_buffers_set]
        for name, tensor in [*module.named_parameters(recurse=False), *kept]:
            state[id(module), f"{type(module).__name__}.{name}"] = _digest(tensor)
    return state


def changed_state(before: State, after: State) -> list[str]:
    """Names of what is not as it was."""
    return sorted({name for (number, name), digest in before.items() if after.get((number, name)) != digest})


def _digest(tensor: Tensor) -> str:
    values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.blake2b(values.data, digest_size=16).hexdigest()
