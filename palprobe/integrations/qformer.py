"""A Q-Former: a fixed number of learned queries reads each window of features (Li et al. 2023, arXiv 2301.12597).

Windows for long audio as in SALMONN (Tang et al. 2024, arXiv 2310.13289). The paper's summaries name Q-Formers as its
projection; its number of queries, depth and windows are not known, so those here are ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palprobe.integrations.connector import scale
from palprobe.recipe import IntegrationSection
from palprobe.types import LLMShape

WIDEST = 768  # of the Q-Former itself: that of BERT-base, which the first one was made from
HEAD_SIZE = 64
NUM_BLOCKS = 2


class QFormer(nn.Module):
    """(B, T, D) features and their mask → `queries` tokens for each window of `window` features.

    Args:
        dim: D of features with unit variance.
        shape: of the LLM; outputs start at the scale of its input embeddings.
        section: reads `queries`, `window` and `dropout`.
    """

    def __init__(self, dim: int, shape: LLMShape, section: IntegrationSection) -> None:
        super().__init__()
        width = min(shape.hidden_size, WIDEST)
        self.window = section.window
        self.features = nn.Linear(dim, width)
        self.positions = nn.Parameter(torch.randn(section.window, width) * width**-0.5)
        self.queries = nn.Parameter(torch.randn(section.queries, width))
        self.blocks = nn.ModuleList(
            nn.TransformerDecoderLayer(
                width,
                max(1, width // HEAD_SIZE),
                dim_feedforward=4 * width,
                dropout=section.dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(NUM_BLOCKS)
        )
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, shape.hidden_size)
        scale(self.output, shape.embedding_rms)

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """→ (B, N, H) tokens and their (B, N) mask; a window without a real feature gives tokens that are masked."""
        batch, length = mask.shape
        missing = -length % self.window
        windows = F.pad(features, (0, 0, 0, missing)).reshape(-1, self.window, features.shape[2])  # (B · windows, …)
        real = F.pad(mask, (0, missing)).reshape(-1, self.window)
        audible = real.any(1)
        seen = real | ~audible[:, None]  # softmax needs a key, also where its outcome is thrown away
        memory = self.features(windows) + self.positions
        tokens = self.queries.expand(len(windows), -1, -1)
        for block in self.blocks:
            tokens = block(tokens, memory, memory_key_padding_mask=~seen)
        output = self.output(self.norm(tokens))  # (B · windows, queries, H)
        kept = audible[:, None].expand(-1, len(self.queries))
        return output.reshape(batch, -1, output.shape[2]), kept.reshape(batch, -1)

    def num_tokens(self, num_features: int) -> int:
        return -(-num_features // self.window) * len(self.queries)
