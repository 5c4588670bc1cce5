"""encoders/dasheng: the official outputs, chunks, slow checks in plain loops, both layouts, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_eat import Harmful, check_block, close, edit_config, edit_state, noise, tear
from torch import Tensor

from palprobe.encoders import dasheng
from palprobe.encoders.dasheng import Dasheng
from palprobe.encoders.windows import encode_clips
from palprobe.errors import UsageError, WeightsError
from palprobe.files import canonical_json
from palprobe.recipe import EncoderSection
from palprobe.specs import parse_encoder

FIXTURES = Path(__file__).parent / "fixtures" / "dasheng"
FOLDER = FIXTURES / "hf"
SECTION = EncoderSection()
CHUNK = 1008  # frames


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    return load_file(FIXTURES / "expected.safetensors")


@pytest.fixture(scope="module")
def waves() -> dict[str, Tensor]:
    return {name: wave / 32768 for name, wave in load_file(FIXTURES / "waves_int16.safetensors").items()}


@pytest.fixture(scope="module")
def encoder() -> Dasheng:
    return load(f"dasheng={FOLDER}")


@pytest.fixture(scope="module")
def official() -> dict[str, Tensor]:
    """The fixture's state dict by the names on zenodo."""
    state = load_file(FOLDER / "model.safetensors")
    return {key.removeprefix("encoder."): value for key, value in state.items()}


def load(text: str, **section: Any) -> Dasheng:
    return Dasheng.load(parse_encoder(text), EncoderSection(**section), device="cpu")


# --- against the official implementation ---


def test_front_end(encoder: Dasheng, expected: Mapping[str, Tensor], waves: Mapping[str, Tensor]) -> None:
    """Mel spectrogram in dB, and after batch normalisation with the statistics of training."""
    decibels = dasheng.to_decibels(encoder._mels(waves["w1p7"]))
    close(decibels[None], expected["w1p7.melspec_db"])
    with torch.no_grad():
        close(encoder._model.init_bn(decibels[None])[None], expected["w1p7.after_bn"])


@pytest.mark.parametrize("name", ["w1p7", "w10"])
def test_features(encoder: Dasheng, expected: Mapping[str, Tensor], waves: Mapping[str, Tensor], name: str) -> None:
    """42 and 250 tokens after the final norm, through the rules for all encoders."""
    close(encode_clips(encoder, [waves[name]], [2])[0].features.values, expected[f"{name}.features"])


# --- against plain loops ---


def test_block_equals_plain_loops(official: Mapping[str, Tensor]) -> None:
    """Attention and feed-forward of normalised tokens, added to the tokens, computed one number at a time."""
    prefix = "blocks.1."
    check_block({k.removeprefix(prefix): v for k, v in official.items() if k.startswith(prefix)}, norm_first=True)


def test_first_and_last_layer(encoder: Dasheng, official: Mapping[str, Tensor]) -> None:
    """Layer 0 is each 40 ms slice times the patch weights plus both positions; the last layer is normalised."""
    decibels = dasheng.to_decibels(encoder._mels(noise(0.5)))  # (64, 51)
    names = ("running_mean", "running_var", "weight", "bias")
    mean, variance, scale, shift = (official[f"init_bn.1.{name}"].double().numpy()[:, None] for name in names)
    mels = (decibels.double().numpy() - mean) / np.sqrt(variance + 1e-5) * scale + shift
    weight = official["patch_embed.proj.weight"].double().numpy()[:, 0]  # (64, 64, 4)
    slow = np.zeros((12, 64))
    for token in range(12):
        for number in range(64):
            slow[token, number] = (weight[number] * mels[:, 4 * token : 4 * token + 4]).sum()
            slow[token, number] += official["patch_embed.proj.bias"][number]
            slow[token, number] += official["time_pos_embed"][0, number, 0, token]
            slow[token, number] += official["freq_pos_embed"][0, number, 0, 0]
    first, last = encoder.encode([noise(0.5)], [0, 2])[0]
    np.testing.assert_allclose(first.numpy(), slow, atol=1e-4)  # float32 against float64, numbers up to 10
    plain = (last - official["norm.bias"]) / official["norm.weight"]
    close(plain.mean(dim=1), torch.zeros(12))
    close(plain.var(dim=1, correction=0), torch.ones(12))


def test_floor_is_120_db_below_the_loudest_of_the_clip(encoder: Dasheng) -> None:
    """A tone and then digital silence: the silence is at the tone's peak minus 120 dB, not at -100 dB."""
    tone = torch.sin(torch.arange(16_000) * 0.3)
    decibels = dasheng.to_decibels(encoder._mels(torch.cat([tone, torch.zeros(16_000)])))
    assert decibels.max() > 30
    close(decibels[:, -1], (decibels.max() - 120).expand(64))


# --- chunks of 1008 frames ---


def samples(num_frames: int) -> int:
    """Frames are centred, so n samples have 1 + n // 160 of them."""
    return (num_frames - 1) * 160


def by_chunk(encoder: Dasheng, waveform: Tensor) -> Tensor:
    """(1, T, D): the spectrogram cut by hand; of several pieces a short one is padded after normalisation."""
    model, pieces = encoder._model, []
    mels = model.init_bn(dasheng.to_decibels(encoder._mels(waveform))[None])
    for start in range(0, mels.shape[2], CHUNK):
        piece = mels[:, :, start : start + CHUNK]
        missing = CHUNK - piece.shape[2] if mels.shape[2] > CHUNK else 0
        padded = torch.cat([piece, torch.zeros(1, 64, missing)], dim=2)
        pieces.append(model._encode(padded[:, None], [2])[0][:, : piece.shape[2] // 4])
    return torch.cat(pieces, dim=1)


@pytest.mark.parametrize(
    ("num_frames", "num_tokens"),
    [(1007, 251), (1008, 252), (1009, 252), (1012, 253), (2015, 503), (2016, 504), (2017, 504), (2500, 625)],
)
def test_chunks(encoder: Dasheng, num_frames: int, num_tokens: int) -> None:
    """Each piece of 1008 frames is encoded as if alone, and none is lost where the frames are an exact multiple."""
    waveform = noise(samples(num_frames) / 16_000)
    assert encoder.num_tokens(len(waveform)) == num_tokens
    found = encoder.encode([waveform], [2])[0]
    with torch.no_grad():
        wanted = by_chunk(encoder, waveform)
    assert found.shape == (1, num_tokens, 64)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)  # several chunks at once change the last bits


def test_many_chunks_are_encoded_a_few_at_a_time(encoder: Dasheng, monkeypatch: pytest.MonkeyPatch) -> None:
    """101 s: ten full chunks and a short one are passed on as eight and three, in order."""
    waveform, sizes = noise(101.0), []
    encode = encoder._model._encode
    monkeypatch.setattr(
        encoder._model, "_encode", lambda chunks, layers: sizes.append(len(chunks)) or encode(chunks, layers)
    )
    found = encoder.encode([waveform], [2])[0]
    assert sizes == [8, 3]
    with torch.no_grad():
        torch.testing.assert_close(found, by_chunk(encoder, waveform), rtol=0, atol=1e-5)


def test_positions_begin_anew_in_each_chunk(encoder: Dasheng) -> None:
    """A sound that repeats every 10.08 s has the same inner tokens in both chunks."""
    period = noise(CHUNK / 100)
    first, second = encoder.encode([torch.cat([period, period, noise(1.0)])], [0])[0][0, :504].split(252)
    close(first[1:-1], second[1:-1])


# --- layouts of weights ---


def save_zenodo(path: Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Path:
    torch.save({"model": dict(state), "config": dict(config)}, path)
    return path


SIZE = {"embed_dim": 64, "depth": 2, "num_heads": 4}


def front_end_buffers() -> dict[str, Tensor]:
    """As a MelSpectrogram inside a Sequential has them."""
    own = dasheng.mel_transform().state_dict()
    return {f"front_end.0.{key}": value for key, value in own.items()}


def test_layouts_give_the_same_bits(encoder: Dasheng, official: Mapping[str, Tensor], tmp_path: Path) -> None:
    """A file as on zenodo, with the front end's buffers, equals the folder as on the hub."""
    path = save_zenodo(tmp_path / "dasheng_base.pt", {**official, **front_end_buffers()}, SIZE)
    other = load(f"dasheng={path}")
    waveform = noise(11.0)
    assert torch.equal(encoder.encode([waveform], [0, 1, 2])[0], other.encode([waveform], [0, 1, 2])[0])
    assert Dasheng.depth_of(parse_encoder(f"dasheng={path}"), SECTION) == 2


def test_another_front_end_is_refused(official: Mapping[str, Tensor], tmp_path: Path) -> None:
    """Buffers of a longer window say that the weights were trained on other spectrograms."""
    buffers = {**front_end_buffers(), "front_end.0.spectrogram.window": torch.hann_window(1024)}
    path = save_zenodo(tmp_path / "other.pt", {**official, **buffers}, SIZE)
    with pytest.raises(WeightsError, match=r"front_end\.0\.spectrogram\.window is not the spectrogram\.window"):
        load(f"dasheng={path}")


@pytest.mark.parametrize(
    ("name", "size"),
    [("dasheng-base", (768, 12, 12)), ("dasheng-0.6B", (1280, 32, 16)), ("dasheng_12b", (1536, 40, 24))],
)
def test_name_picks_the_size(tmp_path: Path, name: str, size: tuple[int, int, int]) -> None:
    """config.json without sizes; encoder_kwargs override the name, and values beside it override those."""

    def found(**config: Any) -> tuple[int, ...]:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "dasheng", "name": name, **config}))
        identity = Dasheng.identify(parse_encoder(f"random:dasheng={tmp_path}"), SECTION)
        return tuple(identity[key] for key in ("embed_dim", "depth", "num_heads"))

    assert found() == size
    assert found(encoder_kwargs={"depth": 5}) == (size[0], 5, size[2])
    assert found(encoder_kwargs={"depth": 5}, depth=6) == (size[0], 6, size[2])


def test_file_that_names_no_size_is_sized_by_its_width(tmp_path: Path) -> None:
    path = save_zenodo(tmp_path / "x.pt", {"blocks.0.norm1.weight": torch.zeros(1280)}, {})
    assert Dasheng.depth_of(parse_encoder(f"dasheng={path}"), SECTION) == 32


# --- what is refused ---


def edit_kwargs(folder: Path, **changes: object) -> None:
    kwargs = json.loads((folder / "config.json").read_text())["encoder_kwargs"]
    edit_config(folder, encoder_kwargs={**kwargs, **changes})


NORM = "encoder__blocks__0__norm1__weight"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "another model": (lambda f: edit_config(f, model_type="eat"), "'eat' model; expected 'dasheng'"),
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "odd heads": (lambda f: edit_config(f, num_heads=5), "embed_dim 64 is no multiple of num_heads 5"),
    "no number": (lambda f: edit_config(f, depth="deep"), "depth deep; expected whole numbers above 0"),
    "other patches": (lambda f: edit_kwargs(f, patch_stride=[64, 2]), "patch_stride is [64, 2]; expected [64, 4]"),
    "other chunks": (lambda f: edit_kwargs(f, target_length=504), "target_length is 504; expected 1008"),
    "other front end": (
        lambda f: (f / "preprocessor_config.json").write_text('{"n_fft": 1024}'),
        "preprocessor_config.json: n_fft is 1024; expected 512",
    ),
    "missing key": (lambda f: edit_state(f, **{NORM: None}), "1 missing: blocks.0.norm1.weight"),
    "no statistics": (lambda f: edit_state(f, encoder__init_bn__1__running_var=None), "init_bn.1.running_var"),
    "unexpected key": (lambda f: edit_state(f, encoder__extra=torch.ones(1)), "1 unexpected: extra"),
    "foreign key": (lambda f: edit_state(f, head__bias=torch.ones(1)), "not begin with 'encoder.': head.bias"),
    "other shape": (lambda f: edit_state(f, **{NORM: torch.ones(3)}), "norm1.weight (3,) instead of (64,)"),
    "torn weights": (lambda f: tear(f / "model.safetensors"), "is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_that_cannot_work_is_one_line(tmp_path: Path, damage: str) -> None:
    """A WeightsError that says what was found: never weights that stay at their initial values."""
    shutil.copytree(FOLDER, folder := tmp_path / "folder")
    harm, message = DAMAGES[damage]
    harm(folder)
    with pytest.raises(WeightsError) as caught:
        load(f"dasheng={folder}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


FILES: dict[str, tuple[Any, str]] = {
    "code": ({"config": Harmful(), "model": {}}, "reading those can run code"),
    "no model": ({"config": {}}, "has no state dict 'model'"),
    "another family": ({"cfg": {}, "model": {"layer_norm.weight": torch.ones(3)}}, "embed_dim (missing)"),
    "missing keys": ({"config": SIZE, "model": {"norm.weight": torch.ones(64)}}, "34 missing: blocks.0.attn.proj.bias"),
}


@pytest.mark.parametrize("content", FILES)
def test_a_file_that_cannot_work_is_one_line(tmp_path: Path, content: str) -> None:
    """A pickle of objects is not run, and a file of another family says what it lacks."""
    torch.save(FILES[content][0], tmp_path / "model.pt")
    with pytest.raises(WeightsError) as caught:
        load(f"dasheng={tmp_path / 'model.pt'}")
    assert FILES[content][1] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("harmed").exists()


def test_weights_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline and not in the cache: one line with the hub id, the command and the control."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"`hf download mispeech/dasheng-1\.2B`.*random:dasheng:1\.2B"):
        Dasheng.identify(parse_encoder("dasheng:1.2B"), SECTION)


def test_variant_must_fit_the_folder() -> None:
    """dasheng:base=FOLDER with a smaller model inside is refused, since the name would be a lie in every table."""
    with pytest.raises(WeightsError, match="is not dasheng:base"):
        Dasheng.identify(parse_encoder(f"dasheng:base={FOLDER}"), SECTION)
    with pytest.raises(UsageError, match="no variant 'bse'"):
        Dasheng.identify(parse_encoder("random:dasheng:bse"), SECTION)


# --- the contract ---


def test_untrained_follows_its_seed() -> None:
    """The same bits for a seed, others for another, and nobody else's random numbers are drawn."""
    state = torch.random.get_rng_state()
    one, again, other = (load(f"random:dasheng={FOLDER}", init_seed=seed) for seed in (0, 0, 1))
    load(f"dasheng={FOLDER}")
    assert torch.equal(torch.random.get_rng_state(), state)
    (first,), (second,), (third,) = (encoder.encode([noise(1.0)], [2]) for encoder in (one, again, other))
    assert torch.equal(first, second)
    assert not torch.allclose(first, third, atol=0.1)


def test_untrained_of_published_size_encodes() -> None:
    """random:dasheng is made from nothing and gives 768 numbers for each 40 ms."""
    encoder = load("random:dasheng")
    assert encoder.depth == 12
    assert encoder.encode([noise(0.2)], [0, 12])[0].shape == (2, 5, 768)


def test_alone_equals_in_batch(encoder: Dasheng) -> None:
    """Bit for bit, whatever else is in the batch (a louder clip would raise a shared floor)."""
    waveforms = [noise(1.7), torch.cat([torch.zeros(8000), 1e-6 * noise(0.5)]), 30 * noise(11.0)]
    together = encoder.encode(waveforms, [0, 1, 2])
    for waveform, tokens in zip(waveforms, together, strict=True):
        assert torch.equal(tokens, encoder.encode([waveform], [0, 1, 2])[0])
        assert torch.equal(tokens[[2, 0]], encoder.encode([waveform], [2, 0])[0])


@pytest.mark.parametrize("seconds", [1.7, 12.0])
def test_last_tenth_matters(encoder: Dasheng, seconds: float) -> None:
    """Other samples in the last tenth of a clip change its last token."""
    waveform = noise(seconds)
    changed = torch.cat([waveform[: -len(waveform) // 10], noise(seconds, 7)[: math.ceil(len(waveform) / 10)]])
    before, after = (encoder.encode([wave], [2])[0] for wave in (waveform, changed))
    assert before.shape == after.shape
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-2)


def test_shortest_clip_is_one_token(encoder: Dasheng) -> None:
    """480 samples have four frames; fewer are padded to that by the rule for all encoders."""
    assert encoder.min_samples == 480
    assert encoder.encode([noise(0.03)], [2])[0].shape == (1, 1, 64)
    assert encode_clips(encoder, [noise(0.01)], [2])[0].padded


def test_identity_says_what_decides_the_output(tmp_path: Path) -> None:
    """Weights, seed and size change it, all as JSON; the layer and where the copy lies do not."""

    def identity(text: str, **section: Any) -> str:
        return canonical_json(Dasheng.identify(parse_encoder(text), EncoderSection(**section)))

    shutil.copytree(FOLDER, copy := tmp_path / "copy")
    assert identity(f"dasheng={copy}") == identity(f"dasheng={FOLDER}@1")
    state = load_file(copy / "model.safetensors")
    save_file({**state, "encoder.norm.bias": torch.zeros(64)}, copy / "model.safetensors")
    texts = [
        f"dasheng={FOLDER}",
        f"dasheng={copy}",
        f"random:dasheng={FOLDER}",
        "random:dasheng",
        "random:dasheng:1.2B",
    ]
    identities = [identity(text) for text in texts] + [identity("random:dasheng", init_seed=1)]
    assert len(set(identities)) == len(identities)
    assert json.loads(identities[0])["window"] == {"chunk_frames": 1008, "min_samples": 480, "max_seconds": None}
    assert Dasheng.origin(parse_encoder(texts[0]), SECTION) == {"weights": str(FOLDER)}
    assert Dasheng.origin(parse_encoder(texts[2]), SECTION) == {"weights": "untrained"}
