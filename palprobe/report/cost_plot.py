"""How the speed-up over PLITS grows with the number of audio tokens, beside its bound."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from palprobe.bench.rows import CostRow
from palprobe.bench.ways import APART, BASELINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_INCHES = 3.2
SPEEDUPS = (0.5, 1, 2, 5, 10, 20, 50)  # that are labelled
NO_PLACE = (BASELINE, APART)  # PLITS is the line at 1


def speedup_svg(rows: Sequence[CostRow]) -> str:
    """A panel for each LLM and integration: measured (solid) and bound (dashed), a colour for each length of the text.

    The same rows give the same bytes.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    shown = [row for row in rows if not row.encoder and row.integration not in NO_PLACE]
    llms = list(dict.fromkeys(row.llm for row in shown)) or ["nothing measured"]
    ways = list(dict.fromkeys(row.integration for row in shown)) or [""]
    with mpl.rc_context({"svg.hashsalt": "palprobe", "svg.fonttype": "none"}):
        figure = Figure(figsize=(PANEL_INCHES * len(ways), PANEL_INCHES * len(llms)), layout="constrained")
        panels = figure.subplots(len(llms), len(ways), squeeze=False, sharex=True, sharey="row")
        for panel_row, llm in zip(panels, llms, strict=True):
            for panel, way in zip(panel_row, ways, strict=True):
                _draw(panel, [row for row in shown if (row.llm, row.integration) == (llm, way)])
                panel.set_title(f"{llm}\n{way}", fontsize="medium")
            panel_row[0].set_ylabel("PLITS' step time over its own")
        for panel in panels[-1]:
            panel.set_xlabel("audio tokens")
        if shown:
            panels[0][0].legend(fontsize="small", title="text tokens")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _draw(panel: Axes, rows: Sequence[CostRow]) -> None:
    panel.axhline(1.0, color="grey", linewidth=0.8)
    for number, text in enumerate(sorted({row.text_tokens for row in rows})):
        line = sorted((row for row in rows if row.text_tokens == text), key=lambda row: row.audio_tokens)
        colour = f"C{number}"
        audio = [row.audio_tokens for row in line]
        panel.plot(audio, _numbers(row.train_speedup for row in line), "o-", color=colour, label=str(text))
        panel.plot(audio, _numbers(row.train_bound for row in line), "--", color=colour, alpha=0.6)
    panel.set_xscale("log")
    panel.set_yscale("log")
    audio = sorted({row.audio_tokens for row in rows})
    panel.set_xticks(audio, labels=[str(count) for count in audio])
    panel.set_yticks(SPEEDUPS, labels=[f"{speedup:g}" for speedup in SPEEDUPS])
    panel.minorticks_off()


def _numbers(values: Iterable[float | None]) -> list[float]:
    """Gaps in a line where nothing was measured."""
    return [math.nan if value is None else value for value in values]
