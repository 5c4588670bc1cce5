"""encoders/hf: how many tokens a clip has, in every family, against the model's own masks and lengths."""

from __future__ import annotations

import pytest
from hf_oracles import clip, oracle, saved, tokens
from small_encoders import MODELS
from torch import Tensor

from palprobe.encoders.windows import encode_clips
from palprobe.types import Encoder

# Beside the steps of the front ends and convolutions, and up to the end of the shortest windows.
LENGTHS = (907, 955, 1280, 2400, 2401, 15_000, 15_001, 160_800, 161_500)


def pieces(encoder: Encoder, waveform: Tensor) -> list[Tensor]:
    assert encoder.max_seconds is not None
    size = round(encoder.max_seconds * encoder.sample_rate)
    return [waveform[at : at + size] for at in range(0, len(waveform), size)]


@pytest.mark.parametrize("seconds", [0.1, 0.2, 1.7, 10.0, 25.0])
@pytest.mark.parametrize("name", MODELS)
def test_valid_length_is_that_of_transformers(name: str, seconds: float) -> None:
    """As many tokens as each window's clip has by the model's own masks and lengths; no clip of 0.1 s is padded."""
    made, _, _, encoder = saved(name)
    waveform = clip(seconds, encoder.sample_rate)
    encoded = encode_clips(encoder, [waveform], [encoder.depth])[0]
    expected = sum(len(oracle(name, made, piece.numpy())[-1]) for piece in pieces(encoder, waveform))
    assert encoded.features.values.shape == (1, expected, encoder.dim)
    assert not encoded.padded


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_130_seconds_keep_the_rate(name: str) -> None:
    """A long clip comes in windows, each of which loses less than its first token's span and one step."""
    encoder = saved(name).encoder
    waveform = clip(130.0, encoder.sample_rate)
    num_tokens = encode_clips(encoder, [waveform], [encoder.depth])[0].features.values.shape[1]
    lost = 130.0 * encoder.frame_rate - num_tokens / encoder.bands
    span = encoder.min_samples / encoder.sample_rate * encoder.frame_rate
    assert -1 < lost < len(pieces(encoder, waveform)) * (span + 1)
    assert num_tokens == sum(encoder.num_tokens(len(piece)) for piece in pieces(encoder, waveform))


@pytest.mark.parametrize("name", MODELS)
def test_every_length_is_exact(name: str) -> None:
    """The number that is told before encoding is that of transformers; clips shorter than the shortest are padded."""
    made, _, _, encoder = saved(name)
    assert encoder.max_seconds is not None
    longest = round(encoder.max_seconds * encoder.sample_rate)
    sizes = {size for size in (encoder.min_samples, encoder.min_samples + 1, *LENGTHS) if size >= encoder.min_samples}
    for size in sorted(min(size, longest) for size in sizes):
        assert encoder.num_tokens(size) == len(oracle(name, made, clip(size, 1).numpy())[-1]), size


@pytest.mark.parametrize("name", MODELS)
def test_shortest_clip_is_the_shortest(name: str) -> None:
    """`min_samples` gives one time step, and noise of that length finite numbers."""
    encoder = saved(name).encoder
    found = tokens(encoder, clip(encoder.min_samples, 1))
    assert found.shape[1] == encoder.bands
    assert found.isfinite().all()
