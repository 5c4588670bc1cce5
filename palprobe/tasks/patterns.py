"""Patterns of shard names, with braces, wildcards, ~ or an address: which files on this machine they name."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from palprobe.errors import DataError

DATA_HOME, USUAL_HOME = "XARES_DATA_HOME", "xares_data"  # where xares-llm keeps what it downloads
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
MOST_NAMES = 100_000  # of one pattern
WILD = re.compile(r"[*?\[]")


def places(yaml: Path) -> list[Path]:
    """Where the files of a YAML are looked for, in order: beside it, in the working directory, in the data home."""
    home = os.environ.get(DATA_HOME) or USUAL_HOME
    return list(dict.fromkeys([yaml.absolute().parent, Path.cwd(), Path(home).absolute()]))


def expand_braces(pattern: str) -> list[str]:
    """As a shell does: `{00..12}` is every number in between, of the same width; `{a,b}` is each of the words.

    Raises:
        DataError: more than `MOST_NAMES` names.
    """
    names = [pattern]
    while any(_alternatives(found[1]) for name in names for found in BRACES.finditer(name)):
        names = [one for name in names for one in _expanded_once(name)]
        if len(names) > MOST_NAMES:
            raise DataError(f"The pattern {pattern!r} names more than {MOST_NAMES} shards. Write fewer.")
    return names


def _expanded_once(name: str) -> list[str]:
    for found in BRACES.finditer(name):
        if words := _alternatives(found[1]):
            return [name[: found.start()] + word + name[found.end() :] for word in words]
    return [name]


def _alternatives(inner: str) -> list[str]:
    if numbers := RANGE.fullmatch(inner):
        first, last = int(numbers[1]), int(numbers[2])
        if abs(last - first) >= MOST_NAMES:
            raise DataError(f"The pattern {{{inner}}} names more than {MOST_NAMES} shards. Write fewer.")
        width = max(len(text) if text.startswith("0") else 0 for text in numbers.groups())
        step = 1 if first <= last else -1
        return [f"{number:0{width}d}" for number in range(first, last + step, step)]
    return inner.split(",") if "," in inner else []


def find_shards(patterns: Sequence[str], folders: Sequence[Path], *, repo: str | None, where: str) -> list[Path]:
    """The files that patterns name, each once; nothing is downloaded.

    Args:
        patterns: paths, absolute or below one of the folders, or addresses, whose files are looked for by name.
        folders: in which they are looked for, in order.
        repo: the data set on the hub that the paths are of.
        where: begins messages.

    Raises:
        DataError: a file is not there, or a wildcard names none; it says where it would come from.
    """
    found: dict[Path, None] = {}
    missing: list[str] = []
    for pattern in patterns:
        for name in expand_braces(pattern):
            paths = _local(name, folders, repo)
            found |= dict.fromkeys(paths)
            missing += [] if paths else [name]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        looked = ", ".join(map(str, folders))
        raise DataError(
            f"{where}: no file {missing[0]!r}{more} (looked in {looked}).{_origin(missing[0], repo)} "
            "palprobe downloads no data by itself."
        )
    return list(found)


def _local(name: str, folders: Sequence[Path], repo: str | None) -> list[Path]:
    """The file of that name, or all that a wildcard names, in the first folder that has any."""
    if _is_address(name):
        tails = [PurePosixPath(urlsplit(name).path).name]
    elif repo is not None:
        tails = list(dict.fromkeys([name, PurePosixPath(name).name]))
    else:
        tails = [str(Path(name).expanduser()) if name.startswith("~/") else name]
    for tail in tails:
        for folder in folders:
            path = folder / tail
            if WILD.search(tail) and not path.is_file():
                paths = [Path(one) for one in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - absolute
            else:
                paths = [path]
            if paths := [one for one in paths if one.is_file()]:
                return paths
    return []


def _is_address(name: str) -> bool:
    return name.startswith(("http://", "https://"))


def _origin(name: str, repo: str | None) -> str:
    """Where a person finds a file that is not there."""
    if _is_address(name):
        return f" It comes from {name}: fetch it, and set {DATA_HOME} to its folder."
    if repo is not None:
        return (
            f" It is of the data set {repo} on the hub: "
            f"`hf download {repo} {name} --repo-type dataset --local-dir FOLDER`, and {DATA_HOME}=FOLDER."
        )
    return " Mend the path."
