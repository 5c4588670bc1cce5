"""The network of BEATs (Chen et al. 2022, arXiv 2212.09058) and OpenBEATs, from log-mel energies to tokens.

Shape legend: B batch, S samples, F frames of 10 ms, N tokens, D encoder size, E size of a patch's embedding, A heads.
A token is 16 frames by 16 of 128 mel bands; tokens are time-major, eight to a time step. The names of modules are
those of the published state dicts. A mask is True where something is real.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palprobe.errors import EncoderError

NUM_MELS = 128
PATCH = 16  # frames, and mel bands
BANDS = NUM_MELS // PATCH
GATE_SIZE = 4  # numbers that are added up to one gate


@dataclass(frozen=True)
class BeatsShape:
    """What decides the architecture, by its names in `cfg`; a default is the one for a name that is not there."""

    encoder_layers: int
    encoder_embed_dim: int
    encoder_ffn_embed_dim: int
    encoder_attention_heads: int
    embed_dim: int
    conv_bias: bool = False
    conv_pos: int = 128
    conv_pos_groups: int = 16
    relative_position_embedding: bool = False
    num_buckets: int = 320
    max_distance: int = 1280
    gru_rel_pos: bool = False
    deep_norm: bool = False
    layer_norm_first: bool = False
    finetuned_model: bool = False
    predictor_class: int = 527


class PositionConv(nn.Module):
    """A grouped convolution over tokens whose weight is g v / |v|, with one length g for each kernel tap."""

    def __init__(self, shape: BeatsShape) -> None:
        super().__init__()
        width, taps = shape.encoder_embed_dim, shape.conv_pos
        plain = nn.Conv1d(width, width, taps, groups=shape.conv_pos_groups)  # for its initial values
        self.groups = shape.conv_pos_groups
        self.bias = plain.bias
        self.weight_g = nn.Parameter(_tap_lengths(plain.weight.detach()))
        self.weight_v = nn.Parameter(plain.weight.detach())

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        taps = self.weight_v.shape[-1]
        weight = self.weight_v * (self.weight_g / _tap_lengths(self.weight_v))  # (D, D / groups, taps)
        moved = F.conv1d(tokens.transpose(1, 2), weight, self.bias, padding=taps // 2, groups=self.groups)
        output: Tensor = moved[..., : tokens.shape[1]].transpose(1, 2)  # an even kernel gives one step too many
        return output


def _tap_lengths(weight: Tensor) -> Tensor:
    """(D, D / groups, taps) → (1, 1, taps)."""
    return weight.square().sum(dim=(0, 1), keepdim=True).sqrt()


class Attention(nn.Module):
    """Multi-head self-attention with a position bias, which each query can gate."""

    def __init__(self, shape: BeatsShape, relative_attention_bias: nn.Embedding | None) -> None:
        super().__init__()
        width, self.num_heads = shape.encoder_embed_dim, shape.encoder_attention_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.relative_attention_bias = relative_attention_bias  # one for all layers, in the state dict of each
        self.has_gate = shape.gru_rel_pos
        if self.has_gate:
            self.grep_linear = nn.Linear(width // self.num_heads, 2 * GATE_SIZE)
            self.grep_a = nn.Parameter(torch.ones(1, self.num_heads, 1, 1))

    def forward(self, tokens: Tensor, bias: Tensor | None, mask: Tensor | None) -> Tensor:
        """(B, N, D), the bias (1, A, N, N) and the mask (B, N) → (B, N, D)."""
        query, key, value = (
            project(tokens).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )  # (B, A, N, D / A) each
        if bias is not None and self.has_gate:
            bias = bias * self.gate(query)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=_with_mask(bias, mask))
        output: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return output

    def gate(self, query: Tensor) -> Tensor:
        """The factor of each row of the bias, from queries before their scaling: (B, A, N, D / A) → (B, A, N, 1)."""
        sums = self.grep_linear(query).unflatten(-1, (2, GATE_SIZE)).sum(-1)  # (B, A, N, 2)
        update, reset = sums.sigmoid().chunk(2, dim=-1)
        factor: Tensor = update * (reset * self.grep_a - 1) + 2
        return factor


def _with_mask(bias: Tensor | None, mask: Tensor | None) -> Tensor | None:
    if mask is None:
        return bias
    keys = mask[:, None, None]  # (B, 1, 1, N)
    return keys if bias is None else bias.masked_fill(~keys, -math.inf)


class Layer(nn.Module):
    """A transformer block: normalised after each sum, whose old part deep_norm weighs up, or before each part."""

    def __init__(self, shape: BeatsShape, relative_attention_bias: nn.Embedding | None) -> None:
        super().__init__()
        width = shape.encoder_embed_dim
        self.norm_first = shape.layer_norm_first
        self.alpha = (2 * shape.encoder_layers) ** 0.25 if shape.deep_norm else 1.0
        self.self_attn = Attention(shape, relative_attention_bias)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, shape.encoder_ffn_embed_dim)
        self.fc2 = nn.Linear(shape.encoder_ffn_embed_dim, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, bias: Tensor | None, mask: Tensor | None) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        if self.norm_first:
            tokens = tokens + self.self_attn(self.self_attn_layer_norm(tokens), bias, mask)
            return tokens + self._feed_forward(self.final_layer_norm(tokens))
        tokens = self.self_attn_layer_norm(self.alpha * tokens + self.self_attn(tokens, bias, mask))
        output: Tensor = self.final_layer_norm(self.alpha * tokens + self._feed_forward(tokens))
        return output

    def _feed_forward(self, tokens: Tensor) -> Tensor:
        output: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return output


class Transformer(nn.Module):
    """Convolutional positions and the blocks, which share one table of relative positions."""

    def __init__(self, shape: BeatsShape) -> None:
        super().__init__()
        self.shape = shape
        table = None
        if shape.relative_position_embedding:
            table = nn.Embedding(shape.num_buckets, shape.encoder_attention_heads)
        self.pos_conv = nn.Sequential(PositionConv(shape))  # its weights are pos_conv.0
        self.layers = nn.ModuleList(Layer(shape, table) for _ in range(shape.encoder_layers))
        self.layer_norm = nn.LayerNorm(shape.encoder_embed_dim)

    def forward(self, tokens: Tensor, layers: Sequence[int], mask: Tensor | None) -> Tensor:
        """(B, N, D) → (layers, B, N, D); blocks after the last layer asked for are not run."""
        if mask is not None:
            tokens = tokens * mask[..., None]
        tokens = tokens + F.gelu(self.pos_conv(tokens))
        if not self.shape.layer_norm_first:
            tokens = self.layer_norm(tokens)
        table = cast(Layer, self.layers[0]).self_attn.relative_attention_bias
        bias = None if table is None else position_bias(table, tokens.shape[1], self.shape.max_distance)
        states = {0: tokens}
        for number, layer in enumerate(self.layers[: max(layers)], start=1):
            tokens = layer(tokens, bias, mask)
            if number in layers:
                states[number] = tokens
        if self.shape.layer_norm_first and len(self.layers) in states:
            states[len(self.layers)] = self.layer_norm(tokens)
        return torch.stack([states[number] for number in layers])


class BeatsModel(nn.Module):
    """The network; a fine-tuned one has a predictor, which features do not pass."""

    def __init__(self, shape: BeatsShape) -> None:
        super().__init__()
        width = shape.encoder_embed_dim
        self.patch_embedding = nn.Conv2d(1, shape.embed_dim, PATCH, stride=PATCH, bias=shape.conv_bias)
        self.layer_norm = nn.LayerNorm(shape.embed_dim)
        self.post_extract_proj = nn.Linear(shape.embed_dim, width) if shape.embed_dim != width else None
        self.encoder = Transformer(shape)
        if shape.finetuned_model:
            self.predictor = nn.Linear(width, shape.predictor_class)

    def embed(self, fbank: Tensor) -> Tensor:
        """(B, F, 128) → (B, N, E), N = (F // 16) 8: frames beyond the last whole patch are left out."""
        patches = self.patch_embedding(fbank[:, None]).flatten(2).transpose(1, 2)  # (B, N, E)
        output: Tensor = self.layer_norm(patches)
        return output

    def forward(self, fbank: Tensor, layers: Sequence[int], mask: Tensor | None = None) -> Tensor:
        """Hidden states: 0 is what enters the first block, i what leaves block i, the last one normalised.

        Args:
            fbank: (B, F, 128) normalised log-mel energies.
            layers: numbers from 0 to encoder_layers.
            mask: (B, N) bool, as `token_mask` gives it; None if there is no padding. Padded tokens are not attended
                to and do not reach the convolution; what stands in their own place in the output means nothing.

        Returns:
            (layers, B, N, D).

        Raises:
            EncoderError: a clip of the batch is nothing but padding.
        """
        if mask is not None and not mask.any(dim=1).all():
            raise EncoderError("A clip of the batch is nothing but padding. Expected a real token in each; drop it.")
        tokens = self.embed(fbank)
        if self.post_extract_proj is not None:
            tokens = self.post_extract_proj(tokens)  # (B, N, D)
        states: Tensor = self.encoder(tokens, layers, mask)
        return states


def token_mask(mask: Tensor, num_frames: int) -> Tensor:
    """The mask of tokens from that of samples, by way of that of frames: (B, S) → (B, N).

    The official rule, which ignores where frames begin: 1.7 s in a batch of 10 s keep 85 tokens, though 80 alone.
    """
    return _group(_group(mask, num_frames), num_frames // PATCH * BANDS)


def _group(mask: Tensor, number: int) -> Tensor:
    """(B, length) → (B, number): groups of equal length, the rest dropped; real if anything in the group is."""
    length = mask.shape[1]
    groups = mask[:, : length - length % number].reshape(len(mask), number, -1)
    return groups.any(dim=2)


def position_bias(table: nn.Embedding, num_tokens: int, max_distance: int) -> Tensor:
    """(1, A, N, N), query by key; each distance is looked up once."""
    distances = torch.arange(1 - num_tokens, num_tokens, device=table.weight.device)
    values = table(buckets(distances, table.num_embeddings, max_distance)).T  # (A, 2 N - 1)
    index = torch.arange(num_tokens, device=table.weight.device)
    bias: Tensor = values[:, index - index[:, None] + num_tokens - 1]
    return bias[None]


def buckets(distances: Tensor, num_buckets: int, max_distance: int) -> Tensor:
    """Row of the table for each distance key - query, as in T5 (Raffel et al. 2020, arXiv 1910.10683).

    Half of the rows are for keys after the query. In each half, the first half has a row for each distance; the rest
    covers distances up to `max_distance` in logarithmic steps, and its last row all that are beyond.
    """
    side = num_buckets // 2
    exact = side // 2
    distance = distances.abs()
    steps = (distance.clamp(min=exact).float() / exact).log() / math.log(max_distance / exact) * (side - exact)
    far = (exact + steps.long()).clamp(max=side - 1)
    return torch.where(distance < exact, distance, far) + side * (distances > 0)
