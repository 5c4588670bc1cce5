"""Learning curves: the loss of each row's runs by step, from log.jsonl."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from markupsafe import Markup

from palprobe.files import read_lines
from palprobe.report.page.sources import Palette, Source
from palprobe.report.page.svg import Axis, axis_over, drawing, frame, line

LOG = "log.jsonl"
WINDOWS = 40  # points of a curve; each is the mean of the steps in its window
LOG_FROM = 3.0  # times from the smallest loss to the largest
WIDTH, HEIGHT = 340.0, 210.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 330.0, 24.0, 172.0  # of the area that is drawn in

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One drawing, of the rows that share a name."""

    title: str
    chart: Markup


def curve_panels(sources: Sequence[Source], palette: Palette) -> list[Panel]:
    """A drawing for each encoder; one for all, where one integration is compared. None where no log was kept."""
    curves = [(source, _curve([result.path.parent.parent for result in source.results])) for source in sources]
    drawn = [(source, points) for source, points in curves if points]
    by_title: dict[str, list[tuple[Source, Points]]] = defaultdict(list)
    for source, points in drawn:
        by_title["" if palette.by == "encoder" else source.row.encoder].append((source, points))
    every = [points for _, points in drawn]
    return [Panel(title, _chart(title, members, every, palette)) for title, members in by_title.items()]


def _chart(title: str, members: Sequence[tuple[Source, Points]], every: Sequence[Points], palette: Palette) -> Markup:
    """All panels of a task have the same axes."""
    x = Axis(0.0, max(step for points in every for step, _ in points), LEFT, RIGHT)
    y = axis_over([loss for points in every for _, loss in points], BOTTOM, TOP, log_from=LOG_FROM)
    parts = frame(x, y, "step", "training loss")
    for source, points in members:
        places = [(x.at(step), y.at(loss)) for step, loss in points]
        parts.append(line(places, f"curve {palette.of(source.row)}", f"{source.name}: {points[-1][1]:.3g} at the end"))
    ends = "; ".join(f"{source.name} from {points[0][1]:.3g} to {points[-1][1]:.3g}" for source, points in members)
    return drawing(parts, WIDTH, HEIGHT, f"Training loss by step{' of ' if title else ''}{title}: {ends}")


def _curve(runs: Sequence[Path]) -> Points:
    """The mean over the runs of each step's loss, in windows."""
    by_step: dict[int, list[float]] = defaultdict(list)
    for run in dict.fromkeys(runs):
        if (run / LOG).is_file():
            for step, loss in _steps(run / LOG):
                by_step[step].append(loss)
    steps = sorted(by_step)
    if len(steps) < 2:
        return []
    size = max(1, -(-len(steps) // WINDOWS))
    windows = [steps[first : first + size] for first in range(0, len(steps), size)]
    return [(fmean(window), fmean(fmean(by_step[step]) for step in window)) for window in windows]


def _steps(log: Path) -> list[tuple[int, float]]:
    """A step that was taken again after an interruption counts once, as it was taken last."""
    found = {}
    for record in read_lines(log, skip_damaged=True):
        step, loss = (record.get(key) for key in ("step", "loss")) if isinstance(record, dict) else (None, None)
        if isinstance(step, int) and isinstance(loss, int | float):
            found[step] = float(loss)
    return list(found.items())
