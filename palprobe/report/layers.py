"""What a learned mix of layers (`@weighted`) came to: each layer's weight, averaged over folds and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from palprobe.report.results import EvalResult

BARS = "▁▂▃▄▅▆▇█"  # the largest weight fills the line's height


def layer_lines(results: Sequence[EvalResult]) -> list[str]:
    """'whisper@weighted, lal, tiny, esc10: layers 0 to 4 weigh 0.10 0.15 … ▁▃…' for each cell that mixes layers.

    Args:
        results: finished evaluations; two splits of one run count once.
    """
    runs: dict[str, dict[str, tuple[float, ...]]] = {}
    for result in results:
        cell = result.cell
        for encoder, weights in result.layer_weights.items():
            among = f" in {cell.encoder}" if encoder != cell.encoder else ""
            name = f"{encoder}{among}, {cell.integration}, {cell.llm}, {cell.task}"
            runs.setdefault(name, {})[result.run_id] = weights
    return [_line(name, list(found.values())) for name, found in sorted(runs.items())]


def _line(name: str, runs: Sequence[tuple[float, ...]]) -> str:
    weights = [fmean(layer) for layer in zip(*runs, strict=True)]
    bars = "".join(BARS[min(int(weight / max(weights) * len(BARS)), len(BARS) - 1)] for weight in weights)
    shown = " ".join(f"{weight:.2f}" for weight in weights)
    over = f", mean of {len(runs)} runs" if len(runs) > 1 else ""
    return f"{name}: layers 0 to {len(weights) - 1} weigh {shown} {bars}{over}"
