"""The baseline with blocks of its own: gated cross-attention and feed-forward before layers (arXiv 2204.14198).

As in Flamingo, text asks and audio answers in attention that is not the LLM's, and each block has a feed-forward
network. Both are added through tanh gates that start at zero, so that training begins with the LLM as it was.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palprobe.integrations import chosen_layers
from palprobe.integrations.connector import connector
from palprobe.recipe import IntegrationSection
from palprobe.types import AudioContext, LLMShape

HEAD_SIZE = 64
WIDENING = 4  # of the feed-forward network


class GatedBlock(nn.Module):
    """hidden + tanh(a) · attention(hidden, audio), then + tanh(f) · feed-forward."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.num_heads = max(1, hidden_size // HEAD_SIZE)
        while hidden_size % self.num_heads:  # widths that are no multiple of 64
            self.num_heads -= 1
        self.norm = nn.LayerNorm(hidden_size)
        self.audio_norm = nn.LayerNorm(hidden_size)
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)
        self.key_value = nn.Linear(hidden_size, 2 * hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(hidden_size),
            nn.Linear(hidden_size, WIDENING * hidden_size, bias=False),
            nn.GELU(),
            nn.Linear(WIDENING * hidden_size, hidden_size, bias=False),
        )
        self.attention_gate = nn.Parameter(torch.zeros(1))
        self.feed_forward_gate = nn.Parameter(torch.zeros(1))

    def read(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, H) audio → its keys and values, (B, heads, N, H / heads) each."""
        key, value = (self._heads(part) for part in self.key_value(self.audio_norm(audio)).chunk(2, dim=-1))
        return key, value

    def forward(self, hidden: Tensor, key: Tensor, value: Tensor, audio_mask: Tensor) -> Tensor:
        """(B, L, H) before a layer, what `read` gave and the (B, N) mask of the audio → (B, L, H)."""
        query = self._heads(self.query(self.norm(hidden)))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=audio_mask[:, None, None])
        hidden = hidden + self.attention_gate.tanh() * self.output(mixed.transpose(1, 2).flatten(2))
        updated: Tensor = hidden + self.feed_forward_gate.tanh() * self.feed_forward(hidden)
        return updated

    def weights(self, hidden: Tensor, key: Tensor, audio_mask: Tensor) -> Tensor:
        """(B, L, N): how much of each row's attention goes to each audio token, averaged over the heads."""
        query = self._heads(self.query(self.norm(hidden)))
        logits = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5  # (B, heads, L, N)
        logits = logits.masked_fill(~audio_mask[:, None, None], -torch.inf)
        averaged: Tensor = logits.softmax(-1).mean(1)
        return averaged

    def _heads(self, rows: Tensor) -> Tensor:
        """(B, n, H) → (B, heads, n, H / heads)."""
        return rows.view(*rows.shape[:2], self.num_heads, -1).transpose(1, 2)


class Reading:
    """A block and the audio that it reads; decoding calls it for every token, and makes keys and values once."""

    def __init__(self, block: GatedBlock, audio: Tensor, audio_mask: Tensor) -> None:
        self._block, self.audio, self.audio_mask = block, audio, audio_mask
        self._pair: tuple[Tensor, Tensor] | None = None

    def __call__(self, hidden: Tensor, _: Tensor, owner: Tensor | None = None) -> Tensor:
        parts = (*self._read(), self.audio_mask)
        updated: Tensor = self._block(hidden, *(parts if owner is None else [part[owner] for part in parts]))
        return updated

    def _read(self) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled():  # asked once, or again where it is computed again
            return self._block.read(self.audio)
        if self._pair is None:
            self._pair = self._block.read(self.audio)
        return self._pair


class Flamingo(nn.Module):
    """A gated block before each chosen layer, all of which read the same audio tokens.

    Args:
        dim: D of the features.
        shape: of the LLM.
        section: reads `connector` (mlp, linear), `layers` and `dropout`.
    """

    buckets_by = "text"  # audio passes the connector and the blocks' keys and values only

    def __init__(self, dim: int, shape: LLMShape, section: IntegrationSection) -> None:
        super().__init__()
        self.connector = connector(section.connector or "mlp", dim, shape, section.dropout)
        layers = chosen_layers(section.layers, shape.num_layers)
        self.blocks = nn.ModuleDict({str(layer): GatedBlock(shape.hidden_size) for layer in layers})

    def forward(self, features: Tensor, mask: Tensor) -> AudioContext:
        """(B, T, D) features and their (B, T) mask → a block for each chosen layer."""
        audio = self.connector(features)  # (B, N, H)
        blocks = ((int(layer), cast(GatedBlock, block)) for layer, block in self.blocks.items())
        return AudioContext(blocks={layer: Reading(block, audio, mask) for layer, block in blocks})

    def gates(self) -> dict[int, float]:
        """Layer → how much of its block's attention is added: tanh of the gate, 0 as training begins."""
        blocks = {int(layer): cast(GatedBlock, block) for layer, block in self.blocks.items()}
        return {layer: block.attention_gate.detach().tanh().item() for layer, block in blocks.items()}

    def num_tokens(self, num_features: int) -> int:
        return num_features

    def num_positions(self, num_features: int) -> int:  # noqa: ARG002 - blocks have attention of their own
        return 0
