"""Somebody's own encoder as an object: which class or function makes it, and what decides its output."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from palprobe.encoders.custom_import import imported, is_file, module_and_class, package_sha256, source_file, user_code
from palprobe.encoders.untrained import reinitialise, seeded
from palprobe.errors import EncoderError, UsageError
from palprobe.files import sha256_of
from palprobe.recipe import EncoderSection
from palprobe.registry import near_miss
from palprobe.specs import EncoderSpec


@dataclass(frozen=True, eq=False)
class Maker:
    """The class or function of somebody's module that makes the encoder."""

    name: str
    definition: Any  # whose line messages give
    call: Callable[[], Any]


@dataclass(frozen=True, eq=False)
class Made:
    """What somebody's code made."""

    instance: Any
    module: ModuleType
    name: str  # of the class or function that was called
    path: Path  # of the file that was run
    where: str  # that file, and the line of the definition
    neighbours: Mapping[str, str]  # files beside it that it imported: relative path → sha256


def make(spec: EncoderSpec, section: EncoderSection, choose: Callable[[ModuleType], Maker]) -> Made:
    """Runs the file or module that a spec names, and makes its encoder with the weights that the spec asks for.

    Args:
        spec: `path` is a .py file, or the dotted name of an installed module.
        section: `init_seed` seeds what the constructor draws, and the untrained control.
        choose: finds the maker in the module; its errors are passed on.

    Raises:
        UsageError: there is no such file or module.
        EncoderError: the code fails; one line that names the line of its file.
    """
    path = source_file(spec)
    with imported(spec, path) as (module, neighbours):
        maker = choose(module)
        with seeded(section.init_seed), user_code(path, f"{maker.name}() failed"):
            instance = maker.call()
    if spec.untrained:
        with user_code(path, f"{maker.name} cannot be initialised anew"):
            reinitialise(modules_of(instance), seed=section.init_seed, name=f"{path}:{maker.name}")
    line = _line_of(maker.definition)
    return Made(instance, module, maker.name, path, f"{path}, line {line}" if line else str(path), neighbours)


def choose_class(
    module: ModuleType,
    spec: EncoderSpec,
    *,
    trait: str,
    usable: Callable[[type[Any]], bool],
    expected: Callable[[type[Any]], bool],
) -> type[Any]:
    """The class that a spec names, or else the only one that can be found.

    Args:
        module: what was imported.
        spec: may name a class; of a file only those count that are defined in it.
        trait: what is looked for without a name, as in "encoder classes".
        usable: whether a class can be named.
        expected: whether a usable class can be found without its name.

    Raises:
        UsageError: none or several can be found, or none has that name.
    """
    classes = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and usable(value) and (value.__module__ == module.__name__ or not is_file(spec))
    }
    source, wanted = module_and_class(spec)
    if wanted is None:
        found = [name for name, value in classes.items() if expected(value)]
        if len(found) == 1:
            return classes[found[0]]
        known = ", ".join(found) or "none"
        raise UsageError(f"{source} has {len(found)} {trait}: {known}. Write {source}:CLASS with one.")
    if wanted not in classes:
        known = ", ".join(classes) or "none"
        raise UsageError(f"{source} has no class {wanted!r} that encodes.{near_miss(wanted, classes)} Known: {known}.")
    return classes[wanted]


def modules_of(instance: Any) -> Mapping[str, nn.Module]:
    """The object itself, if it is a module, else those that it holds as attributes."""
    if isinstance(instance, nn.Module):
        return {"self": instance}
    return {name: value for name, value in _attributes(instance).items() if isinstance(value, nn.Module)}


def freeze(instance: Any, device: torch.device) -> None:
    """Every module of an object: on the device, in eval mode, without gradients."""
    for module in modules_of(instance).values():
        module.to(device).eval().requires_grad_(False)


def code_identity(made: Made, spec: EncoderSpec) -> dict[str, Any]:
    """What decides the output of somebody's encoder: the bytes of its code and of all its weights."""
    code = {"file_sha256": sha256_of(made.path)} if is_file(spec) else {"package_sha256": package_sha256(spec)}
    return {
        **code,
        "neighbours": dict(sorted(made.neighbours.items())),
        "state_sha256": _state_sha256(made.instance),
        "untrained": spec.untrained,
    }


def read_number(instance: Any, name: str, default: float | None = None, *, whole: bool = False, where: str) -> Any:
    """A positive attribute of somebody's object; raises EncoderError, with `where` first, if it is no such number."""
    value = getattr(instance, name, default)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not 0 < value < math.inf:
        kind = "whole number" if whole else "number"
        raise EncoderError(f"{where}: {name} is {value!r}; expected a positive {kind}.")
    return value if whole else float(value)


def _line_of(definition: Any) -> int | None:
    try:
        return inspect.getsourcelines(inspect.unwrap(definition))[1] or None
    except (OSError, TypeError):  # made by code, not written in a file
        return None


def _attributes(instance: Any) -> dict[str, Any]:
    return getattr(instance, "__dict__", {})


def _state_sha256(instance: Any) -> str:
    """Of names, dtypes, shapes and bytes of all weights, those of plain tensor attributes among them."""
    state = {name: value for name, value in _attributes(instance).items() if isinstance(value, Tensor)}
    for name, module in modules_of(instance).items():
        state |= {f"{name}.{key}": value for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    sha = hashlib.sha256()
    for name, value in sorted(state.items()):
        tensor = value.detach().cpu().contiguous()
        sha.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        sha.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
