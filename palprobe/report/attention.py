"""attention.png beside attention.safetensors: layers by time as heat maps, and the share of attention to audio."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palprobe.evaluation.attended import BLOCKS
from palprobe.files import load_metadata, load_tensors, write_atomically
from palprobe.report.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

ROWS = {"last": "last row of the prompt", "prompt": "mean of the prompt's rows"}
STYLES = {"last": "-", "prompt": "--"}
INCHES, DOTS_PER_INCH = (13.0, 4.0), 110


def draw_attention(path: Path) -> Path:
    """Draws an attention.safetensors beside it and says where.

    Raises:
        PalprobeError: the file is damaged.
    """
    figure, target = attention_figure(path), path.with_suffix(".png")
    # Without the library's version in it, the same numbers give the same bytes.
    about: Any = {"Software": None}
    write_atomically(target, lambda file: figure.savefig(file, format="png", dpi=DOTS_PER_INCH, metadata=about))
    return target


def attention_figure(path: Path) -> Figure:
    """The panel of one run: a heat map for each way of reading the prompt, and a line for each source of audio."""
    import torch
    from matplotlib.figure import Figure

    tensors = load_tensors(path)
    about = load_metadata(path)
    sources = sorted(name.removeprefix("last.") for name in tensors if name.startswith("last."))
    figure = Figure(figsize=INCHES, layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(4, 4, 3))
    for axis, rows in zip(axes, ROWS, strict=False):
        _heat(axis, torch.stack([_mean(tensors[f"{rows}.{source}"]) for source in sources]).sum(0), ROWS[rows])
    _lines(axes[2], tensors, sources)
    axes[2].set_ylim(axes[0].get_ylim())
    figure.legend(loc="outside lower center", ncols=4, fontsize="small")
    axes[0].set_ylabel("layer of the LLM")
    items = len(json.loads(about["ids"]))
    figure.suptitle(f"Attention from text to audio: {visible(about['title'])}, {items} items", fontsize="medium")
    return figure


def _mean(values: Tensor) -> Tensor:
    """(E, layers, …) → (layers, …) over the items."""
    return values.float().mean(0)


def _heat(axis: Axes, values: Tensor, title: str) -> None:
    """(layers, BINS), the first layer at the bottom."""
    from matplotlib.ticker import MaxNLocator

    layers, bins = values.shape
    image = axis.imshow(
        values.numpy(), origin="lower", aspect="auto", extent=(0, 1, -0.5, layers - 0.5), vmin=0, interpolation="none"
    )
    axis.set(title=title, xlabel=f"time, as a share of the clip ({bins} bins)")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.figure.colorbar(image, ax=axis, label="attention in a bin")


def _lines(axis: Axes, tensors: Mapping[str, Tensor], sources: list[str]) -> None:
    """For each source the sum over the clip, layer by layer; for Flamingo's blocks, whose sum is one, their gates."""
    from matplotlib.ticker import MaxNLocator

    for number, source in enumerate(sources):
        colour = f"C{number}"
        if source.startswith(BLOCKS):
            gates = tensors[source.replace(BLOCKS, "gate")].float()
            axis.plot(gates, range(len(gates)), color=colour, marker="o", label=f"attention gate of {source}")
            continue
        for rows, words in ROWS.items():
            sums = _mean(tensors[f"{rows}.{source}"]).sum(-1)
            axis.plot(sums, range(len(sums)), STYLES[rows], color=colour, marker=".", label=f"{source}, {words}")
    for kind, marker in (("correct", "^"), ("wrong", "v")):
        if (shares := tensors.get(f"{kind}.share.last")) is not None:
            look: dict[str, Any] = {"color": "black", "fillstyle": "none", "label": f"last row, {kind} answers"}
            axis.plot(shares.float(), range(len(shares)), marker, **look)
    if any(not source.startswith(BLOCKS) for source in sources):
        axis.set_xlim(0, 1)
        axis.set(title="share that goes to audio", xlabel="attention to all of the clip")
    else:
        axis.set(title="gates of the blocks", xlabel="tanh of the gate")
        axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
