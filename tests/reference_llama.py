"""A forward pass of Llama or Mistral in plain loops, written from the papers: the oracle for what it makes of audio.

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
    """Reads the weights of a Llama or Mistral and nothing else of it."""

    def __init__(self, llm: LanguageModel) -> None:
        config = llm.model.config
        self.weights = {name: value.detach().numpy() for name, value in llm.model.state_dict().items()}
        self.num_layers, self.epsilon = config.num_hidden_layers, config.rms_norm_eps
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.size = config.hidden_size // config.num_attention_heads
        self.base = config.rope_parameters["rope_theta"]
        self.scale = self.size**-0.5
        window = getattr(config, "sliding_window", None) or float("inf")
        self.windows = [window] * self.num_layers  # Mistral has one in every layer

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
        rows = [*([] if prefix is None else prefix), *(self.embed(token) for token in ids)]
        first = len(next(iter(memory.values()))) if memory and rotated else 0
        for layer in range(self.num_layers):
            rows = self.one_layer(layer, rows, first, memory.get(layer, np.empty((0, 0))), rotated)
        return np.array([self.head(row) for row in rows[-len(ids) :]])

    def embed(self, token: int) -> Array:
        return self.weights["model.embed_tokens.weight"][token]

    def norm(self, row: Array, weight: Array) -> Array:
        return rms_norm(row, weight, self.epsilon)

    def head(self, row: Array) -> Array:
        return self.weights["lm_head.weight"] @ self.norm(row, self.weights["model.norm.weight"])

    def one_layer(self, layer: int, rows: list[Array], first: int, audio: Array, rotated: bool) -> list[Array]:
        """Rows see all audio, and each other within the window."""
        norm = self.layer_weight(layer, "input_layernorm")
        keys, values = [], []
        for position, token in enumerate(audio):
            normed = self.norm(token, norm)
            keys.append(self.heads_of(normed, layer, "k_proj", position if rotated else None))
            values.append(self.heads_of(normed, layer, "v_proj", None))
        done = []
        for index, row in enumerate(rows):
            normed = self.norm(row, norm)
            queries = self.heads_of(normed, layer, "q_proj", first + index)
            keys.append(self.heads_of(normed, layer, "k_proj", first + index))
            values.append(self.heads_of(normed, layer, "v_proj", None))
            seen = [at for at in range(len(keys)) if at < len(audio) or len(audio) + index - at < self.windows[layer]]
            seen_keys, seen_values = [keys[at] for at in seen], [values[at] for at in seen]
            done.append(self.finish(layer, row, self.attend(layer, queries, seen_keys, seen_values)))
        return done

    def attend(self, layer: int, queries: list[Array], keys: list[list[Array]], values: list[list[Array]]) -> Array:
        """One row over the keys that it sees, itself among them."""
        outputs = []
        for head, query in enumerate(queries):
            shared = head // (self.heads // self.kv_heads)
            weights = softmax(np.array([self.score(query, key[shared]) for key in keys]))
            outputs.append(sum(weight * value[shared] for weight, value in zip(weights, values, strict=True)))
        return self.layer_weight(layer, "self_attn.o_proj") @ np.concatenate(outputs)

    def score(self, query: Array, key: Array) -> float:
        return self.scale * (query @ key)

    def finish(self, layer: int, row: Array, attended: Array) -> Array:
        """Both residual sums and the feed-forward network between them."""
        row = row + attended
        return row + self.feed_forward(layer, self.norm(row, self.layer_weight(layer, "post_attention_layernorm")))

    def feed_forward(self, layer: int, normed: Array) -> Array:
        gate = self.layer_weight(layer, "mlp.gate_proj") @ normed
        up = self.layer_weight(layer, "mlp.up_proj") @ normed
        return self.layer_weight(layer, "mlp.down_proj") @ (self.activation(gate) * up)

    def activation(self, gate: Array) -> Array:
        return gate / (1 + np.exp(-gate))


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
