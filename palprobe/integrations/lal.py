"""LAL: audio only as keys and values of the LLM's own attention: no queries, no feed-forward (arXiv 2506.10423).

The paper's abstract does not say which projections, norms, positions and layers; those here are documented choices of
ours: the LLM's own k_proj and v_proj behind the layer's input norm, rotary positions before the text's, every layer.
"""

from __future__ import annotations

from torch import Tensor, nn

from palprobe.integrations import chosen_layers
from palprobe.integrations.connector import connector
from palprobe.recipe import IntegrationSection
from palprobe.types import AudioContext, LLMShape


class LayerMap(nn.Module):
    """a + up(down(a)): one layer's own low-rank view of the shared audio tokens; starts as the identity."""

    def __init__(self, hidden_size: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(hidden_size, rank, bias=False)
        self.up = nn.Linear(rank, hidden_size, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, audio: Tensor) -> Tensor:
        mapped: Tensor = audio + self.up(self.down(audio))
        return mapped


class Lal(nn.Module):
    """One audio key and value per feature token, in each chosen layer.

    Args:
        dim: D of the features.
        shape: of the LLM.
        section: reads `connector` (shared: the same tokens for all layers; per_layer: a low-rank map of them for each),
            `layers`, `positions`, `rank` and `dropout`.
    """

    buckets_by = "text"  # what a batch should have alike: audio rows cost little here

    def __init__(self, dim: int, shape: LLMShape, section: IntegrationSection) -> None:
        super().__init__()
        # Audio meets no feed-forward network on its way; behind a linear map, attention could only average features.
        self.connector = connector("mlp", dim, shape, section.dropout)
        self.positions = section.positions
        self.layers = chosen_layers(section.layers, shape.num_layers)
        self.maps = nn.ModuleDict()
        if section.connector == "per_layer":
            self.maps.update({str(layer): LayerMap(shape.hidden_size, section.rank) for layer in self.layers})

    def forward(self, features: Tensor, mask: Tensor) -> AudioContext:
        """(B, T, D) features and their (B, T) mask → a memory of N = T tokens for each chosen layer."""
        audio = self.connector(features)  # (B, N, H)
        memory = {layer: self.maps[str(layer)](audio) if self.maps else audio for layer in self.layers}
        return AudioContext(memory=memory, memory_mask=mask, memory_positions=self.positions)

    def num_tokens(self, num_features: int) -> int:
        return num_features

    def num_positions(self, num_features: int) -> int:
        return num_features if self.positions == "before" else 0
