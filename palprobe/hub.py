"""The Hugging Face hub: its local cache first, then the network, unless that is forbidden."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from palprobe.errors import WeightsError


def snapshot(hub_id: str, patterns: Sequence[str], *, is_whole: Callable[[Path], bool]) -> Path:
    """The folder of a repository's files; downloaded if it is not in the cache.

    Args:
        hub_id: for example openai/whisper-small.
        patterns: of the files that are wanted.
        is_whole: whether a folder from the cache has what is needed; a download may have been cut off.

    Raises:
        WeightsError: neither in the cache nor to be had; the message is the bare reason, for the caller to go on from.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]  # base of HTTP errors

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=list(patterns), local_files_only=True))
        if is_whole(folder):
            return folder
    except HFValidationError as error:
        raise WeightsError(f"{hub_id!r} is no hub id") from error
    except OSError:  # not in the cache
        pass
    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(patterns)))  # fails at once if HF_HUB_OFFLINE is set
    except (HTTPError, OSError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]  # the hub's messages go on for a paragraph
        raise WeightsError("HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else lines[0].rstrip(".")) from error


def is_cached(hub_id: str, file: str) -> bool:
    """Whether a file of a repository is in the hub's cache on this machine; asks no network."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(hub_id, file), str)


def config_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What transformers raises for a value that cannot be; its strict configurations are the hub library's."""
    from huggingface_hub.errors import StrictDataclassError

    return (StrictDataclassError, ValueError, TypeError, KeyError, AttributeError, *others)
