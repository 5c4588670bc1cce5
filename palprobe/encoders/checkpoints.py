"""Checkpoint files: read without executing anything; a module takes all of their weights, or none."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from palprobe.errors import WeightsError

SHOWN_KEYS = 5  # of each kind, in a message
# All that reading a cut or altered file causes, beside pickle's own error.
DAMAGE = (RuntimeError, EOFError, ValueError, KeyError, OSError, zipfile.BadZipFile)


def read_checkpoint(path: Path) -> Any:
    """What a checkpoint holds, on the CPU: tensors by name, or whatever plain values a `.pt` file has.

    Args:
        path: `.safetensors`, or a file of torch.save, of which only tensors and plain values are accepted.

    Raises:
        WeightsError: it is not there, is damaged, or holds objects that would run code when read.
    """
    if not path.is_file():
        raise WeightsError(f"There is no file {str(path)!r}. Expected a checkpoint (.safetensors or .pt).")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        _check_sums(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged ({error}). Fetch it again.") from error
    except pickle.UnpicklingError as error:
        if "unsupported" not in str(error).lower():  # what torch says of something that it would have to call
            raise _damaged(path, error) from error
        raise WeightsError(
            f"{path} holds objects other than tensors and plain values, and reading those can run code, so it is "
            "refused. Where you trust it, load it yourself and save its tensors as .safetensors."
        ) from error
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path} is damaged, or no checkpoint of torch.save ({type(error).__name__}). Fetch it again.")


def _check_sums(path: Path) -> None:
    """Raises WeightsError for flipped bytes, which torch.load does not notice."""
    if not zipfile.is_zipfile(path):  # the layout before torch 1.6 has no checksums
        return
    with zipfile.ZipFile(path) as archive:
        try:
            damaged = archive.testzip()
        # NotImplementedError is how zipfile says that a damaged header names a compression that there is not.
        except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise WeightsError(f"{path} is damaged ({error}). Fetch it again.") from error
    if damaged is not None:
        raise WeightsError(f"{path} is damaged (the checksum of {damaged} fails). Fetch it again.")


def state_of(checkpoint: Any, name: str, path: Path) -> dict[str, Tensor]:
    """The named state dict of a checkpoint.

    Raises:
        WeightsError: it is not there, or holds something other than tensors.
    """
    state = checkpoint.get(name) if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping):
        found = ", ".join(map(str, checkpoint)) if isinstance(checkpoint, Mapping) else type(checkpoint).__name__
        raise WeightsError(f"{path} has no state dict {name!r}; it holds {found[:200]}.")
    odd = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if odd:
        raise WeightsError(f"{path}: {name!r} holds values that are no tensors: {_shown(odd)}.")
    return {str(key): value for key, value in state.items()}


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], *, source: Path) -> None:
    """Puts a state dict into a module of the same architecture.

    Args:
        module: its own state dict says which keys and shapes there must be.
        state: tensors by name, in any dtype.
        source: where they are from, for the message.

    Raises:
        WeightsError: keys that are missing, unexpected, or of another shape; nothing was loaded then.
    """
    own = module.state_dict()
    problems = {
        "missing": sorted(own.keys() - state.keys()),
        "unexpected": sorted(state.keys() - own.keys()),
        "of another shape": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
            for key in sorted(own.keys() & state.keys())
            if own[key].shape != state[key].shape
        ],
    }
    found = "; ".join(f"{len(keys)} {kind}: {_shown(keys)}" for kind, keys in problems.items() if keys)
    if found:
        raise WeightsError(f"The weights of {source} do not fit the architecture ({found}).")
    module.load_state_dict(dict(state))


def _shown(keys: Collection[str]) -> str:
    listed = list(keys)
    more = f" and {len(listed) - SHOWN_KEYS} more" if len(listed) > SHOWN_KEYS else ""
    return ", ".join(listed[:SHOWN_KEYS]) + more
