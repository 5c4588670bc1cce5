"""encoders/beats: the official outputs, layouts of weights, what is refused, and the contract."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from test_beats_model import SMALL, slow_states, small_model
from torch import Tensor

from palprobe.encoders import catalog
from palprobe.encoders.beats import Beats, log_mels
from palprobe.encoders.beats_model import token_mask
from palprobe.encoders.catalog import Published
from palprobe.encoders.windows import encode_clips
from palprobe.errors import UsageError, WeightsError
from palprobe.files import canonical_json
from palprobe.recipe import EncoderSection
from palprobe.specs import parse_encoder

FIXTURES = Path(__file__).parent / "fixtures" / "beats"
FILE = FIXTURES / "BEATs_small.pt"
SECTION = EncoderSection()
TOLERANCE = 1e-4  # with the front end, whose FFT rounds as the processor does; seen: 8e-5
EXACT = 1e-5  # the network alone, float32; seen: 2e-6


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    return load_file(FIXTURES / "expected_small.safetensors")


@pytest.fixture(scope="module")
def waves() -> dict[str, Tensor]:
    return {name: wave / 32768 for name, wave in load_file(FIXTURES / "waves_int16.safetensors").items()}


@pytest.fixture(scope="module")
def encoder() -> Beats:
    return load(f"beats={FILE}")


def load(text: str, **section: Any) -> Beats:
    return Beats.load(parse_encoder(text), EncoderSection(**section), device="cpu")


def close(found: Tensor, wanted: Tensor, tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance)


def noise(seconds: float, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(round(seconds * 16_000), generator=torch.Generator().manual_seed(seed))


# --- against the official implementation ---


def test_front_end(expected: Mapping[str, Tensor], waves: Mapping[str, Tensor]) -> None:
    """168 frames of 1.7 s, normalised, as the official front end gives them."""
    close(log_mels(waves["w1p7"])[None], expected["w1p7.fbank"])


def test_network_alone(encoder: Beats, expected: Mapping[str, Tensor]) -> None:
    """From the official log-mels: patch tokens after their norm, what enters the first block, and what leaves each."""
    fbank = expected["w1p7.fbank"]
    close(encoder._model.embed(fbank), expected["w1p7.patch_ln"], EXACT)
    states = encoder._model(fbank, [0, 1, 2])
    close(states, torch.stack([expected[f"w1p7.hidden.{layer}"] for layer in range(3)]), EXACT)
    close(states[2], expected["w1p7.features"], EXACT)


@pytest.mark.parametrize("case", ["w1p7", "w10"])
def test_features_of_a_waveform(
    encoder: Beats, expected: Mapping[str, Tensor], waves: Mapping[str, Tensor], case: str
) -> None:
    """From the waveform to the output of the last block; 10 s are one window."""
    close(encode_clips(encoder, [waves[case]], [2])[0].features.values, expected[f"{case}.features"])


def test_mask_without_padding(encoder: Beats, expected: Mapping[str, Tensor], waves: Mapping[str, Tensor]) -> None:
    """A mask that pads nothing gives a token mask that pads nothing, and the features without one."""
    fbank = expected["w1p7.fbank"]
    mask = token_mask(torch.ones(1, len(waves["w1p7"]), dtype=torch.bool), fbank.shape[1])
    assert torch.equal((~mask).to(torch.uint8), expected["w1p7_falsemask.padding_mask_out"])
    close(encoder._model(fbank, [2], mask)[0], expected["w1p7_falsemask.features"], EXACT)


# --- layouts of weights ---


def checkpoint() -> dict[str, Any]:
    return torch.load(FILE, weights_only=True)


def save_official(folder: Path, *, cfg: Mapping[str, Any], extra: Mapping[str, Tensor], **beside: Any) -> Path:
    whole = checkpoint()
    torch.save({"cfg": whole["cfg"] | cfg, "model": whole["model"] | extra, **beside}, folder / "weights.pt")
    return folder / "weights.pt"


def save_espnet(folder: Path, *, prefix: str = "encoder.", suffix: str = "pth", conf: Any = None) -> Path:
    """Weights alone with a decoder, and the configuration in YAML beside them."""
    whole = checkpoint()
    state = {prefix + key: value.clone() for key, value in whole["model"].items()}
    state |= {"decoder.output_layer.weight": torch.ones(3, 64)}
    config = {"encoder": "beats", "encoder_conf": {"beats_config": whole["cfg"]} if conf is None else conf}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    path = folder / f"weights.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    return path


PREDICTOR = {"predictor.weight": torch.ones(527, 64), "predictor.bias": torch.ones(527)}
PADS = {"patch_embedding_pad.weight": torch.ones(2), "raw2fbank_pad.weight": torch.ones(2)}
LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "folder": lambda f: save_official(f, cfg={}, extra={}).rename(f / "BEATs_iter3_plus_AS2M.pt").parent,
    "fine-tuned": lambda f: save_official(
        f, cfg={"finetuned_model": True, "predictor_class": 527}, extra=PREDICTOR, label_dict={0: "/m/09x0r"}
    ),
    "OpenBEATs": lambda f: save_official(f, cfg={}, extra={**PADS, "decoder.0.weight": torch.ones(2)}),
    "ESPnet": save_espnet,
    "ESPnet as safetensors": lambda f: save_espnet(f, suffix="safetensors"),
    "weights alone": lambda f: save_espnet(f, prefix=""),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_give_the_same_bits(encoder: Beats, tmp_path: Path, layout: str) -> None:
    """A predictor, the parts that only pre-training needs, ESPnet's prefix and decoder change nothing."""
    spec = f"beats={LAYOUTS[layout](tmp_path)}"
    assert torch.equal(load(spec).encode([noise(1.3)], range(3))[0], encoder.encode([noise(1.3)], range(3))[0])
    assert Beats.depth_of(parse_encoder(spec), SECTION) == 2


def test_absent_keys_have_the_documented_defaults(tmp_path: Path) -> None:
    """A cfg of sizes alone is a plain post-norm transformer: no gate, no position bias, no deep norm."""
    shape = replace(SMALL, relative_position_embedding=False, gru_rel_pos=False, deep_norm=False, conv_pos=128)
    shape = replace(shape, num_buckets=320, max_distance=1280, conv_pos_groups=16)
    sizes = ["encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads", "embed_dim"]
    cfg = {key: asdict(shape)[key] for key in sizes} | {"input_patch_size": 16}
    torch.save({"cfg": cfg, "model": small_model(shape).state_dict()}, tmp_path / "plain.pt")
    identity = Beats.identify(parse_encoder(f"beats={tmp_path / 'plain.pt'}"), SECTION)
    assert {key: identity[key] for key in asdict(shape)} == asdict(shape)
    found = load(f"beats={tmp_path / 'plain.pt'}").encode([noise(0.4)], [0, 1, 2])[0]
    wanted = slow_states(log_mels(noise(0.4)), small_model(shape), shape, np.ones(16))
    np.testing.assert_allclose(found.numpy(), np.stack(wanted), atol=1e-4)  # float32 against float64


# --- what is refused ---


class Harmful:
    """A pickle that would create a file when read."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return Path.touch, (Path("harmed"),)


def edited(*, cfg: Mapping[str, Any] | None = None, model: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The fixture with changes; None removes."""
    whole = checkpoint()
    for name, changes in (("cfg", cfg or {}), ("model", model or {})):
        changed = {**whole[name], **changes}
        whole[name] = {key: value for key, value in changed.items() if value is not None}
    return whole


TABLE = "encoder.layers.1.self_attn.relative_attention_bias.weight"
NO_WEIGHTS = dict.fromkeys(("patch_embedding.weight", "layer_norm.weight", "layer_norm.bias"))
CONTENTS: dict[str, tuple[Callable[[], Any], str]] = {
    "missing key": (lambda: edited(model=NO_WEIGHTS), "3 missing: layer_norm.bias, layer_norm.weight, patch_embedding"),
    "unexpected key": (lambda: edited(model={"mask_emb": torch.ones(1)}), "1 unexpected: mask_emb"),
    "other shape": (lambda: edited(model={"layer_norm.bias": torch.ones(3)}), "layer_norm.bias (3,) instead of (32,)"),
    "predictor of no fine-tuned": (lambda: edited(model=PREDICTOR), "2 unexpected: predictor.bias, predictor.weight"),
    "fine-tuned without one": (lambda: edited(cfg={"finetuned_model": True}), "2 missing: predictor.bias"),
    "table per layer": (lambda: edited(model={TABLE: torch.ones(320, 4)}), f"{TABLE} differs from the first"),
    "table once": (lambda: edited(model={TABLE: None}), f"1 missing: {TABLE}"),
    "no sizes": (lambda: edited(cfg={"embed_dim": None}), "configuration lacks embed_dim"),
    "no patch size": (lambda: edited(cfg={"input_patch_size": None}), "input_patch_size is -1; expected 16"),
    "other patches": (lambda: edited(cfg={"input_patch_size": 8}), "input_patch_size is 8; expected 16"),
    "other activation": (lambda: edited(cfg={"activation_fn": "relu"}), "activation_fn is 'relu'; expected 'gelu'"),
    "no layers": (lambda: edited(cfg={"encoder_layers": 0}), "encoder_layers is 0; expected a whole number above 0"),
    "half a layer": (lambda: edited(cfg={"encoder_layers": 1.5}), "encoder_layers is 1.5; expected a whole number"),
    "layers as text": (lambda: edited(cfg={"encoder_layers": "2"}), "encoder_layers is '2'; expected a whole number"),
    "layers as truth": (lambda: edited(cfg={"encoder_layers": True}), "encoder_layers is True; expected a whole"),
    "flag as text": (lambda: edited(cfg={"deep_norm": "no"}), "deep_norm is 'no'; expected True or False"),
    "odd heads": (lambda: edited(cfg={"encoder_attention_heads": 5}), "encoder_attention_heads is 5; expected a divi"),
    "odd groups": (lambda: edited(cfg={"conv_pos_groups": 7}), "conv_pos_groups is 7; expected a divisor of the width"),
    "odd buckets": (lambda: edited(cfg={"num_buckets": 321}), "num_buckets is 321; expected an even number from 4"),
    "few buckets": (lambda: edited(cfg={"num_buckets": 2}), "num_buckets is 2; expected an even number from 4"),
    "near distance": (lambda: edited(cfg={"max_distance": 80}), "max_distance is 80; expected more than 80"),
    "gate of nothing": (lambda: edited(cfg={"relative_position_embedding": False}), "gru_rel_pos is True; expected F"),
    "code": (lambda: {"cfg": Harmful(), "model": {}}, "can run code"),
    "code in cfg": (lambda: edited(cfg={"dropout": Harmful()}), "can run code"),
    "no model": (lambda: {"cfg": {}}, "has no state dict 'model'"),
    "no tensors": (lambda: edited(model={"layer_norm.weight": 3}), "no tensors: layer_norm.weight"),
    "no cfg": (lambda: {"model": checkpoint()["model"]}, "'cfg' is NoneType; expected the keys and values"),
    "another family": (
        lambda: {"cfg": {"model": {"depth": 3}}, "model": {"blocks.0.norm1.weight": torch.ones(3)}},
        "is not of a BEATs model: its configuration lacks encoder_layers, encoder_embed_dim",
    ),
    "a list": (lambda: [1, 2], "no state dict 'model'; it holds list"),
    "weights alone": (lambda: checkpoint()["model"], "Put ESPnet's config.yaml with encoder_conf.beats_config beside"),
}


def check_refused(path: Path, message: str) -> None:
    with pytest.raises(WeightsError) as caught:
        load(f"beats={path}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("harmed").exists()


@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_that_cannot_work_is_one_line(tmp_path: Path, content: str) -> None:
    """A WeightsError that says what was found, and no pickle is run: never weights that stay at initial values."""
    make, message = CONTENTS[content]
    torch.save(make(), tmp_path / "weights.pt")
    check_refused(tmp_path / "weights.pt", message)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.999])
def test_truncated_file_is_one_line(tmp_path: Path, share: float) -> None:
    """A download that was cut off anywhere is damaged."""
    content = FILE.read_bytes()
    (tmp_path / "weights.pt").write_bytes(content[: round(share * len(content))])
    check_refused(tmp_path / "weights.pt", "is damaged")


def test_damaged_bytes_are_one_line(tmp_path: Path) -> None:
    """A file whose beginning was overwritten is named, and not read."""
    content = bytearray(FILE.read_bytes())
    content[:300] = bytes(300)
    (tmp_path / "weights.pt").write_bytes(content)
    check_refused(tmp_path / "weights.pt", str(tmp_path / "weights.pt"))


CONFIGS: dict[str, tuple[Any, str]] = {
    "another encoder": ({"output_size": 512}, "no keys and values under encoder_conf.beats_config"),
    "no value": ({"beats_config": "none"}, "no keys and values under encoder_conf.beats_config"),
    "part of it": ({"beats_config": {"encoder_layers": 2}}, "its configuration lacks encoder_embed_dim"),
}


@pytest.mark.parametrize("config", CONFIGS)
def test_espnet_config_that_cannot_work_is_one_line(tmp_path: Path, config: str) -> None:
    """The message names config.yaml and the key."""
    conf, message = CONFIGS[config]
    check_refused(save_espnet(tmp_path, conf=conf), message)
    (tmp_path / "config.yaml").write_text("{encoder_conf")
    check_refused(tmp_path / "weights.pth", "config.yaml is no valid YAML")
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\xff")
    check_refused(tmp_path / "weights.pth", "config.yaml cannot be read")


def test_foreign_keys_beside_espnets_are_listed(tmp_path: Path) -> None:
    """A module that would change what the encoder hears is not passed over."""
    path = save_espnet(tmp_path)
    torch.save({**torch.load(path, weights_only=True), "normalize.mean": torch.ones(128)}, path)
    check_refused(path, "1 unexpected: normalize.mean")


def test_variant_must_fit_the_file() -> None:
    """beats:iter3_plus_AS2M=FILE with a smaller model inside is refused, since the name would be a lie in tables."""
    for part in (Beats.load, Beats.identify):
        kwargs = {"device": "cpu"} if part == Beats.load else {}
        with pytest.raises(WeightsError, match="has 2 layers of width 64, which is not beats:iter3_plus_AS2M"):
            part(parse_encoder(f"beats:iter3_plus_AS2M={FILE}"), SECTION, **kwargs)


def test_unknown_variant_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no variant 'iter3_plus_AS2'\. Did you mean 'iter3_plus_AS2M'\?"):
        Beats.identify(parse_encoder("random:beats:iter3_plus_AS2"), SECTION)


# --- the contract ---


@pytest.fixture
def open_beats(monkeypatch: pytest.MonkeyPatch) -> Published:
    """A catalog that knows one other encoder of the family."""
    entry = Published(
        "openbeats", "Large-i3", "someone/OpenBEATs-Large-i3", "MIT", 300_000_000, 1024, 50.0, "general",
        file="epoch_latest.pt",
    )  # fmt: skip
    monkeypatch.setattr(catalog, "CATALOG", (entry,))
    return entry


def test_openbeats_is_the_same_network(open_beats: Published, encoder: Beats) -> None:
    """Other weights under another name: the same features from the same file, another identity; Large is 24 x 1024."""
    spec = parse_encoder(f"openbeats={FILE}")
    assert torch.equal(load(spec.text).encode([noise(1.0)], [2])[0], encoder.encode([noise(1.0)], [2])[0])
    assert Beats.identify(spec, SECTION)["name"] == "openbeats"
    large = Beats.identify(parse_encoder("random:openbeats"), SECTION)
    names = ("encoder_layers", "encoder_embed_dim", "encoder_attention_heads")
    assert [large[name] for name in names] == [24, 1024, 16]


def test_weights_in_the_hub_cache_are_used(
    open_beats: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot that is in the cache needs no network, and tells its revision."""
    from huggingface_hub import constants

    revision = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / f"models--{open_beats.hub_id.replace('/', '--')}"
    snapshot = folder / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (snapshot / open_beats.file).write_bytes(FILE.read_bytes())
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(revision)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load("openbeats").dim == 64
    found = Beats.origin(parse_encoder("openbeats"), SECTION)
    assert found == {"weights": open_beats.hub_id, "revision": revision}


def test_untrained_follows_its_seed() -> None:
    """The same bits for a seed, others for another, and nobody else's random numbers are drawn."""
    state = torch.random.get_rng_state()
    one, again, other = (load(f"random:beats={FILE}", init_seed=seed) for seed in (0, 0, 1))
    load(f"beats={FILE}")
    assert torch.equal(torch.random.get_rng_state(), state)
    (first,), (second,), (third,) = (encoder.encode([noise(1.0)], [2]) for encoder in (one, again, other))
    assert torch.equal(first, second)
    assert not torch.allclose(first, third, atol=0.1)


def test_untrained_of_published_size_encodes() -> None:
    """random:beats is made from nothing and gives 768 numbers for each of 8 tokens, of different scale in no layer."""
    encoder = load("random:beats")
    found = encoder.encode([noise(0.2)], range(13))[0]
    assert found.shape == (13, 8, 768)
    assert 0.3 < float(found.std()) < 3
    assert encoder.depth == Beats.depth_of(parse_encoder("random:beats"), SECTION) == 12


def test_alone_equals_in_batch(encoder: Beats) -> None:
    """Bit for bit, whatever else is in the batch, and whichever other layers are asked for."""
    waveforms = [noise(seconds, seed) for seed, seconds in enumerate((1.7, 0.2, 2.9))]
    for waveform, tokens in zip(waveforms, encoder.encode(waveforms, [0, 1, 2]), strict=True):
        assert tokens.dtype == torch.float32
        assert torch.equal(tokens, encoder.encode([waveform], [0, 1, 2])[0])
        assert torch.equal(tokens[[1, 0]], encoder.encode([waveform], [1, 0])[0])


def test_encoder_is_frozen(encoder: Beats) -> None:
    assert not encoder._model.training
    assert not any(weight.requires_grad for weight in encoder._model.parameters())


def test_last_tenth_matters(encoder: Beats) -> None:
    """Other samples in the last tenth of a clip change its last token."""
    waveform = noise(1.7)
    changed = torch.cat([waveform[: -len(waveform) // 10], noise(1.0, 7)[: math.ceil(len(waveform) / 10)]])
    before, after = (encoder.encode([wave], [2])[0] for wave in (waveform, changed))
    assert before.shape == after.shape
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-2)


@pytest.mark.parametrize(
    ("samples", "num_tokens"),
    [(2800, 8), (5359, 8), (5360, 16), (27_200, 80), (160_000, 496), (161_520, 504)],
)
def test_number_of_tokens(encoder: Beats, samples: int, num_tokens: int) -> None:
    """A frame of 400 samples every 160, sixteen whole frames make a step of 8: 16, 31, 32, 168, 998, 1008 frames."""
    assert encoder.num_tokens(samples) == num_tokens
    assert encoder.encode([torch.zeros(samples)], [0])[0].shape == (1, num_tokens, 64)


def test_only_less_than_160_ms_at_the_end_are_not_heard(encoder: Beats) -> None:
    """The sample before the first one that is not heard changes the tokens; that one and the rest do not."""
    waveform = noise(5359 / 16_000)
    heard, unheard = waveform.clone(), waveform.clone()
    heard[2799] += 0.5
    unheard[2800:] += 0.5
    before, louder, same = (encoder.encode([wave], [2])[0] for wave in (waveform, heard, unheard))
    assert not torch.allclose(before, louder, atol=1e-3)
    assert torch.equal(before, same)


def test_short_clip_is_one_time_step(encoder: Beats) -> None:
    """Ten samples are padded to the shortest clip; one more frame than that is not padded."""
    short = encode_clips(encoder, [noise(10 / 16_000)], [2])[0]
    assert short.padded
    assert short.features.values.shape == (1, 8, 64)
    assert not encode_clips(encoder, [noise(2800 / 16_000)], [2])[0].padded


def test_long_clip_is_its_windows_joined(encoder: Beats) -> None:
    """25 s are two windows of 10.095 s with 504 tokens each, every sample of both heard, and the rest."""
    waveform, size = noise(25.0), 161_520
    pieces = [encoder.encode([waveform[at : at + size]], [2])[0] for at in (0, size, 2 * size)]
    found = encode_clips(encoder, [waveform], [2])[0].features.values
    assert torch.equal(found, torch.cat(pieces, dim=1))
    assert found.shape[1] == 2 * 504 + 8 * 29  # 4.81 s have 479 frames
    waveform[size - 1] += 0.5
    changed = encode_clips(encoder, [waveform], [2])[0].features.values
    assert not torch.allclose(changed[:, :504], found[:, :504], atol=1e-3)


def test_identity_says_what_decides_the_output(tmp_path: Path) -> None:
    """Name, weights, seed and shape change it, all as JSON; the layer and where the copy lies do not."""

    def identity(text: str, **section: Any) -> str:
        return canonical_json(Beats.identify(parse_encoder(text), EncoderSection(**section)))

    copy, changed, shaped = (tmp_path / name for name in ("copy.pt", "changed.pt", "shaped.pt"))
    copy.write_bytes(FILE.read_bytes())
    torch.save(edited(model={"layer_norm.bias": torch.ones(32)}), changed)
    torch.save(edited(cfg={"max_distance": 1280}), shaped)
    assert identity(f"beats={copy}") == identity(f"beats={FILE}@1")
    texts = [f"beats={FILE}", f"beats={changed}", f"random:beats={FILE}", f"random:beats={shaped}", "random:beats"]
    identities = [identity(text) for text in texts] + [identity("random:beats", init_seed=1)]
    assert len(set(identities)) == len(identities)
    assert json.loads(identities[0])["window"] == {"min_samples": 2800, "max_seconds": 10.095}
    assert Beats.origin(parse_encoder(texts[0]), SECTION) == {"weights": str(FILE)}
    assert Beats.origin(parse_encoder(texts[2]), SECTION) == {"weights": "untrained"}
