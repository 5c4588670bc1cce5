"""encoders/beats_model: the network against plain loops in float64, in all its variants, and batches with padding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from palprobe.encoders.beats import BASE
from palprobe.encoders.beats_model import Attention, BeatsModel, BeatsShape, buckets, position_bias, token_mask
from palprobe.errors import EncoderError

FLOAT32 = 1e-5  # absolute, against float64; seen: 3e-6


def slow_bucket(distance: int, num_buckets: int, max_distance: int) -> int:
    """One distance at a time, in float64."""
    side = num_buckets // 2
    exact = side // 2
    row = abs(distance)
    if row >= exact:
        row = min(exact + math.floor(math.log(row / exact) / math.log(max_distance / exact) * (side - exact)), side - 1)
    return row + (side if distance > 0 else 0)


@pytest.mark.parametrize(("num_buckets", "max_distance"), [(320, 800), (32, 100), (4, 7)])
def test_buckets(num_buckets: int, max_distance: int) -> None:
    """Every distance up to twice the largest, before and after the query, equals the formula one by one."""
    distances = range(-2 * max_distance, 2 * max_distance + 1)
    found = buckets(torch.tensor(list(distances)), num_buckets, max_distance)
    assert found.tolist() == [slow_bucket(distance, num_buckets, max_distance) for distance in distances]


def test_buckets_by_hand() -> None:
    """Of 320 rows up to 800: 79 is exact, 80 the first step, 253 = 80 sqrt(10) half of the steps, 800 the last row."""
    found = buckets(torch.tensor([0, -79, -80, -253, -799, -800, -5000, 1, 80, 800]), 320, 800)
    assert found.tolist() == [0, 79, 80, 120, 159, 159, 159, 161, 240, 319]


def test_position_bias_is_of_key_minus_query() -> None:
    """Row is the query, column the key: the bias of query 1 and key 3 is the row of distance +2."""
    table = torch.nn.Embedding(32, 2)
    found = position_bias(table, 5, 100)
    for query in range(5):
        for key in range(5):
            row = table.weight[slow_bucket(key - query, 32, 100)]
            assert torch.equal(found[0, :, query, key], row)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def slow_gate(query: np.ndarray, weight: np.ndarray, bias: np.ndarray, grep: float) -> float:
    """The factor of one query of one head."""
    eight = [sum(w * q for w, q in zip(row, query, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
    update, reset = sigmoid(sum(eight[:4])), sigmoid(sum(eight[4:]))
    return update * (reset * grep - 1) + 2


SMALL = BeatsShape(
    2, 16, 24, 2, 12, conv_pos=6, conv_pos_groups=4, relative_position_embedding=True, num_buckets=12, max_distance=9,
    gru_rel_pos=True, deep_norm=True,
)  # fmt: skip


def small_model(shape: BeatsShape) -> BeatsModel:
    """With weights of which none is trivial."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = BeatsModel(shape).eval().requires_grad_(False)
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model


def test_gate() -> None:
    """The factor of every query and head equals the formula number by number."""
    attention = small_model(SMALL).encoder.layers[1].self_attn
    assert isinstance(attention, Attention)
    query = torch.randn(2, 2, 5, 8, generator=torch.Generator().manual_seed(0))  # (B, A, N, D / A)
    found = attention.gate(query)
    weight, bias = attention.grep_linear.weight.numpy(), attention.grep_linear.bias.numpy()
    for clip in range(2):
        for head in range(2):
            for token in range(5):
                wanted = slow_gate(query[clip, head, token].numpy(), weight, bias, float(attention.grep_a[0, head]))
                assert float(found[clip, head, token]) == pytest.approx(wanted, abs=1e-5)


Weights = Mapping[str, np.ndarray]


def slow_linear(rows: np.ndarray, state: Weights, name: str) -> np.ndarray:
    return rows @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def slow_norm(rows: np.ndarray, state: Weights, name: str) -> np.ndarray:
    normalised = [(row - row.mean()) / math.sqrt(row.var() + 1e-5) for row in rows]
    return np.stack(normalised) * state[f"{name}.weight"] + state[f"{name}.bias"]


def slow_gelu(values: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))))(values)


def slow_position_conv(tokens: np.ndarray, state: Weights, groups: int) -> np.ndarray:
    """Output by output and tap by tap: tokens before the first and after the last are zero."""
    v, g = state["encoder.pos_conv.0.weight_v"], state["encoder.pos_conv.0.weight_g"]
    width, per_group, taps = v.shape
    weight = np.stack([v[:, :, tap] * g[0, 0, tap] / math.sqrt((v[:, :, tap] ** 2).sum()) for tap in range(taps)], 2)
    output = np.tile(state["encoder.pos_conv.0.bias"], (len(tokens), 1))
    for at in range(len(tokens)):
        for channel in range(width):
            first = channel // (width // groups) * per_group
            for tap in range(taps):
                other = at + tap - taps // 2
                if 0 <= other < len(tokens):
                    output[at, channel] += weight[channel, :, tap] @ tokens[other, first : first + per_group]
    return output


def slow_attention(tokens: np.ndarray, state: Weights, prefix: str, shape: BeatsShape, real: np.ndarray) -> np.ndarray:
    """Head by head, query by query, key by key."""
    query, key, value = (slow_linear(tokens, state, f"{prefix}.{name}_proj") for name in "qkv")
    size = shape.encoder_embed_dim // shape.encoder_attention_heads
    mixed = np.zeros_like(tokens)
    for head in range(shape.encoder_attention_heads):
        part = slice(head * size, (head + 1) * size)
        for row in range(len(tokens)):
            factor = 1.0
            if shape.gru_rel_pos:
                gate = [state[f"{prefix}.grep_linear.{kind}"] for kind in ("weight", "bias")]
                factor = slow_gate(query[row, part], *gate, state[f"{prefix}.grep_a"][0, head, 0, 0])
            weights = np.zeros(len(tokens))
            for other in np.flatnonzero(real):
                logit = query[row, part] @ key[other, part] / math.sqrt(size)
                if shape.relative_position_embedding:
                    bucket = slow_bucket(other - row, shape.num_buckets, shape.max_distance)
                    logit += factor * state[f"{prefix}.relative_attention_bias.weight"][bucket, head]
                weights[other] = math.exp(logit)
            mixed[row, part] = weights / weights.sum() @ value[:, part]
    return slow_linear(mixed, state, f"{prefix}.out_proj")


def slow_block(tokens: np.ndarray, state: Weights, number: int, shape: BeatsShape, real: np.ndarray) -> np.ndarray:
    name = f"encoder.layers.{number}"

    def feed_forward(rows: np.ndarray) -> np.ndarray:
        return slow_linear(slow_gelu(slow_linear(rows, state, f"{name}.fc1")), state, f"{name}.fc2")

    if shape.layer_norm_first:
        normalised = slow_norm(tokens, state, f"{name}.self_attn_layer_norm")
        tokens = tokens + slow_attention(normalised, state, f"{name}.self_attn", shape, real)
        return tokens + feed_forward(slow_norm(tokens, state, f"{name}.final_layer_norm"))
    alpha = (2 * shape.encoder_layers) ** 0.25 if shape.deep_norm else 1
    tokens = alpha * tokens + slow_attention(tokens, state, f"{name}.self_attn", shape, real)
    tokens = slow_norm(tokens, state, f"{name}.self_attn_layer_norm")
    return slow_norm(alpha * tokens + feed_forward(tokens), state, f"{name}.final_layer_norm")


def slow_patches(fbank: np.ndarray, state: Weights) -> np.ndarray:
    """Time step by time step and band by band: (F, 128) → (N, E)."""
    weight = state["patch_embedding.weight"][:, 0]  # (E, 16, 16)
    bias = state.get("patch_embedding.bias", np.zeros(len(weight)))
    steps = [fbank[at : at + 16] for at in range(0, len(fbank) - 15, 16)]
    tokens = [(weight * step[:, 16 * b : 16 * b + 16]).sum(axis=(1, 2)) + bias for step in steps for b in range(8)]
    return slow_norm(np.stack(tokens), state, "layer_norm")


def slow_states(fbank: Tensor, model: BeatsModel, shape: BeatsShape, real: np.ndarray) -> list[np.ndarray]:
    """The whole network in float64: (N, D) for each layer."""
    state = {key: value.numpy().astype(np.float64) for key, value in model.state_dict().items()}
    tokens = slow_patches(fbank.numpy().astype(np.float64), state)
    if shape.embed_dim != shape.encoder_embed_dim:
        tokens = slow_linear(tokens, state, "post_extract_proj")
    tokens = tokens * real[:, None]
    tokens = tokens + slow_gelu(slow_position_conv(tokens, state, shape.conv_pos_groups))
    if not shape.layer_norm_first:
        tokens = slow_norm(tokens, state, "encoder.layer_norm")
    states = [tokens]
    for number in range(shape.encoder_layers):
        states.append(slow_block(states[-1], state, number, shape, real))
    if shape.layer_norm_first:
        states[-1] = slow_norm(states[-1], state, "encoder.layer_norm")
    return states


VARIANTS: dict[str, BeatsShape] = {
    "official": SMALL,
    "pre-norm": replace(SMALL, layer_norm_first=True),
    "pre-norm without deep norm": replace(SMALL, layer_norm_first=True, deep_norm=False),
    "no deep norm": replace(SMALL, deep_norm=False),
    "no gate": replace(SMALL, gru_rel_pos=False),
    "no position bias": replace(SMALL, relative_position_embedding=False, gru_rel_pos=False),
    "odd convolution": replace(SMALL, conv_pos=5),
    "long convolution": replace(SMALL, conv_pos=64),  # longer than the clip
    "biased patches": replace(SMALL, conv_bias=True),
    "same width": replace(SMALL, embed_dim=16),
    "fine-tuned": replace(SMALL, finetuned_model=True, predictor_class=3),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_network_equals_plain_loops(variant: str) -> None:
    """All hidden states of 36 frames, two time steps and a rest, computed one number at a time."""
    shape = VARIANTS[variant]
    model, fbank = small_model(shape), torch.randn(36, 128, generator=torch.Generator().manual_seed(1))
    wanted = np.stack(slow_states(fbank, model, shape, np.ones(16)))
    np.testing.assert_allclose(model(fbank[None], [0, 1, 2])[:, 0].numpy(), wanted, atol=FLOAT32)
    names = set(model.state_dict())
    assert ("post_extract_proj.weight" in names) == (shape.embed_dim != shape.encoder_embed_dim)
    assert ("predictor.bias" in names) == shape.finetuned_model


def test_base_model_has_the_published_number_of_weights() -> None:
    """250 tensors of 90.3 million numbers, the table of positions repeated under every layer."""
    with torch.device("meta"):
        model = BeatsModel(BASE)
    assert len(model.state_dict()) == 250
    assert sum(weight.numel() for weight in model.parameters()) == pytest.approx(90.3e6, rel=1e-3)
    tables = {f"encoder.layers.{n}.self_attn.relative_attention_bias.weight": (320, 12) for n in range(12)}
    assert {key: tuple(value.shape) for key, value in model.state_dict().items() if key in tables} == tables


# --- batches with padding ---


def samples_mask(*lengths: int) -> Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def test_mask_of_tokens_follows_the_official_rule() -> None:
    """1.7 s in a batch of 10 s keep 85 tokens, the first ones, where the clip alone has 80; one sample more, 86.

    998 frames are groups of 160 samples, and 496 tokens groups of two frames; a group is real if any part of it is.
    """
    mask = token_mask(samples_mask(160_000, 27_200, 27_201), 998)
    assert mask.shape == (3, 496)
    assert mask.sum(dim=1).tolist() == [496, 85, 86]
    assert mask[1, :85].all()


def test_masked_batch_equals_plain_loops() -> None:
    """Padded tokens are zero before the convolution and get no attention, whatever the padding holds."""
    model, fbank = small_model(SMALL), torch.randn(2, 32, 128, generator=torch.Generator().manual_seed(2))
    mask = torch.arange(16) < torch.tensor([[16], [9]])
    wanted = [np.stack(slow_states(clip, model, SMALL, real.numpy())) for clip, real in zip(fbank, mask, strict=True)]
    found = model(fbank, [0, 1, 2], mask)
    np.testing.assert_allclose(found.numpy(), np.stack(wanted, axis=1), atol=FLOAT32)
    fbank[1, 16:, 16:] = 7.0  # tokens 9 to 15
    torch.testing.assert_close(model(fbank, [2], mask)[0, 1, :9], found[2, 1, :9], rtol=0, atol=1e-6)


def test_mask_without_position_bias() -> None:
    """Keys are masked where there is no bias to add to, too."""
    shape = VARIANTS["no position bias"]
    model, fbank = small_model(shape), torch.randn(32, 128, generator=torch.Generator().manual_seed(2))
    mask = torch.arange(16) < 5
    wanted = np.stack(slow_states(fbank, model, shape, mask.numpy()))
    np.testing.assert_allclose(model(fbank[None], [0, 1, 2], mask[None])[:, 0].numpy(), wanted, atol=FLOAT32)


def test_clip_of_padding_alone_is_refused() -> None:
    """There is nothing to attend to: an error, not a row of NaN."""
    with pytest.raises(EncoderError, match="nothing but padding"):
        small_model(SMALL)(torch.zeros(2, 16, 128), [2], torch.arange(8) < torch.tensor([[8], [0]]))
