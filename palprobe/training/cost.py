"""What a cell costs: seconds, and the peak of its own memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import sys
import time
from pathlib import Path

KIB = 1024


class Meter:
    """Counts seconds and peak memory from its making on.

    On Linux the kernel's high-water mark of resident memory is reset first, so the peak is this cell's own (with the
    libraries and what the process held at the start); on a GPU it is the allocator's peak.
    """

    def __init__(self, device: str) -> None:
        self._device, self._cuda = device, device.startswith("cuda")
        gc.collect()
        if self._cuda:
            import torch

            torch.cuda.reset_peak_memory_stats(device)
            self.method = "cuda max_memory_allocated"
        else:
            self.method = "VmHWM after reset" if _reset_high_water_mark() else "ru_maxrss of the process"
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    @property
    def peak_bytes(self) -> int:
        if self._cuda:
            import torch

            return torch.cuda.max_memory_allocated(self._device)
        if self.method.startswith("VmHWM"):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * KIB
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * KIB


def _reset_high_water_mark() -> bool:
    if sys.platform != "linux":
        return False
    with contextlib.suppress(AttributeError, OSError):  # musl has no malloc_trim; the reset below still holds
        ctypes.CDLL(None).malloc_trim(0)  # give back what earlier cells freed, or it would count here
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True
