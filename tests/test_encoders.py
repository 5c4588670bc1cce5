"""encoders: one contract for every name and for a user's file, each front end against an oracle, and the messages."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from palprobe.encoders import ENCODERS, identify, load_encoder
from palprobe.encoders.hf.families import FAMILIES
from palprobe.encoders.windows import encode_clips
from palprobe.errors import EncoderError, UnknownNameError, UsageError
from palprobe.files import canonical_json
from palprobe.recipe import EncoderSection
from palprobe.specs import parse_encoder
from palprobe.types import Encoder

SECTION = EncoderSection(untrained_window_seconds=2.0)
USER_FILE = """
import torch
from torch import nn

class Envelope(nn.Module):
    sample_rate, frame_rate, dim, max_seconds = 8_000, 20.0, 6, 5.0

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(400, 6)

    def forward(self, waveform):
        return self.map(waveform[: len(waveform) // 400 * 400].reshape(-1, 400))
"""


def tiny_whisper(folder: Path, positions: int = 100) -> Any:
    """A Whisper with random weights and a window of `positions` tokens, saved as the hub's folders are."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(
        d_model=32, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=64, max_source_positions=positions,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=64, vocab_size=100, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = WhisperForConditionalGeneration(config)
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="session")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    tiny_whisper(folder)
    return folder


@pytest.fixture(scope="session")
def user_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("user") / "envelope.py"
    path.write_text(USER_FILE)
    return path


FIXTURES = Path(__file__).parent / "fixtures"
BEATS, EAT, DASHENG = (
    FIXTURES / "beats" / "BEATs_small.pt",
    FIXTURES / "eat" / "hf_pretrain",
    FIXTURES / "dasheng" / "hf",
)
SPECS = {
    "logmel": "logmel",
    "logmel-patches": "logmel-patches",
    "mfcc": "mfcc",
    "beats": f"beats={BEATS}",
    "openbeats": f"random:openbeats={BEATS}",
    "eat": f"eat={EAT}",
    "sslam": f"random:sslam={EAT}",
    "dasheng": f"dasheng={DASHENG}",
    "whisper": "random:whisper:tiny",
    "local whisper": "whisper={whisper}",
    "user": "{user}:Envelope",
}


@pytest.fixture(scope="session", params=SPECS)
def spec_text(request: pytest.FixtureRequest, whisper_folder: Path, user_file: Path) -> str:
    return SPECS[request.param].format(whisper=whisper_folder, user=user_file)


@pytest.fixture(scope="session")
def encoder(spec_text: str) -> Encoder:
    return load_encoder(parse_encoder(spec_text), SECTION)


def clip(seconds: float, rate: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(round(seconds * rate), generator=generator)


def features(encoder: Encoder, waveform: Tensor) -> Tensor:
    """(T, D) of the last layer."""
    return encode_clips(encoder, [waveform], [encoder.depth])[0].features.values[0]


def test_every_registered_encoder_is_under_contract() -> None:
    """A newly registered name must be added to the list above, or to that of the families of transformers."""
    names = {parse_encoder(text).name for text in SPECS.values()} | set(FAMILIES)
    assert names >= set(ENCODERS.parts) - {"hf", "imported"}  # these two stand for others


@pytest.mark.parametrize("seconds", [0.1, 0.2, 1.7, 7.0])
def test_length_follows_duration(encoder: Encoder, seconds: float) -> None:
    """T is duration x frame rate to within one token, D is `dim`; 7 s is longer than three of the windows."""
    waveform = clip(seconds, encoder.sample_rate)
    encoded = encode_clips(encoder, [waveform], [encoder.depth])[0]
    num_layers, num_tokens, dim = encoded.features.values.shape
    assert (num_layers, dim) == (1, encoder.dim)
    assert abs(num_tokens / encoder.bands - max(seconds * encoder.frame_rate, 1)) < 1
    assert encoded.features.frame_rate == encoder.frame_rate
    assert encoded.features.values.dtype == torch.float32
    assert encoded.padded == (len(waveform) < encoder.min_samples)


def test_layers_come_from_one_pass(encoder: Encoder) -> None:
    """All layers at once are those asked for one by one, the last is the encoder's output, and they differ."""
    waveform = clip(0.5, encoder.sample_rate)
    layers = range(encoder.depth + 1)
    together = encode_clips(encoder, [waveform], layers)[0].features.values
    assert torch.equal(together[-1], features(encoder, waveform))
    for layer in layers:
        alone = encode_clips(encoder, [waveform], [layer])[0].features.values
        assert torch.equal(alone[0], together[layer])
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(together))


def test_features_can_be_trained_on(encoder: Encoder) -> None:
    """What comes out is an ordinary tensor: a gradient flows to weights that multiply it."""
    weight = torch.zeros(encoder.dim, requires_grad=True)
    (features(encoder, clip(0.2, encoder.sample_rate)) @ weight).sum().backward()
    assert weight.grad is not None


def test_alone_equals_in_batch_and_again(encoder: Encoder, spec_text: str) -> None:
    """Bit for bit: alone, in a batch of other lengths, a second time, and after loading anew."""
    waveforms = [clip(seconds, encoder.sample_rate, seed) for seed, seconds in enumerate((1.7, 0.2, 2.9))]
    alone = [features(encoder, waveform) for waveform in waveforms]
    together = [encoded.features.values[0] for encoded in encode_clips(encoder, waveforms, [encoder.depth])]
    anew = load_encoder(parse_encoder(spec_text), SECTION)
    for waveform, one, other in zip(waveforms, alone, together, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, features(anew, waveform))


def test_last_tenth_matters(encoder: Encoder) -> None:
    """Other samples in the last tenth of a clip change its last token: no tail is dropped."""
    waveform = clip(1.7, encoder.sample_rate)
    changed = waveform.clone()
    changed[-len(waveform) // 10 :] = clip(1.0, encoder.sample_rate, 7)[: math.ceil(len(waveform) / 10)]
    before, after = features(encoder, waveform), features(encoder, changed)
    assert before.shape == after.shape
    assert not torch.allclose(before[-1], after[-1], atol=1e-4)


def test_long_clip_is_its_windows_joined(encoder: Encoder) -> None:
    """A clip of two windows and a half has the tokens of its three pieces, encoded alone, in order."""
    if encoder.max_seconds is None:
        pytest.skip("takes clips of any length")
    size = round(encoder.max_seconds * encoder.sample_rate)
    waveform = clip(2.5 * encoder.max_seconds, encoder.sample_rate)
    pieces = [features(encoder, waveform[at : at + size]) for at in (0, size, 2 * size)]
    assert torch.equal(features(encoder, waveform), torch.cat(pieces))


def test_short_clip_is_padded_and_says_so(encoder: Encoder) -> None:
    """Ten samples become one token step of silence-padded audio; a clip of exactly the minimum is not padded."""
    short = clip(1.0, encoder.sample_rate)[:10]
    encoded = encode_clips(encoder, [short], [encoder.depth])[0]
    assert encoded.padded
    by_hand = torch.cat([short, torch.zeros(encoder.min_samples - 10)])
    assert torch.equal(encoded.features.values[0], features(encoder, by_hand))
    assert encoded.features.values.shape[1] == encoder.bands
    assert not encode_clips(encoder, [by_hand], [encoder.depth])[0].padded


def test_silence_is_encoded(encoder: Encoder) -> None:
    """Digital silence gives finite numbers."""
    assert features(encoder, torch.zeros(encoder.sample_rate)).isfinite().all()


def test_identity_is_json_and_repeats(spec_text: str) -> None:
    """The identity has one canonical JSON text, the same each time, and leaves the global random numbers alone."""
    spec = parse_encoder(spec_text)
    state = torch.random.get_rng_state()
    assert canonical_json(identify(spec, SECTION).fields) == canonical_json(identify(spec, SECTION).fields)
    load_encoder(spec, SECTION)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_identity_changes_with_what_decides_the_output(whisper_folder: Path, user_file: Path, tmp_path: Path) -> None:
    """Seed, window, size, layer, weights and the user's file each change it; how the last layer is written does not."""

    def identity(text: str, **section: float) -> str:
        found = identify(parse_encoder(text), EncoderSection(**section))
        return canonical_json([found.fields, found.layers])

    tiny_whisper(tmp_path / "other", positions=50)
    changed = tmp_path / "envelope.py"
    changed.write_text(USER_FILE + "# another\n")
    identities = [
        identity("logmel"),
        identity("mfcc"),
        identity("random:whisper:tiny"),
        identity("random:whisper:tiny@0"),
        identity("random:whisper:base"),
        identity("random:whisper:tiny", init_seed=1),
        identity("random:whisper:tiny", untrained_window_seconds=1),
        identity(f"whisper={whisper_folder}"),
        identity(f"whisper={tmp_path / 'other'}"),
        identity(f"{user_file}:Envelope"),
        identity(f"{changed}:Envelope"),
        identity(f"random:{user_file}:Envelope", init_seed=1),
    ]
    assert len(set(identities)) == len(identities)
    assert identity("random:whisper:tiny@4") == identity("random:whisper:tiny")
    assert identity("random1:whisper:tiny", init_seed=7) == identity("random:whisper:tiny", init_seed=1)
    assert identity("random0:whisper:tiny") == identity("random:whisper:tiny")
    assert identity(f"random1:{user_file}:Envelope") == identity(f"random:{user_file}:Envelope", init_seed=1)


def test_each_control_has_the_weights_of_its_own_seed() -> None:
    """random1: gives the numbers that init seed 1 gives, whatever the recipe's seed is, and no others."""
    waveform = torch.from_numpy(np.random.default_rng(0).normal(size=16_000).astype(np.float32))

    def numbers(text: str, seed: int) -> Tensor:
        encoder = load_encoder(parse_encoder(text), EncoderSection(init_seed=seed, untrained_window_seconds=1))
        return encoder.encode([waveform], [4])[0]

    assert torch.equal(numbers("random1:whisper:tiny", 5), numbers("random:whisper:tiny", 1))
    assert not torch.allclose(numbers("random2:whisper:tiny", 1), numbers("random:whisper:tiny", 1), atol=0.1)


def mel_filters(num_mels: int, num_bins: int, rate: int) -> np.ndarray:
    """(bins, mels) HTK triangles, from the definition mel = 2595 log10(1 + f / 700)."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, num_mels + 2) / 2595) - 1)  # Hz
    hertz = np.linspace(0, rate / 2, num_bins)
    filters = np.zeros((num_bins, num_mels))
    for mel, (low, peak, high) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        filters[:, mel] = np.maximum(np.minimum((hertz - low) / (peak - low), (high - hertz) / (high - peak)), 0)
    return filters


def slow_logmel(waveform: np.ndarray, stack: int = 4) -> np.ndarray:
    """(10 ms frames, 64): 25 ms Hann windows centred on each 10 ms, 512 points, in float64; whole stacks of frames."""
    waveform = np.concatenate([waveform, np.zeros(-len(waveform) % (160 * stack))])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    padded = np.concatenate([np.zeros(120), waveform, np.zeros(120)])
    frames = [padded[at : at + 400] * window for at in range(0, len(waveform), 160)]
    power = np.abs(np.fft.rfft(frames, n=512)) ** 2  # a shift inside the 512 points changes phases only
    return np.log(power @ mel_filters(64, 257, 16_000) + 1e-6)


def side_by_side(frames: np.ndarray) -> np.ndarray:
    """(4 T, C) → (T, 4 C) with the four instants of each number next to each other."""
    return np.stack([frames[number::4] for number in range(4)], axis=2).reshape(len(frames) // 4, -1)


def test_logmel_equals_a_plain_computation() -> None:
    """Four frames of log-mel energies in each token, as numpy's FFT gives them, and beside each band its change."""
    waveform = clip(1.234, 16_000)
    found = features(load_encoder(parse_encoder("logmel"), SECTION), waveform).numpy().reshape(-1, 64, 2, 4)
    energies = side_by_side(slow_logmel(waveform.numpy().astype(np.float64))).reshape(-1, 64, 4)
    np.testing.assert_allclose(found[:, :, 0], energies, atol=1e-3)  # float32 against float64
    np.testing.assert_allclose(found[:, :, 1], np.diff(energies, axis=0, prepend=energies[:1]), atol=2e-3)


def test_patches_are_the_same_energies_cut_another_way() -> None:
    """Each token is 16 frames of 16 bands, time-major, low bands first, with its change since the patch before."""
    waveform = clip(1.234, 16_000)
    found = features(load_encoder(parse_encoder("logmel-patches"), SECTION), waveform).numpy().reshape(-1, 16, 2, 16)
    energies = slow_logmel(waveform.numpy().astype(np.float64), stack=16)  # (10 ms frames, 64)
    assert len(found) == len(energies) // 16 * 4 == 32
    for number, token in enumerate(found):
        start, band = number // 4 * 16, number % 4 * 16
        patch = energies[start : start + 16, band : band + 16].T  # (bands, frames)
        before = energies[max(0, start - 16) : max(16, start), band : band + 16].T
        np.testing.assert_allclose(token[:, 0], patch, atol=1e-3)  # float32 against float64
        np.testing.assert_allclose(token[:, 1], patch - before, atol=2e-3)


def test_mfcc_equals_a_plain_computation() -> None:
    """scipy's orthonormal DCT of the log-mel energies, and deltas by the regression formula over five frames."""
    from scipy.fft import dct

    waveform = clip(1.234, 16_000)
    found = features(load_encoder(parse_encoder("mfcc"), SECTION), waveform)
    static = dct(slow_logmel(waveform.numpy().astype(np.float64)), norm="ortho", axis=1)[:, :20]

    first = _delta(static)
    expected = side_by_side(np.concatenate([static, first, _delta(first)], axis=1))
    np.testing.assert_allclose(found.numpy(), expected, atol=5e-3)  # float32 against float64


def _delta(values: np.ndarray) -> np.ndarray:
    """sum_k k (x[t + k] - x[t - k]) / (2 sum_k k^2) for k = 1, 2, with the ends repeated."""
    rows = np.arange(len(values))
    last = len(values) - 1
    at = [values[np.clip(rows + k, 0, last)] - values[np.clip(rows - k, 0, last)] for k in (1, 2)]
    return (at[0] + 2 * at[1]) / 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("logmell", "Did you mean 'logmel'?"),
        ("random:logmel", "logmel has no weights"),
        ("random:mfcc", "mfcc has no weights"),
        ("logmel@3", "no layers to choose from"),
        ("logmel:big", "logmel has no variants"),
        ("logmel=folder", "reads no folder"),
        ("random:whisper:smal", "Did you mean 'small'?"),
        ("random:whisper:tiny@5", "@0, input of the first block, to @4"),
        ("random:whisper:tiny@mean:3-9", "@0, input of the first block, to @4"),
        ("random:whisper:tiny@mean:3-1", "@0, input of the first block, to @4"),
        ("mfcc@weighted", "no layers to choose from"),
        ("no/such/file.py:Class", "there is no file 'no/such/file.py'"),
    ],
)
def test_a_spec_that_cannot_work_is_one_line(text: str, expected: str) -> None:
    """It is refused by its identity, before any work, with what to write instead."""
    with pytest.raises(UsageError) as caught:
        identify(parse_encoder(text), SECTION)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UnknownNameError) == ("No encoder is named" in str(caught.value))


@pytest.mark.parametrize(
    ("layer", "stores"),
    [
        ("", [(4,)]),
        ("@0", [(0,)]),
        ("@mean:1-3", [(1, 2, 3)]),
        ("@all", [(0,), (1,), (2,), (3,), (4,)]),
        ("@weighted", [(0,), (1,), (2,), (3,), (4,)]),
    ],
)
def test_layers_of_a_spec(layer: str, stores: list[tuple[int, ...]]) -> None:
    """Which stores a spec asks for, of an encoder of four blocks."""
    assert list(identify(parse_encoder(f"random:whisper:tiny{layer}"), SECTION).layers) == stores


def test_an_encoder_that_breaks_its_word_is_named() -> None:
    """encode_clips itself refuses a length other than num_tokens, and a number of outputs other than that of clips."""
    good = {"sample_rate": 10, "frame_rate": 1.0, "dim": 2, "bands": 1, "min_samples": 1, "max_seconds": None}
    wrong = SimpleNamespace(**good, name="mine", num_tokens=lambda n: n, encode=lambda w, _: [torch.zeros(1, 3, 2)])
    with pytest.raises(
        EncoderError, match=r"mine gave torch.float32 of shape \(1, 3, 2\) for 5 samples; .*\(1, 5, 2\)"
    ):
        encode_clips(wrong, [torch.zeros(5)], [0])
    with pytest.raises(EncoderError, match="mine gave 1 outputs for 2 waveforms"):
        encode_clips(wrong, [torch.zeros(3), torch.zeros(3)], [0])


def test_names_are_listed_without_torch() -> None:
    """Importing the registry loads neither torch nor transformers."""
    code = "import sys, palprobe.encoders; sys.exit(bool({'torch', 'transformers', 'torchaudio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
