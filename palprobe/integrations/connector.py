"""From encoder features to the LLM's width: the trainable maps that integrations share."""

from __future__ import annotations

from torch import nn

from palprobe.types import LLMShape

GELU_RMS = 0.652  # root mean square of GELU(z), z standard normal


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
    if kind == "mlp":
        first, last = nn.Linear(dim, hidden), nn.Linear(hidden, hidden)
        scale(first, 1.0)
        scale(last, shape.embedding_rms / GELU_RMS)
        return nn.Sequential(nn.Dropout(dropout), first, nn.GELU(), last)
    only = nn.Linear(dim, hidden)
    scale(only, shape.embedding_rms)
    return nn.Sequential(nn.Dropout(dropout), only)


def scale(linear: nn.Linear, rms: float) -> None:
    """Gives a linear map random weights that turn inputs of unit root mean square into outputs of `rms`."""
    nn.init.normal_(linear.weight, std=rms * linear.in_features**-0.5)
    nn.init.zeros_(linear.bias)
