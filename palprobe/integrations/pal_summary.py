"""PAL as its third version has it: a few summary tokens through PLITS, the full sequence through LAL, of one encoder.

How summaries are made, how many there are, and whether they see the full sequence is not in what could be read of the
paper (arXiv 2506.10423 v3): means over equal stretches of the clip, sixteen, and yes are choices of ours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from palprobe.integrations.connector import connector
from palprobe.integrations.lal import Lal
from palprobe.recipe import IntegrationSection
from palprobe.types import AudioContext, LLMShape


class PalSummary(nn.Module):
    """Summary tokens before the text, and one audio key and value per feature token in each chosen layer.

    Args:
        dim: D of the features.
        shape: of the LLM.
        section: reads what `lal` reads, `summary_tokens` and `summary_sees_memory`.
    """

    buckets_by = "text"  # a few tokens more or less for all clips alike

    def __init__(self, dim: int, shape: LLMShape, section: IntegrationSection) -> None:
        super().__init__()
        self.lal = Lal(dim, shape, section)
        self.summary = connector("mlp", dim, shape, section.dropout)
        self.count = section.summary_tokens
        self.sees_memory = section.summary_sees_memory

    def forward(self, features: Tensor, mask: Tensor) -> AudioContext:
        """(B, T, D) features and their (B, T) mask → a prefix of `summary_tokens` rows and a memory of T tokens."""
        full = self.lal(features, mask)
        prefix = self.summary(segment_means(features, mask, self.count))
        return AudioContext(
            prefix=prefix,
            prefix_mask=mask.new_ones(prefix.shape[:2]),
            prefix_sees_memory=self.sees_memory,
            prefix_stretch=1,
            memory=full.memory,
            memory_mask=full.memory_mask,
            memory_positions=full.memory_positions,
        )

    def num_tokens(self, num_features: int) -> int:
        return self.count + num_features

    def num_positions(self, num_features: int) -> int:
        return self.count + self.lal.num_positions(num_features)


def segment_means(features: Tensor, mask: Tensor, count: int) -> Tensor:
    """(B, T, D) → (B, count, D): means over `count` equal stretches of each clip; a frame on a border counts in part.

    Args:
        features: padded at the end.
        mask: (B, T), at least one frame of each clip is real.
        count: stretches; where there are fewer frames, neighbours share one.
    """
    frames = torch.arange(mask.shape[1], device=mask.device)
    size = mask.sum(1, dtype=features.dtype)[:, None, None] / count  # (B, 1, 1) frames to a stretch
    starts = torch.arange(count, device=mask.device)[:, None] * size  # (B, count, 1)
    overlap = torch.minimum(starts + size, frames + 1) - torch.maximum(starts, frames)  # (B, count, T)
    return overlap.clamp(min=0) / size @ features
