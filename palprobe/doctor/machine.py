"""What this machine offers, line by line, each with "ok: ..." or "warn: what is wrong. What to do"."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from palprobe import __version__
from palprobe.distributed import processor_name
from palprobe.tasks import SYNTHESISED, TASKS

Line = tuple[str, str]

LIBRARIES = ("torch", "torchaudio", "transformers", "accelerate", "peft")
OLDEST_PYTHON = (3, 11)
BYTES_PER_GIB = 1 << 30
LEAST_DISK_GIB = 5.0  # features of a few thousand clips under several encoders
LEAST_MEMORY_GIB = 4.0  # a base-size encoder with a batch of clips
CGROUP_V1_UNLIMITED = 1 << 60  # version 1 writes a huge number for "no limit"
CGROUPS = Path("/sys/fs/cgroup")
OFFLINE = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads it


def machine_report(
    store: Path = Path("features"), *, data_root: Path | None = None, environment: Mapping[str, str] = os.environ
) -> list[Line]:
    """Everything to look at before a long run; it changes nothing and needs no network.

    Args:
        store: where features will go; its disk is measured.
        data_root: the folder of the tasks; None: PALPROBE_DATA.
        environment: of the process.

    Returns:
        (name, verdict) pairs; a verdict begins with "ok: " or "warn: ".
    """
    root = data_root or (Path(environment["PALPROBE_DATA"]) if environment.get("PALPROBE_DATA") else None)
    return [
        _python(),
        ("palprobe", f"ok: {__version__}"),
        *_libraries(_version),
        _processor(),
        _memory(),
        _disk(store),
        _devices(),
        *_hub(environment),
        _data(root),
        *_audio(),
    ]


def _python(version: tuple[int, ...] = sys.version_info[:3]) -> Line:
    text = ".".join(map(str, version))
    if version >= OLDEST_PYTHON:
        return ("python", f"ok: {text}")
    return ("python", f"warn: {text} is too old. Install Python {'.'.join(map(str, OLDEST_PYTHON))} or later.")


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _libraries(version_of: Callable[[str], str | None]) -> list[Line]:
    lines = []
    for library in LIBRARIES:
        version = version_of(library)
        found = f"ok: {version}" if version else f"warn: not installed. Run pip install {library}."
        lines.append((library, found))
    torch, torchaudio = version_of("torch"), version_of("torchaudio")
    if torch and torchaudio and _release(torch) != _release(torchaudio):
        fix = f"pip install 'torchaudio~={_release(torch)}.0'"
        lines[1] = ("torchaudio", f"warn: {torchaudio} does not go with torch {torch}. Run {fix}.")
    return lines


def _release(version: str) -> str:
    return ".".join(version.split("+")[0].split(".")[:2])


def _processor() -> Line:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota()
    cores = f"{usable} cores" if quota is None or quota >= usable else f"{quota:g} of {usable} cores by cgroup quota"
    text = f"{processor_name()}, {cores}"
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if quota is not None and quota < usable and not threads:
        return ("cpu", f"warn: {text}: threads will fight. Set OMP_NUM_THREADS={max(1, int(quota))}.")
    return ("cpu", f"ok: {text}")


def _cpu_quota(root: Path = CGROUPS) -> float | None:
    """Cores that the cgroup and its parents grant; None without a limit."""
    granted: list[float] = []
    for folder in _own_cgroups("cpu", root):
        words = _words(folder / "cpu.max")  # version 2: "200000 100000", or "max 100000"
        if not words:  # version 1, where -1 is no limit
            words = [*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]
        if len(words) == 2 and words[0] not in ("max", "-1"):
            granted.append(int(words[0]) / int(words[1]))
    return min(granted, default=None)


def _own_cgroups(controller: str, root: Path, own: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """Folders of this process's cgroup, of its parents and of the root, innermost first; versions 1 and 2."""
    folders: list[Path] = []
    for line in own.read_text().splitlines() if own.is_file() else []:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controller if controllers else root
        inside = base / path.lstrip("/")
        folders += [folder for folder in (inside, *inside.parents) if folder.is_relative_to(base)]
    return [*folders, root / controller, root]


def _words(path: Path) -> list[str]:
    return path.read_text().split() if path.is_file() else []


def _memory() -> Line:
    total, available = memory_bytes()
    if total is None or available is None:
        return ("memory", "warn: /proc/meminfo cannot be read. Look at the free memory by hand.")
    text = f"{available / BYTES_PER_GIB:.1f} GiB free of {total / BYTES_PER_GIB:.1f} GiB"
    if available < LEAST_MEMORY_GIB * BYTES_PER_GIB:
        return ("memory", f"warn: {text}. Close other programs, or use smaller encoders and batches.")
    return ("memory", f"ok: {text}")


def memory_bytes(meminfo: Path = Path("/proc/meminfo"), root: Path = CGROUPS) -> tuple[int | None, int | None]:
    """(total, available) bytes for this process: of the machine, or of its cgroup where that is less."""
    kilobytes = {
        line.split(":")[0]: int(line.split(":")[1].split()[0])
        for line in (meminfo.read_text().splitlines() if meminfo.is_file() else [])
    }
    if "MemTotal" not in kilobytes or "MemAvailable" not in kilobytes:
        return None, None
    total, available = kilobytes["MemTotal"] * 1024, kilobytes["MemAvailable"] * 1024
    for folder in _own_cgroups("memory", root):
        limit = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
        used = _words(folder / "memory.current") or _words(folder / "memory.usage_in_bytes")
        if not limit or limit[0] == "max" or int(limit[0]) >= CGROUP_V1_UNLIMITED:
            continue
        total = min(total, int(limit[0]))
        if used:  # file pages count as used and are given back when memory is short
            available = min(available, int(limit[0]) - int(used[0]) + _reclaimable(folder))
    return total, available


def _reclaimable(folder: Path) -> int:
    words = _words(folder / "memory.stat")
    return dict(zip(words[::2], map(int, words[1::2]), strict=True)).get("inactive_file", 0)


def _disk(store: Path) -> Line:
    place = store.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / BYTES_PER_GIB
    text = f"{free:.1f} GiB free for features in {store.absolute()}"
    if not os.access(place, os.W_OK):
        return ("disk", f"warn: {place} cannot be written to. Give another folder with --store.")
    if free < LEAST_DISK_GIB:
        return ("disk", f"warn: {text}. Give a folder on another disk with --store.")
    return ("disk", f"ok: {text}")


def _devices() -> Line:
    if find_spec("torch") is None:
        return ("devices", "warn: torch is not installed. Run pip install torch.")
    try:
        import torch
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        return ("devices", f"warn: torch cannot be imported ({reason}). Install torch again.")
    names = [
        f"cuda:{number} {torch.cuda.get_device_name(number)}, "
        f"{torch.cuda.get_device_properties(number).total_memory / BYTES_PER_GIB:.0f} GiB"
        for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]
    if torch.backends.mps.is_available():
        names.append("mps")
    return ("devices", f"ok: {'; '.join([*names, 'cpu'])}")


def _hub(environment: Mapping[str, str]) -> list[Line]:
    offline = environment.get("HF_HUB_OFFLINE", "").upper() in OFFLINE
    home = Path(environment.get("HF_HOME") or Path(environment.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache = Path(environment.get("HF_HUB_CACHE") or home / "hub").expanduser()
    models = len(list(cache.glob("models--*"))) if cache.is_dir() else 0
    place = f"{cache}, {models} models"
    if offline and not models:
        fix = "Unset HF_HUB_OFFLINE to download, or point HF_HUB_CACHE at a filled cache"
        return [("HF_HUB_OFFLINE", "ok: set, nothing is downloaded"), ("HF cache", f"warn: {place}. {fix}.")]
    switch = "set, nothing is downloaded" if offline else "not set, missing weights are downloaded"
    return [("HF_HUB_OFFLINE", f"ok: {switch}"), ("HF cache", f"ok: {place}")]


def _data(root: Path | None) -> Line:
    if root is None:
        fix = "Set PALPROBE_DATA to the folder that holds them"
        return ("PALPROBE_DATA", f"warn: not set, so only {', '.join(sorted(SYNTHESISED))} can be used. {fix}.")
    if not root.is_dir():
        return ("PALPROBE_DATA", f"warn: {root} is no folder. Set it to the folder that holds one folder per task.")
    tasks = [name for name in sorted(TASKS.parts) if (root / name).is_dir() and name not in SYNTHESISED]
    if not tasks:
        known = ", ".join(sorted(set(TASKS.parts) - SYNTHESISED))
        return ("PALPROBE_DATA", f"warn: {root} holds no task. A task is a folder there; known: {known}.")
    return ("PALPROBE_DATA", f"ok: {root} with {', '.join(tasks)}")


def _audio() -> list[Line]:
    try:
        from palprobe.audio import audio_versions

        lines = [(name, f"ok: {version}") for name, version in audio_versions().items()]
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        lines = [("libsndfile", f"warn: cannot be loaded ({reason}). Run pip install soundfile soxr.")]
    av = _version("av")
    absent = "ok: not installed; m4a and webm need pip install 'palprobe[av]'"
    return [*lines, ("PyAV", f"ok: {av}" if av else absent)]
