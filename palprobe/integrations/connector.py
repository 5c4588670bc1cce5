"""From encoder features to the LLM's width: the trainable maps that integrations share."""

from __future__ import annotations

from torch import nn

from palprobe.types import LLMShape


def connector(kind: str, dim: int, shape: LLMShape, dropout: float) -> nn.Sequential:
    """A map (B, N, D) → (B, N, H) whose outputs start at the scale of the LLM's own input embeddings.

    Rows of another scale than the embeddings' would drown the text in the residual stream, or be drowned by it.

    Args:
        kind: `linear`, or `mlp` (two layers, GELU, hidden size H).
        dim: D of features with unit variance.
        shape: of the LLM.
        dropout: on the features.
    """
    hidden = shape.hidden_size
    first = nn.Linear(dim, hidden)
    layers: list[nn.Module] = [nn.Dropout(dropout), first]
    if kind == "mlp":
        layers += [nn.GELU(), nn.Linear(hidden, hidden)]
    last = layers[-1]
    assert isinstance(last, nn.Linear)  # noqa: S101 - both kinds end so
    nn.init.normal_(last.weight, std=shape.embedding_rms * last.in_features**-0.5)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers)
