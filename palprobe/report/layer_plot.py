"""The layer × task heat map of a sweep: each task's scores by layer, and where validation's choice is."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from palprobe.metrics import LOWER_IS_BETTER
from palprobe.report.layer_sweep import LayerSweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES_PER_TASK, INCHES_PER_LAYER, MARGIN_INCHES = 1.3, 0.32, 1.6
DARK = 0.45  # of a colour scale from 0 to 1, below which numbers are written in white


def layer_svg(sweep: LayerSweep) -> str:
    """Layers upwards, tasks sideways; a colour is relative to its own task, the numbers are the scores on test.

    The same sweep gives the same bytes.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    size = (
        MARGIN_INCHES + INCHES_PER_TASK * len(sweep.tasks),
        MARGIN_INCHES + INCHES_PER_LAYER * len(sweep.layers),
    )
    with mpl.rc_context({"svg.hashsalt": "palprobe", "svg.fonttype": "none"}):
        figure = Figure(figsize=size, layout="constrained")
        _draw(figure.subplots(), sweep)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def shades(sweep: LayerSweep) -> np.ndarray:
    """(layers, tasks) from 0, a task's worst layer, to 1, its best; nan where nothing was tested."""
    scores = np.full((len(sweep.layers), len(sweep.tasks)), np.nan)
    for column, task in enumerate(sweep.tasks):
        rows = [sweep.scores.get((layer, task)) for layer in sweep.layers]
        scores[:, column] = [
            np.nan if row is None else -row.score if row.metric in LOWER_IS_BETTER else row.score for row in rows
        ]
    low, high = np.nanmin(scores, axis=0), np.nanmax(scores, axis=0)
    return np.where(
        high > low, (scores - low) / np.where(high > low, high - low, 1), np.where(np.isnan(scores), scores, 1)
    )


def _draw(axes: Axes, sweep: LayerSweep) -> None:
    found = shades(sweep)
    axes.imshow(found, origin="lower", aspect="auto", cmap="viridis", vmin=0, vmax=1)
    axes.set_xticks(range(len(sweep.tasks)), labels=[task.replace("$", r"\$") for task in sweep.tasks])
    axes.set_yticks(range(len(sweep.layers)), labels=sweep.layers)
    axes.set_ylabel("layer")
    axes.set_title(f"{sweep.encoder}, {sweep.integration}, {sweep.llm}".replace("$", r"\$"), fontsize="medium")
    for row, layer in enumerate(sweep.layers):
        for column, task in enumerate(sweep.tasks):
            if score := sweep.scores.get((layer, task)):
                colour = "white" if found[row, column] < DARK else "black"
                picked = layer in sweep.picks.get(task, {})
                text = f"[{score.score:.3f}]" if picked else f"{score.score:.3f}"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize="small")
    axes.set_xlabel("each task's colours are its own; [ ]: chosen on validation")
