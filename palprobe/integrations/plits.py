"""PLITS: audio tokens in the LLM's input space, before the text, through every layer (arXiv 2506.10423)."""

from __future__ import annotations

from torch import Tensor, nn

from palprobe.integrations.connector import connector
from palprobe.recipe import IntegrationSection
from palprobe.types import AudioContext, LLMShape


class Plits(nn.Module):
    """One audio token per feature token.

    Args:
        dim: D of the features.
        shape: of the LLM.
        section: reads `connector` (mlp, linear) and `dropout`.
    """

    buckets_by = "audio and text"  # what a batch should have alike: both go through every layer

    def __init__(self, dim: int, shape: LLMShape, section: IntegrationSection) -> None:
        super().__init__()
        self.connector = connector(section.connector or "mlp", dim, shape, section.dropout)

    def forward(self, features: Tensor, mask: Tensor) -> AudioContext:
        """(B, T, D) features and their (B, T) mask → a prefix of N = T rows."""
        return AudioContext(prefix=self.connector(features), prefix_mask=mask)

    def num_tokens(self, num_features: int) -> int:
        return num_features
