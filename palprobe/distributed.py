"""The one home of accelerate: which device and which of how many processes this is."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

from palprobe.errors import PalprobeError, UsageError

if TYPE_CHECKING:
    from accelerate import Accelerator

DEVICES = ("auto", "cpu", "cuda", "mps")
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def check_device(name: str) -> None:
    """Raises UsageError for a device that no one has heard of, without loading torch."""
    if not DEVICE.fullmatch(name):
        raise UsageError(f"--device {name!r}: choose one of {', '.join(DEVICES)} (cuda:1 for the second GPU).")


def resolve_device(name: str) -> str:
    """`auto` becomes cuda where a GPU is, else cpu; another name is checked to be there.

    Raises:
        UsageError: an unknown device, or one that this machine lacks.
    """
    import torch

    check_device(name)
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (kind == "cuda" and int(number or 0) >= gpus) or (kind == "mps" and not torch.backends.mps.is_available()):
        raise UsageError(
            f"--device {name}: torch sees no such device here. Use --device cpu, or see `palprobe doctor`."
        )
    return name


def machine_name(device: str) -> str:
    """The GPU, or the processor and the threads that torch uses: seconds of two machines are not to be compared."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{processor_name()}, {threads} thread{'s' if threads > 1 else ''}"


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """As its maker calls it."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def start(device: str) -> Accelerator:
    """The engine that carries the training loop on `device`.

    Raises:
        PalprobeError: several processes were launched; sharding is not built yet, and each would repeat the work.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise PalprobeError("palprobe runs in one process per cell so far; start it without a launcher of several.")
    from accelerate import Accelerator

    if device.startswith("cuda:"):
        import torch

        torch.cuda.set_device(device)  # accelerate takes the current GPU
    return Accelerator(cpu=device == "cpu")
