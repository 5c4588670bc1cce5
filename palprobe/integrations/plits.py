"""PLITS: audio tokens in the LLM's input space, before the text, through every layer (arXiv 2506.10423)."""

from __future__ import annotations

from torch import Tensor, nn

from palprobe.integrations.connector import connector
from palprobe.integrations.qformer import QFormer
from palprobe.recipe import IntegrationSection
from palprobe.types import AudioContext, LLMShape


class Plits(nn.Module):
    """One audio token per feature token, or a few per window of them where the connector is a Q-Former.

    Args:
        dim: D of the features.
        shape: of the LLM.
        section: reads `connector` (mlp, linear, qformer), `dropout`, and for a Q-Former `queries` and `window`.
    """

    buckets_by = "audio and text"  # what a batch should have alike: both go through every layer

    def __init__(self, dim: int, shape: LLMShape, section: IntegrationSection) -> None:
        super().__init__()
        self.connector: nn.Module
        if section.connector == "qformer":
            self.connector = QFormer(dim, shape, section)
        else:
            self.connector = connector(section.connector or "mlp", dim, shape, section.dropout)

    def forward(self, features: Tensor, mask: Tensor) -> AudioContext:
        """(B, T, D) features and their (B, T) mask → a prefix of N = `num_tokens(T)` rows."""
        if isinstance(self.connector, QFormer):
            prefix, prefix_mask = self.connector(features, mask)
            return AudioContext(prefix=prefix, prefix_mask=prefix_mask, prefix_stretch=len(self.connector.queries))
        return AudioContext(prefix=self.connector(features), prefix_mask=mask)

    def num_tokens(self, num_features: int) -> int:
        return self.connector.num_tokens(num_features) if isinstance(self.connector, QFormer) else num_features

    def num_positions(self, num_features: int) -> int:
        return self.num_tokens(num_features)
