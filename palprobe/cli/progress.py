"""Progress on stderr: a bar on a terminal, one line per finished piece elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from palprobe.report.text import visible


class Watching:
    """A `grid.Watcher` for people and for logs; use it in a `with`."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)  # fsdd:speaker: is a name
        self._bars = self._console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} {task.fields[detail]}", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._bars,
        )
        self._task: TaskID | None = None
        self._title, self._unit, self._started, self._first, self._done = "", "", 0.0, 0, 0

    def __enter__(self) -> Watching:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def stage(self, title: str, *, total: int | None = None, unit: str = "") -> None:
        self._title, self._unit, self._started, self._first, self._done = title, unit, time.perf_counter(), -1, 0
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(title, total=total, rate="", detail="")

    def advance(self, done: int, detail: str = "") -> None:
        if self._first < 0:  # a resumed run begins in the middle; its first report starts the clock's count
            self._first = done
        self._done = done
        if self._bars and self._task is not None:
            self._progress.update(self._task, completed=done, detail=detail, rate=self._rate())

    def end(self, note: str) -> None:
        seconds = time.perf_counter() - self._started
        rate = f", {self._rate()}" if self._rate() else ""
        self._console.print(visible(f"{self._title}: {note} ({seconds:.1f} s{rate})"), markup=False)

    def _rate(self) -> str:
        elapsed, clips = time.perf_counter() - self._started, self._done - max(0, self._first)
        return f"{clips / elapsed:.0f} {self._unit}/s" if self._unit and clips > 0 and elapsed > 0 else ""


def say(message: str) -> None:
    """One line on stderr."""
    print(visible(message), file=sys.stderr)  # noqa: T201 - this is where palprobe prints
