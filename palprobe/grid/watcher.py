"""Who is told how the work goes on."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """The command line shows bars or lines."""

    def stage(self, title: str, *, total: int | None = None, unit: str = "") -> None:
        """A piece of work begins."""
        ...

    def advance(self, done: int, detail: str = "") -> None:
        """So much of it is done."""
        ...

    def end(self, note: str) -> None:
        """It is finished, in a phrase."""
        ...
