"""Untrained weights for `random:` controls: seeded, and without touching anybody else's random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from palprobe.errors import EncoderError


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, the CPU's global generator starts from `seed`; afterwards it is as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reseed the accelerators
        yield


def reinitialise(modules: Mapping[str, nn.Module], *, seed: int, name: str) -> None:
    """Gives every parameter and running statistic its initial value, through `reset_parameters` of its module.

    Inner modules come first, so that an outer one's own rule has the last word.

    Args:
        modules: by the names they have in messages.
        seed: of the initial values.
        name: the encoder, for messages.

    Raises:
        EncoderError: there is nothing to initialise, or some parameters have no rule and would stay trained.
    """
    inside = [pair for outer, module in modules.items() for pair in module.named_modules(prefix=outer)]
    owned = [(f"{path}.{key}", module) for path, module in inside for key, _ in module.named_parameters(recurse=False)]
    if not owned:
        raise EncoderError(f"{name} has no parameters, so it has no untrained control. Drop 'random:'.")
    kept = [path for path, module in owned if _reset_rule(module) is None]
    if kept:
        raise EncoderError(
            f"{name}: {', '.join(kept)} would stay trained in a random: control. Give the modules that hold them "
            "a method reset_parameters()."
        )
    with seeded(seed):
        for _, module in reversed(inside):
            rule = _reset_rule(module)
            if rule is not None:
                rule()


def _reset_rule(module: nn.Module) -> Callable[[], None] | None:
    """The method's name is private in nn.MultiheadAttention and nn.Transformer."""
    public = getattr(module, "reset_parameters", None)
    return public or getattr(module, "_reset_parameters", None)
