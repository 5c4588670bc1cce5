"""Where published weights are: a local folder, the hub's cache, or the hub; and the sha256 of their bytes."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from palprobe.encoders.catalog import Published
from palprobe.errors import PalprobeError, WeightsError
from palprobe.files import read_json, sha256_of
from palprobe.hub import snapshot

WEIGHTS_FILE = "model.safetensors"
SHARDS_INDEX = "model.safetensors.index.json"
HUB_FILES = ["config.json", "preprocessor_config.json", WEIGHTS_FILE, SHARDS_INDEX, "model-*.safetensors"]


def find_folder(path: str | None, *, hub_id: str, control: str) -> Path:
    """The folder that holds config.json and safetensors; downloads it if it is nowhere and the hub may be asked.

    Args:
        path: a folder given by the user; None for the hub's cache, then the hub.
        hub_id: for example openai/whisper-small.
        control: the untrained encoder that needs no weights, named in the message.

    Raises:
        WeightsError: it is not there and cannot be had.
    """
    if path is not None:
        folder = Path(path).expanduser()
        if not folder.is_dir():
            raise WeightsError(f"No folder {path!r}. Expected one with config.json and {WEIGHTS_FILE}.")
        return folder
    try:
        return snapshot(hub_id, HUB_FILES, is_whole=_has_weights)
    except WeightsError as error:
        raise WeightsError(
            f"{WEIGHTS_FILE} of {hub_id} is not in the local cache and cannot be downloaded ({error}). "
            f"Run `hf download {hub_id}` where there is a network, or take the control {control}."
        ) from error


def find_file(path: str | None, published: Published) -> Path:
    """One file of weights; downloads it if it is nowhere and the hub may be asked.

    Args:
        path: the file, or a folder that holds it under its published name; None for the hub's cache, then the hub.
        published: what the spec names.

    Raises:
        WeightsError: it is not there and cannot be had, or the bytes from the hub are not the published ones.
    """
    if path is not None:
        given = Path(path).expanduser()
        found = given / published.file if given.is_dir() else given
        if not found.is_file():
            raise WeightsError(f"There is no file {str(found)!r}. Expected the weights of {published.encoder}.")
        return found
    try:
        folder = snapshot(published.hub_id, [published.file], is_whole=lambda path: (path / published.file).is_file())
    except WeightsError as error:
        raise WeightsError(
            f"{published.file} of {published.hub_id} is not in the local cache and cannot be downloaded ({error}). "
            f"Run `{published.command}` where there is a network, write {published.encoder}=PATH for a copy of your "
            f"own, or take the control random:{published.spec}."
        ) from error
    found = folder / published.file
    if published.sha256 is not None and file_sha256(found) != published.sha256:
        raise WeightsError(
            f"{found} has sha256 {file_sha256(found)}; the published file has {published.sha256}. Delete it, fetch it "
            f"again, or write {published.encoder}={found} to use it all the same."
        )
    return found


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, read once as long as its size and time of change stay the same."""
    return _sha256(path, path.stat().st_size, path.stat().st_mtime_ns)


def _has_weights(folder: Path) -> bool:
    return (folder / WEIGHTS_FILE).is_file() or (folder / SHARDS_INDEX).is_file()


def read_config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """A JSON object of the folder.

    Raises:
        WeightsError: it is not there, or is none.
    """
    try:
        config = read_json(folder / name)
    except OSError as error:
        raise WeightsError(
            f"{folder} has no {name} ({error.strerror}). Expected a Hugging Face model folder."
        ) from error
    except PalprobeError as error:
        raise WeightsError(str(error)) from error
    if not isinstance(config, dict):
        raise WeightsError(f"{folder / name} holds {type(config).__name__}, not keys and values.")
    return config


def weight_files(folder: Path) -> list[Path]:
    """The safetensors file of a model, or its shards in order.

    Raises:
        WeightsError: there is none, or a shard is missing.
    """
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if (folder / SHARDS_INDEX).is_file():
        names = sorted(set(read_config(folder, SHARDS_INDEX).get("weight_map", {}).values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if missing or not names:
            raise WeightsError(f"{folder} lacks {', '.join(missing) or 'shards'}, which {SHARDS_INDEX} lists.")
        return [folder / name for name in names]
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    if pickled:
        raise WeightsError(
            f"{folder} holds {', '.join(pickled)} but no {WEIGHTS_FILE}. Only safetensors are read, since a pickle can "
            "run code: load it in transformers and save_pretrained() it."
        )
    raise WeightsError(f"{folder} has no {WEIGHTS_FILE} and no {SHARDS_INDEX}.")


def weights_sha256(folder: Path) -> list[str]:
    """sha256 of each weight file's bytes, in order."""
    return [file_sha256(path) for path in weight_files(folder)]


@functools.lru_cache
def _sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    return sha256_of(path)
