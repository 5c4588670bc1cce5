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
        first = scaled_linear(dim, hidden, rms=1.0)
        last = scaled_linear(hidden, hidden, rms=shape.embedding_rms / GELU_RMS)
        return nn.Sequential(nn.Dropout(dropout), first, nn.GELU(), last)
    return nn.Sequential(nn.Dropout(dropout), scaled_linear(dim, hidden, rms=shape.embedding_rms))


def scaled_linear(inputs: int, outputs: int, *, rms: float) -> nn.Linear:
    """A linear map with random weights that turn inputs of unit root mean square into outputs of `rms`."""
    linear = nn.Linear(inputs, outputs)
    nn.init.normal_(linear.weight, std=rms * inputs**-0.5)
    nn.init.zeros_(linear.bias)
    return linear
