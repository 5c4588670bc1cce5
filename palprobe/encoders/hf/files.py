"""Where a Hugging Face model's files are; of a large one only the shards that hold the encoder are fetched or read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from palprobe.encoders.weights import SHARDS_INDEX, WEIGHTS_FILE, find_folder, read_config, weight_files
from palprobe.errors import WeightsError
from palprobe.hub import snapshot
from palprobe.specs import EncoderSpec

CONFIG = "config.json"
# Front-end settings stand in a file of their own, or among those of the whole processor.
PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
JSON_FILES = [CONFIG, PREPROCESSOR, PROCESSOR, SHARDS_INDEX]


def find_configs(spec: EncoderSpec, hub_id: str) -> Path:
    """The folder with config.json: the user's, that of the hub's cache, or one to which it is downloaded.

    Raises:
        WeightsError: it is not there and cannot be had.
    """
    if spec.path is not None:
        return find_folder(spec.path, hub_id=hub_id, control=f"random:{spec.name}")
    try:
        return snapshot(hub_id, JSON_FILES, is_whole=lambda folder: (folder / CONFIG).is_file())
    except WeightsError as error:
        raise _not_there(spec, hub_id, CONFIG if spec.untrained else WEIGHTS_FILE, error) from error


def find_weights(spec: EncoderSpec, hub_id: str, folder: Path, keys: str) -> list[Path]:
    """The safetensors files of that folder that hold the encoder; downloads those that the hub has and it lacks.

    Args:
        spec: the request.
        hub_id: where the folder is from, unless the user gave it.
        folder: with config.json, and the index if the weights are in shards.
        keys: pattern of what stands before the encoder's keys; "" if the whole checkpoint is the encoder's.

    Raises:
        WeightsError: they are not there and cannot be had, or are no safetensors.
    """
    if spec.path is None:
        names = _shards(folder, keys) or [WEIGHTS_FILE]
        try:
            folder = snapshot(hub_id, names, is_whole=lambda found: all((found / name).is_file() for name in names))
        except WeightsError as error:
            raise _not_there(spec, hub_id, ", ".join(names), error) from error
        if not any((folder / name).is_file() for name in names):
            raise WeightsError(_conversion(spec, hub_id))
    names = _shards(folder, keys)
    if (folder / WEIGHTS_FILE).is_file() or not names:
        return weight_files(folder)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise WeightsError(f"{folder} lacks {', '.join(missing)}, which {SHARDS_INDEX} lists.")
    return [folder / name for name in names]


def _shards(folder: Path, keys: str) -> list[str]:
    """Names of the shards that hold the encoder, in order; none if there is no index."""
    if not (folder / SHARDS_INDEX).is_file():
        return []
    shard_of = read_config(folder, SHARDS_INDEX).get("weight_map")
    if not isinstance(shard_of, Mapping) or not all(isinstance(name, str) for name in shard_of.values()):
        raise WeightsError(f"{folder / SHARDS_INDEX} has no weight_map that names a file for each weight.")
    ours = [name for key, name in shard_of.items() if keys and re.match(keys, key)]
    return sorted({*(ours or shard_of.values())})


def read_weights(files: list[Path], keys: str) -> dict[str, Tensor]:
    """The encoder's tensors without what stands before their keys; no other tensor is read.

    Where no key has it, the encoder was saved alone, and all are its own.

    Raises:
        WeightsError: a file is damaged.
    """
    for pattern in (keys, ""):
        found = {}
        for file in files:
            try:
                with safe_open(file, framework="pt") as tensors:
                    for key in tensors.keys():  # noqa: SIM118 - it is no mapping
                        if re.match(pattern, key):
                            found[re.sub(f"^{pattern}", "", key)] = tensors.get_tensor(key)
            except (SafetensorError, OSError) as error:
                raise WeightsError(f"{file} is damaged ({error}). Fetch it again.") from error
        if found:
            return found
    return {}


def _not_there(spec: EncoderSpec, hub_id: str, what: str, error: WeightsError) -> WeightsError:
    advice = f"Run `hf download {hub_id}` where there is a network"
    if spec.untrained:
        return WeightsError(
            f"{what} of {hub_id} is not in the local cache and cannot be downloaded ({error}). {advice}."
        )
    return WeightsError(
        f"{what} of {hub_id} is not in the local cache and cannot be downloaded ({error}). {advice}, write "
        f"{spec.name}=FOLDER for a copy of your own, or take the control random:{_named(spec)}."
    )


def _named(spec: EncoderSpec) -> str:
    return spec.name if spec.variant is None else f"{spec.name}:{spec.variant}"


def _conversion(spec: EncoderSpec, hub_id: str) -> str:
    code = f"[c.from_pretrained('{hub_id}').save_pretrained('FOLDER') for c in (A, F)]"
    return (
        f"{hub_id} has no {WEIGHTS_FILE}. Only safetensors are read, since a pickle can run code. Where you trust it, "
        f'run `python -c "from transformers import AutoModel as A, AutoFeatureExtractor as F; {code}"` and write '
        f"{spec.name}=FOLDER."
    )
