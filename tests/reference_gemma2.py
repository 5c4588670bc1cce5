"""What Gemma 2 does otherwise than Llama (arXiv 2408.00118), in the same plain loops: soft caps, windows in turn."""

import numpy as np
from reference_llama import Array, ReferenceLlama

from palprobe.llm.model import LanguageModel


class ReferenceGemma2(ReferenceLlama):
    """Reads the weights of a Gemma 2 and nothing else of it."""

    def __init__(self, llm: LanguageModel) -> None:
        super().__init__(llm)
        config = llm.model.config
        self.size, self.scale = config.head_dim, config.query_pre_attn_scalar**-0.5
        self.cap, self.final_cap = config.attn_logit_softcapping, config.final_logit_softcapping
        self.windows = [
            config.sliding_window if kind == "sliding_attention" else float("inf") for kind in config.layer_types
        ]

    def embed(self, token: int) -> Array:
        row = super().embed(token)
        return row * np.sqrt(len(row))

    def norm(self, row: Array, weight: Array) -> Array:
        return super().norm(row, 1 + weight)

    def head(self, row: Array) -> Array:
        return self.final_cap * np.tanh(super().head(row) / self.final_cap)

    def score(self, query: Array, key: Array) -> float:
        return self.cap * np.tanh(super().score(query, key) / self.cap)

    def finish(self, layer: int, row: Array, attended: Array) -> Array:
        """Norms stand before and after both parts."""
        row = row + self.norm(attended, self.layer_weight(layer, "post_attention_layernorm"))
        fed = self.feed_forward(layer, self.norm(row, self.layer_weight(layer, "pre_feedforward_layernorm")))
        return row + self.norm(fed, self.layer_weight(layer, "post_feedforward_layernorm"))

    def activation(self, gate: Array) -> Array:
        return 0.5 * gate * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
