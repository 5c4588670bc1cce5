"""Clips that cannot become features: counted, with the reason; more than the recipe allows stop the work."""

from __future__ import annotations

import math
from collections.abc import Sequence

from palprobe.errors import DataError
from palprobe.features.clips import SHOWN
from palprobe.features.decoding import Work


class Losses:
    """Clips that could not be decoded.

    Args:
        failed: those known before: key → (example id, path, reason).
        found: distinct clips of the task.
        max_dropped: share of them that may fail.

    Raises:
        DataError: more have failed; also from `add`.
    """

    def __init__(self, failed: dict[str, tuple[str, str, str]], *, found: int, max_dropped: float) -> None:
        self.failed = failed
        self.found = found
        self._max_dropped = max_dropped
        self._check()

    def add(self, work: Work, reason: str) -> None:
        self.failed[work.key] = (work.example.id, str(work.example.audio), reason)
        self._check()

    def _check(self) -> None:
        if len(self.failed) <= self._max_dropped * self.found:
            return
        shown = "; ".join(f"{name}: {reason}" for name, _, reason in list(self.failed.values())[:SHOWN])
        needed = math.ceil(1000 * len(self.failed) / self.found) / 1000
        raise DataError(
            f"{len(self.failed)} of {self.found} clips cannot be decoded or matched, more than data.max_dropped = "
            f"{self._max_dropped:g} allows ({shown}). Mend the files and add --retry-failed, or go on without them: "
            f"--set data.max_dropped={needed:g} or more."
        )


def check_files(work: Sequence[Work]) -> None:
    """Raises DataError if audio that is still to be encoded is gone."""
    gone = [str(item.example.audio) for item in work if not item.example.audio.is_file()]
    if gone:
        raise DataError(
            f"{len(gone)} audio files are gone and their clips are not in the store: {', '.join(gone[:SHOWN])}"
            f"{' …' if len(gone) > SHOWN else ''}. Put them back, or use a store that holds these clips."
        )
