"""What a batch of prompts attends to: how much of each layer's attention goes to audio, and where in the clip.

The LLM's own attention is read by `palprobe.llm.readout`; that of Flamingo's blocks, which is none of the LLM's, here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from palprobe.integrations.flamingo import Flamingo, GatedBlock
from palprobe.integrations.joined import join_contexts
from palprobe.llm.model import TextBatch
from palprobe.llm.readout import reading
from palprobe.training.probe import Branch, Probe
from palprobe.types import AudioContext

BINS = 20  # of a clip, equally long
MEMORY = "memory"  # audio keys and values
PREFIX = "prefix"  # audio rows before the text
BLOCKS = "blocks"  # those of Flamingo, with attention of their own


@dataclass(frozen=True, eq=False)
class Source:
    """The audio columns of one encoder that the LLM sees in one way."""

    name: str
    bins: Tensor  # (B, N, BINS), from `into_bins`


def into_bins(mask: Tensor, together: int = 1) -> Tensor:
    """(B, N) mask of audio tokens → (B, N, BINS): how attention to each is spread over equal bins of the clip.

    The real tokens of a clip tell of equal stretches of it, in order. What goes to a token is spread evenly over its
    stretch, so each row adds up to one; the row of padding to zero.

    Args:
        mask: real tokens.
        together: consecutive tokens that tell of the same stretch: bands of a time step, or queries of a window.
    """
    stretch = (mask.long().cumsum(1) - 1).clamp(min=0) // together  # (B, N)
    count = (-(-mask.sum(1, keepdim=True) // together)).clamp(min=1)  # (B, 1)
    start, end = (stretch / count)[..., None], ((stretch + 1) / count)[..., None]  # (B, N, 1), in clips
    edges = torch.arange(BINS + 1, device=mask.device) / BINS
    overlap = torch.minimum(end, edges[1:]) - torch.maximum(start, edges[:-1])  # (B, N, BINS)
    return overlap.clamp(min=0) * count[..., None] * mask[..., None]


@torch.inference_mode()
def read_attention(probe: Probe, text: TextBatch, clips: Sequence[Sequence[Tensor]]) -> dict[str, Tensor]:
    """`last.SOURCE`, `prompt.SOURCE` (B, layers, BINS) and `share.last`, `share.prompt` (B, layers) of B items.

    Args:
        probe: trained, in eval mode.
        text: the prompts, padded on the left.
        clips: for each encoder, the (T, D) features of every item as stored.
    """
    heard = {number: branch for number, branch in enumerate(probe.branches) if number not in probe.dropped}
    contexts = {number: branch(clips[number]) for number, branch in heard.items()}
    together = {number: branch.pooling.grid // branch.pooling.bands for number, branch in heard.items()}
    several = len(probe.branches) > 1
    sources = _sources(contexts, together, several=several)
    marks = _marks(sources, text.mask)
    with reading(marks) as found, _reading_blocks(heard, together, several=several) as blocks:
        probe(text, join_contexts(list(contexts.values())), logits_to_keep=1)
    results: dict[str, Tensor] = {}
    if sources:
        for rows, sums in _of_rows(found, text.mask, probe.llm.shape.num_layers).items():
            results[f"share.{rows}"] = sums.sum(-1)
            parts = zip(sources, torch.split(sums, BINS, dim=-1), strict=True)
            results |= {f"{rows}.{source.name}": part for source, part in parts}
    for name, layers in blocks.items():
        for rows, sums in _of_rows(layers, text.mask, probe.llm.shape.num_layers).items():
            results[f"{rows}.{name}"] = sums
    return results


def named(kind: str, number: int, *, several: bool) -> str:
    """What belongs to one encoder: `memory`, or of several encoders with its place among them, `memory.2`."""
    return f"{kind}.{number + 1}" if several else kind


def _sources(contexts: Mapping[int, AudioContext], together: Mapping[int, int], *, several: bool) -> list[Source]:
    """In the order of the LLM's columns: all memory, then all prefixes."""
    memory, prefix = [], []
    for number, context in contexts.items():
        if context.memory:
            assert context.memory_mask is not None  # noqa: S101 - a mask comes with every memory
            bins = into_bins(context.memory_mask, together[number])
            memory.append(Source(named(MEMORY, number, several=several), bins))
        if context.prefix_mask is not None:
            bins = into_bins(context.prefix_mask, context.prefix_stretch or together[number])
            prefix.append(Source(named(PREFIX, number, several=several), bins))
    return memory + prefix


def _marks(sources: Sequence[Source], text_mask: Tensor) -> Tensor:
    """(B, columns, sources · BINS): bins of its own for each source, and none for the text's columns."""
    wide = len(sources) * BINS
    placed = [F.pad(source.bins, (place * BINS, wide - (place + 1) * BINS)) for place, source in enumerate(sources)]
    return torch.cat([*placed, torch.zeros(*text_mask.shape, wide, device=text_mask.device)], dim=1)


@contextmanager
def _reading_blocks(
    branches: Mapping[int, Branch], together: Mapping[int, int], *, several: bool
) -> Iterator[dict[str, dict[int, Tensor]]]:
    """Yields what the attention of each Flamingo block adds up to as it runs: name → layer → (B, rows, BINS)."""
    found: dict[str, dict[int, Tensor]] = {}
    handles = []
    for number, branch in branches.items():
        if not isinstance(branch.integration, Flamingo):
            continue
        layers = found.setdefault(named(BLOCKS, number, several=several), {})
        for layer, block in branch.integration.blocks.items():

            def watch(
                block: GatedBlock,
                arguments: tuple[Tensor, ...],
                layers: dict[int, Tensor] = layers,
                layer: int = int(layer),
                width: int = together[number],
            ) -> None:
                hidden, key, _, audio_mask = arguments
                weights = block.weights(hidden, key, audio_mask)
                layers[layer] = weights @ into_bins(audio_mask, width).to(weights.dtype)

            handles.append(block.register_forward_pre_hook(watch))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _of_rows(found: Mapping[int, Tensor], mask: Tensor, num_layers: int) -> dict[str, Tensor]:
    """(B, layers, C) of the prompt's last row and of the mean over its real rows; zeros where a layer saw no audio."""
    like = next(iter(found.values()))  # (B, rows, C), the text's rows last
    layers = [found.get(layer, torch.zeros_like(like))[:, -mask.shape[1] :] for layer in range(num_layers)]
    sums = torch.stack(layers, dim=1)  # (B, layers, L, C)
    real = mask[:, None, :, None]
    return {"last": sums[:, :, -1], "prompt": (sums * real).sum(2) / real.sum(2)}
