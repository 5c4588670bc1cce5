"""encoders/hf: every family against transformers itself, on tiny models saved as the published ones are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hf_oracles import RATES, SECTION, clip, load, oracle, saved, tokens
from small_encoders import MODELS

from palprobe.encoders.hf import HFEncoder
from palprobe.encoders.windows import encode_clips
from palprobe.files import canonical_json
from palprobe.specs import parse_encoder

# Inner layers of the others have no common shape.
DEPTHS = {
    "wav2vec2": 3, "xls-r": 3, "mms": 3, "hubert": 3, "wavlm": 3, "data2vec": 3, "whisper": 3, "w2v-bert": 2,
    "parakeet": 2, "moonshine": 2, "ast": 2, "qwen2-audio": 2, "audio-flamingo-3": 2, "pe-audio": 2,
}  # fmt: skip
SPEECH = {"wav2vec2", "xls-r", "mms", "hubert", "wavlm", "data2vec", "whisper", "w2v-bert", "parakeet", "moonshine"}
STEPS_PER_SECOND = {
    "parakeet": 12.5, "moonshine": 16_000 / 384, "ast": 10, "clap": 3.2, "encodec": 75, "encodec 48khz": 150,
    "mimi": 12.5, "qwen2-audio": 25, "audio-flamingo-3": 25, "pe-audio": 25,
}  # fmt: skip


@pytest.mark.parametrize("seconds", [0.2, 0.85])
@pytest.mark.parametrize("name", MODELS)
def test_features_are_those_of_transformers(name: str, seconds: float) -> None:
    """All layers of the folder's encoder equal what the whole model in memory gives for the same clip."""
    made, _, _, encoder = saved(name)
    waveform = clip(seconds, encoder.sample_rate)
    expected = torch.stack(oracle(name, made, waveform.numpy()))
    torch.testing.assert_close(tokens(encoder, waveform), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", MODELS)
def test_facts_of_each_family(name: str) -> None:
    """Sample rate, time steps, depth, bands and kind are those of the family's paper and model card."""
    encoder, base = saved(name).encoder, name.split()[0]
    assert encoder.sample_rate == RATES.get(name, RATES.get(base, 16_000))
    assert encoder.frame_rate == pytest.approx(STEPS_PER_SECOND.get(name, STEPS_PER_SECOND.get(base, 50)))
    assert encoder.depth == DEPTHS.get(base, 0)
    assert encoder.bands == {"ast": 12, "clap": 2}.get(base, 1)
    assert encoder.kind == ("speech" if base in SPEECH else "general")


@pytest.mark.parametrize("name", MODELS)
def test_depth_is_known_without_weights(name: str) -> None:
    """`depth_of` tells the encoder's depth for the folder, and for the default size that is published."""
    _, _, spec, encoder = saved(name)
    assert HFEncoder.depth_of(parse_encoder(spec), SECTION) == encoder.depth
    assert bool(HFEncoder.depth_of(parse_encoder(f"random:{name.split()[0]}"), SECTION)) == bool(encoder.depth)


@pytest.mark.parametrize("name", MODELS)
def test_alone_equals_in_batch_and_again(name: str) -> None:
    """Bit for bit: alone, in a batch of other lengths, a second time, after loading anew, and one layer of all."""
    _, _, spec, encoder = saved(name)
    waveforms = [clip(seconds, encoder.sample_rate, seed) for seed, seconds in enumerate((0.7, 0.2, 0.9))]
    alone = [tokens(encoder, waveform) for waveform in waveforms]
    together = encode_clips(encoder, waveforms, range(encoder.depth + 1))
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other.features.values)
    assert torch.equal(alone[0], tokens(load(spec), waveforms[0]))
    assert torch.equal(alone[0][-1:], encode_clips(encoder, waveforms[:1], [encoder.depth])[0].features.values)


@pytest.mark.parametrize("name", MODELS)
def test_last_tenth_matters(name: str) -> None:
    """Other, loud samples in the last tenth of a clip change its last tokens: no tail is dropped."""
    encoder = saved(name).encoder
    waveform = clip(2.0, encoder.sample_rate)
    changed = waveform.clone()
    changed[-len(waveform) // 10 :] = 10 * clip(0.2, encoder.sample_rate, 7)
    before, after = tokens(encoder, waveform)[-1], tokens(encoder, changed)[-1]
    assert before.shape == after.shape
    assert not torch.allclose(before[-encoder.bands :], after[-encoder.bands :], atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_silence_is_encoded(name: str) -> None:
    """Digital silence gives finite numbers in all layers."""
    encoder = saved(name).encoder
    assert tokens(encoder, torch.zeros(encoder.sample_rate)).isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_others_random_numbers_are_left_alone(name: str) -> None:
    """Identity (the same each time), loading and encoding leave the generators of torch and numpy where they were."""
    spec = parse_encoder(saved(name).spec)
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()
    first = canonical_json(HFEncoder.identify(spec, SECTION))
    assert canonical_json(HFEncoder.identify(spec, SECTION)) == first
    encoder = HFEncoder.load(spec, SECTION, device="cpu")
    tokens(encoder, clip(0.2, encoder.sample_rate))
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


@pytest.mark.parametrize("name", ["ast", "clap"])
@pytest.mark.parametrize("second", [1.0, 4.5, 8.0])
def test_patches_are_ordered_by_time(name: str, second: float) -> None:
    """A click in ten seconds of faint noise changes the tokens of its own time step most: that axis is time."""
    encoder = saved(name).encoder
    waveform = 0.01 * clip(10.0, encoder.sample_rate)
    changed = waveform.clone()
    start = round(second * encoder.sample_rate)
    changed[start : start + encoder.sample_rate // 20] += clip(0.05, encoder.sample_rate, 1)
    difference = (tokens(encoder, changed) - tokens(encoder, waveform))[-1].norm(dim=1)  # (T,)
    by_step = difference.reshape(-1, encoder.bands).sum(dim=1)
    assert abs(int(by_step.argmax()) - math.floor(second * encoder.frame_rate)) <= 1


@pytest.mark.parametrize("name", ["ast", "clap"])
def test_bands_are_ordered_from_low_to_high(name: str) -> None:
    """A low tone changes the lower of the bands of each step most, a high one the upper: that axis is frequency."""
    encoder = saved(name).encoder
    quiet = 0.001 * clip(10.0, encoder.sample_rate)
    times = torch.arange(len(quiet)) / encoder.sample_rate
    changes = [
        (tokens(encoder, quiet + 0.3 * torch.sin(2 * math.pi * hertz * times)) - tokens(encoder, quiet))[-1]
        for hertz in (60.0, 7000.0)
    ]
    low, high = (change.norm(dim=1).reshape(-1, encoder.bands).mean(dim=0) for change in changes)  # (bands,)
    assert int((low / high).argmax()) < encoder.bands / 2
    assert int((high / low).argmax()) >= encoder.bands / 2
