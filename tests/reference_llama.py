"""A Llama forward pass in plain loops, written from the papers: the oracle for what the LLM makes of audio.

No library model, no batch, no cache, no mask: one token, one head and one layer at a time, in float64.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palprobe.llm.model import LanguageModel

Array = NDArray[np.float64]


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    return x / np.sqrt(np.mean(x * x) + epsilon) * weight


def rotate(x: Array, position: int, base: float) -> Array:
    """Rotates the pairs (i, i + half) by position · base^(-2i / size)."""
    half = len(x) // 2
    rotated = np.empty_like(x)
    for i in range(half):
        angle = position * base ** (-2 * i / len(x))
        rotated[i] = x[i] * np.cos(angle) - x[i + half] * np.sin(angle)
        rotated[i + half] = x[i + half] * np.cos(angle) + x[i] * np.sin(angle)
    return rotated


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max())
    return powers / powers.sum()


class ReferenceLlama:
    """Reads the weights of a Llama and nothing else of it."""

    def __init__(self, llm: LanguageModel) -> None:
        config = llm.model.config
        self.weights = {name: value.detach().numpy() for name, value in llm.model.state_dict().items()}
        self.num_layers, self.epsilon = config.num_hidden_layers, config.rms_norm_eps
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.size = config.hidden_size // config.num_attention_heads
        self.base = config.rope_parameters["rope_theta"]

    def layer_weight(self, layer: int, name: str) -> Array:
        return self.weights[f"model.layers.{layer}.{name}.weight"]

    def heads_of(self, x: Array, layer: int, name: str, position: int | None) -> list[Array]:
        """One projection of a normed row, cut into heads and rotated unless `position` is None."""
        flat = self.layer_weight(layer, f"self_attn.{name}") @ x
        heads = [flat[start : start + self.size] for start in range(0, len(flat), self.size)]
        return heads if position is None else [rotate(head, position, self.base) for head in heads]

    def logits(
        self,
        ids: list[int],
        *,
        prefix: Array | None = None,
        memory: Mapping[int, Array] | None = None,
        rotated: bool = True,
    ) -> Array:
        """(tokens, V): logits after each text token.

        Args:
            ids: of the text.
            prefix: (N, H) input rows before it.
            memory: layer → (N, H), keys and values only; positions 0..N-1 and the text after them if `rotated`,
                else unrotated with the text from 0.
            rotated: see memory.
        """
        memory = memory or {}
        embedding = self.weights["model.embed_tokens.weight"]
        rows = [*([] if prefix is None else prefix), *(embedding[token] for token in ids)]
        first = len(next(iter(memory.values()))) if memory and rotated else 0
        for layer in range(self.num_layers):
            rows = self.one_layer(layer, rows, first, memory.get(layer, np.empty((0, 0))), rotated)
        final = self.weights["model.norm.weight"]
        head = self.weights["lm_head.weight"]
        return np.array([head @ rms_norm(row, final, self.epsilon) for row in rows[-len(ids) :]])

    def one_layer(self, layer: int, rows: list[Array], first: int, audio: Array, rotated: bool) -> list[Array]:
        norm = self.layer_weight(layer, "input_layernorm")
        keys, values = [], []
        for position, token in enumerate(audio):
            normed = rms_norm(token, norm, self.epsilon)
            keys.append(self.heads_of(normed, layer, "k_proj", position if rotated else None))
            values.append(self.heads_of(normed, layer, "v_proj", None))
        done = []
        for index, row in enumerate(rows):
            normed = rms_norm(row, norm, self.epsilon)
            queries = self.heads_of(normed, layer, "q_proj", first + index)
            keys.append(self.heads_of(normed, layer, "k_proj", first + index))
            values.append(self.heads_of(normed, layer, "v_proj", None))
            done.append(self.feed_forward(layer, row + self.attend(layer, queries, keys, values)))
        return done

    def attend(self, layer: int, queries: list[Array], keys: list[list[Array]], values: list[list[Array]]) -> Array:
        """One row over all that stands before it and itself."""
        outputs = []
        for head, query in enumerate(queries):
            shared = head // (self.heads // self.kv_heads)
            weights = softmax(np.array([query @ key[shared] for key in keys]) / np.sqrt(self.size))
            outputs.append(sum(weight * value[shared] for weight, value in zip(weights, values, strict=True)))
        return self.layer_weight(layer, "self_attn.o_proj") @ np.concatenate(outputs)

    def feed_forward(self, layer: int, row: Array) -> Array:
        normed = rms_norm(row, self.layer_weight(layer, "post_attention_layernorm"), self.epsilon)
        gate = self.layer_weight(layer, "mlp.gate_proj") @ normed
        up = self.layer_weight(layer, "mlp.up_proj") @ normed
        return row + self.layer_weight(layer, "mlp.down_proj") @ (gate / (1 + np.exp(-gate)) * up)


class WatchedLlama(ReferenceLlama):
    """The same in plain loops, which also notes what each row gives to each column, averaged over heads."""

    def attention(self, ids: list[int], **audio: Any) -> list[list[Array]]:
        """For each layer and row, its weights over the columns up to its own: memory, prefix, text."""
        self.seen: list[list[Array]] = [[] for _ in range(self.num_layers)]
        self.logits(ids, **audio)
        return self.seen

    def attend(self, layer: int, queries: list[Array], keys: list[list[Array]], values: list[list[Array]]) -> Array:
        heads = []
        for head, query in enumerate(queries):
            shared = head // (self.heads // self.kv_heads)
            heads.append(softmax(np.array([query @ key[shared] for key in keys]) / np.sqrt(self.size)))
        self.seen[layer].append(np.mean(heads, axis=0))
        return super().attend(layer, queries, keys, values)
