"""encoders/eat: the official outputs, slow checks in plain loops, both layouts of weights, and what is refused."""

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
from torch import Tensor

from palprobe.encoders import eat
from palprobe.encoders.eat import Eat
from palprobe.encoders.vit import Block, VitSize
from palprobe.encoders.windows import encode_clips
from palprobe.errors import UsageError, WeightsError
from palprobe.files import canonical_json
from palprobe.recipe import EncoderSection
from palprobe.specs import parse_encoder

FIXTURES = Path(__file__).parent / "fixtures" / "eat"
FOLDER = FIXTURES / "hf_pretrain"
SECTION = EncoderSection()
TOLERANCE = 1e-4  # seen: a few 1e-6, up to 8e-5 in single quiet mel bands, where another FFT rounds otherwise


@pytest.fixture(scope="module")
def expected() -> dict[str, Tensor]:
    return load_file(FIXTURES / "expected.safetensors")


@pytest.fixture(scope="module")
def waves() -> dict[str, Tensor]:
    return {name: wave / 32768 for name, wave in load_file(FIXTURES / "waves_int16.safetensors").items()}


@pytest.fixture(scope="module")
def encoder() -> Eat:
    return load(f"eat={FOLDER}")


def load(text: str, **section: Any) -> Eat:
    return Eat.load(parse_encoder(text), EncoderSection(**section), device="cpu")


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=TOLERANCE)


def noise(seconds: float, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(round(seconds * 16_000), generator=torch.Generator().manual_seed(seed))


# --- against the official implementation ---


@pytest.mark.parametrize(("case", "target"), [("w1p7_T1024", 1024), ("w1p7_var", None)])
def test_front_end(expected: Mapping[str, Tensor], waves: Mapping[str, Tensor], case: str, target: int | None) -> None:
    """Log-mels as the official front end gives them, padded to 1024 frames or to a multiple of 16."""
    close(eat.log_mels(waves["w1p7"], target)[None, None], expected[f"{case}.fbank"])


@pytest.mark.parametrize(("case", "target"), [("w1p7_T1024", 1024), ("w10_T1024", 1024), ("w1p7_var", None)])
def test_features(
    encoder: Eat, expected: Mapping[str, Tensor], waves: Mapping[str, Tensor], case: str, target: int | None
) -> None:
    """All tokens of the last block, class token and padding too, fixed and variable length."""
    fbank = eat.log_mels(waves[case.partition("_")[0]], target)
    with torch.no_grad():
        close(encoder._model(fbank, [encoder.depth]), expected[f"{case}.features"])


def test_hidden_states(encoder: Eat, expected: Mapping[str, Tensor], waves: Mapping[str, Tensor]) -> None:
    """Layer 0 is the input of the first block, layer i the output of block i."""
    with torch.no_grad():
        found = encoder._model(eat.log_mels(waves["w1p7"], None), range(4))
    close(found, torch.cat([expected[f"w1p7_var.hidden.{layer}"] for layer in range(4)]))


@pytest.mark.parametrize(("name", "num_tokens"), [("w1p7", 88), ("w10", 504)])
def test_encoder_gives_the_valid_tokens(
    encoder: Eat, expected: Mapping[str, Tensor], waves: Mapping[str, Tensor], name: str, num_tokens: int
) -> None:
    """168 and 998 frames are 11 and 63 time steps of 8 tokens; the class token and the padding are left out."""
    found = encode_clips(encoder, [waves[name]], [3])[0].features.values
    close(found, expected[f"{name}_T1024.features"][:, 1 : 1 + num_tokens])


# --- against plain loops ---


def slow_table(num_steps: int, dim: int) -> np.ndarray:
    """(8 steps, D), number by number: sines then cosines of the band, then of the time step."""
    table = np.zeros((num_steps * 8, dim))
    quarter = dim // 4
    for step in range(num_steps):
        for band in range(8):
            for half, index in enumerate((band, step)):
                for i in range(quarter):
                    angle = index * 10_000 ** (-i / quarter)
                    table[step * 8 + band, half * 2 * quarter + i] = math.sin(angle)
                    table[step * 8 + band, half * 2 * quarter + quarter + i] = math.cos(angle)
    return table


def test_table_of_positions() -> None:
    """The table equals the formula, number by number, and the official state dict's."""
    official = load_file(FOLDER / "model.safetensors")["model.fixed_positional_encoder.positions"]
    close(eat.sincos_table(192, 64), official)
    np.testing.assert_allclose(eat.sincos_table(20, 64)[0].numpy(), slow_table(20, 64), atol=1e-6)


def slow_norm(row: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return (row - row.mean()) / math.sqrt(row.var() + 1e-6) * weight + bias


def slow_attention(tokens: np.ndarray, state: Mapping[str, np.ndarray], num_heads: int) -> np.ndarray:
    """Token by token and head by head, in float64."""
    size = tokens.shape[1] // num_heads
    qkv = tokens @ state["attn.qkv.weight"].T + state["attn.qkv.bias"]
    query, key, value = np.split(qkv, 3, axis=1)
    mixed = np.zeros_like(tokens)
    for head in range(num_heads):
        part = slice(head * size, (head + 1) * size)
        for row in range(len(tokens)):
            weights = np.exp([query[row, part] @ key[other, part] / math.sqrt(size) for other in range(len(tokens))])
            mixed[row, part] = sum(w * value[other, part] for other, w in enumerate(weights / weights.sum()))
    return mixed @ state["attn.proj.weight"].T + state["attn.proj.bias"]


def slow_mlp(row: np.ndarray, state: Mapping[str, np.ndarray]) -> np.ndarray:
    hidden = state["mlp.fc1.weight"] @ row + state["mlp.fc1.bias"]
    gelu = np.array([0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in hidden])
    return state["mlp.fc2.weight"] @ gelu + state["mlp.fc2.bias"]


def slow_block(tokens: np.ndarray, state: Mapping[str, np.ndarray], num_heads: int, *, norm_first: bool) -> np.ndarray:
    """(N, D) → (N, D): a whole transformer block."""

    def norm(rows: np.ndarray, name: str) -> np.ndarray:
        return np.stack([slow_norm(row, state[f"{name}.weight"], state[f"{name}.bias"]) for row in rows])

    def mlp(rows: np.ndarray) -> np.ndarray:
        return np.stack([slow_mlp(row, state) for row in rows])

    if norm_first:
        tokens = tokens + slow_attention(norm(tokens, "norm1"), state, num_heads)
        return tokens + mlp(norm(tokens, "norm2"))
    tokens = norm(tokens + slow_attention(tokens, state, num_heads), "norm1")
    return norm(tokens + mlp(tokens), "norm2")


def check_block(state: Mapping[str, Tensor], *, norm_first: bool) -> None:
    """A block of 64 numbers and four heads against the loops, on seven tokens."""
    block = Block(VitSize(64, 1, 4), norm_first=norm_first).eval()
    block.load_state_dict(state)
    tokens = torch.randn(7, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = block(tokens[None])[0].numpy()
    slow = slow_block(
        tokens.numpy().astype(np.float64),
        {key: value.numpy().astype(np.float64) for key, value in state.items()},
        4,
        norm_first=norm_first,
    )
    np.testing.assert_allclose(found, slow, atol=1e-5)  # float32 against float64


def test_block_equals_plain_loops() -> None:
    """Attention, feed-forward and both norms after their sums, computed one number at a time."""
    state = load_file(FOLDER / "model.safetensors")
    prefix = "model.blocks.1."
    check_block({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}, norm_first=False)


def test_blocks_after_the_last_layer_asked_for_are_not_run(encoder: Eat, monkeypatch: pytest.MonkeyPatch) -> None:
    """@1 costs one block of three."""
    runs = []
    for number, block in enumerate(encoder._model.blocks, start=1):
        monkeypatch.setattr(block.attn, "forward", lambda x, number=number: runs.append(number) or x)
    encoder.encode([noise(0.1)], [1, 0])
    assert runs == [1]


# --- layouts of weights ---


def fairseq_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names of the fairseq layout, from those of the Hugging Face layout."""
    image, renamed = "modality_encoders.IMAGE.", {}
    for full, value in state.items():
        key = full.removeprefix("model.")
        if key.startswith("pre_norm."):
            key = f"{image}context_encoder.norm.{key.removeprefix('pre_norm.')}"
        elif not key.startswith(("blocks.", "head.", "fc_norm.")):
            key = image + key
        renamed[key] = value
    return renamed


def with_head(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As a fine-tuned model of seven classes has it."""
    shapes = {"fc_norm.weight": (64,), "fc_norm.bias": (64,), "head.weight": (7, 64), "head.bias": (7,)}
    return {**state, **{f"model.{name}": torch.full(shape, 0.5) for name, shape in shapes.items()}}


def save_fairseq(path: Path, model: Mapping[str, Any], **cfg: Any) -> Path:
    sizes = {"embed_dim": 64, "depth": 3, "num_heads": 4}
    torch.save({"cfg": {"model": {**sizes, **cfg}, "task": {"data": "x"}}, "model": dict(model)}, path)
    return path


@pytest.mark.parametrize("layout", ["pre-trained", "fine-tuned", "fine-tuned folder"])
def test_layouts_give_the_same_bits(encoder: Eat, tmp_path: Path, layout: str) -> None:
    """fairseq's names, its decoder and moving average, and a fine-tuned model's head change nothing."""
    state = load_file(FOLDER / "model.safetensors")
    if layout == "fine-tuned folder":
        shutil.copytree(FOLDER, path := tmp_path / "folder")
        save_file(with_head(state), path / "model.safetensors")
    elif layout == "fine-tuned":
        names = fairseq_names(with_head(state))
        path = save_fairseq(tmp_path / "tuned.pt", {f"model.{key}": value for key, value in names.items()})
    else:
        extra = {"_ema": {"blocks.0.norm1.weight": torch.zeros(64)}, "decoder.proj.weight": torch.zeros(3)}
        extra["modality_encoders.IMAGE.decoder.proj.bias"] = torch.zeros(3)
        path = save_fairseq(tmp_path / "eat.pt", {**fairseq_names(state), **extra})
    other = load(f"eat={path}")
    for wanted, found in zip(encoder.encode([noise(1.3)], range(4)), other.encode([noise(1.3)], range(4)), strict=True):
        assert torch.equal(wanted, found)
    assert Eat.depth_of(parse_encoder(f"eat={path}"), SECTION) == 3


def test_fairseq_file_that_names_no_size_is_sized_by_its_width(tmp_path: Path) -> None:
    """cfg without sizes, as fine-tuned ones have it: 1024 wide is the large model, 64 wide is no published one."""
    for width in (1024, 64):
        file = tmp_path / f"{width}.pt"
        torch.save({"cfg": {}, "model": {"blocks.0.norm1.weight": torch.zeros(width)}}, file)
    assert Eat.depth_of(parse_encoder(f"eat={tmp_path / '1024.pt'}"), SECTION) == 24
    with pytest.raises(WeightsError, match=r"64.pt has embed_dim \(missing\), depth \(missing\)"):
        Eat.depth_of(parse_encoder(f"eat={tmp_path / '64.pt'}"), SECTION)


# --- what is refused ---


class Harmful:
    """A pickle that would create a file when read."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return Path.touch, (Path("harmed"),)  # type: ignore[return-value]


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def edit_state(folder: Path, **changes: Tensor | None) -> None:
    """Keys with __ for the dot; None removes."""
    state = load_file(folder / "model.safetensors")
    for key, value in changes.items():
        state.pop(key.replace("__", "."), None)
        state |= {} if value is None else {key.replace("__", "."): value}
    save_file(state, folder / "model.safetensors")


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


NORM = "model__blocks__0__norm1__weight"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "another model": (lambda f: edit_config(f, model_type="dasheng"), "'dasheng' model; expected 'eat'"),
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "no heads": (lambda f: edit_config(f, num_heads=None), r"num_heads (missing); expected whole numbers"),
    "odd heads": (lambda f: edit_config(f, num_heads=5), "embed_dim 64 is no multiple of num_heads 5"),
    "no number": (lambda f: edit_config(f, norm_eps="small"), "norm_eps 'small'; expected numbers above 0"),
    "pre-norm": (lambda f: edit_config(f, layer_norm_first=True), "layer_norm_first is True; expected False"),
    "other patches": (lambda f: edit_config(f, stride=10), "stride is 10; expected 16"),
    "short table": (lambda f: edit_config(f, max_length=32), "max_length is 32; a window has 64 steps"),
    "missing key": (lambda f: edit_state(f, **{NORM: None}), "1 missing: blocks.0.norm1.weight"),
    "unexpected key": (lambda f: edit_state(f, model__extra=torch.ones(1)), "1 unexpected: extra"),
    "foreign key": (lambda f: edit_state(f, encoder__norm=torch.ones(1)), "not begin with 'model.': encoder.norm"),
    "half a head": (lambda f: edit_state(f, model__head__bias=torch.ones(527)), "3 missing: fc_norm.bias, fc_norm"),
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
        load(f"eat={folder}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


FILES: dict[str, tuple[Any, str]] = {
    "code": ({"cfg": Harmful(), "model": {}}, "take the safetensors of worstchan/EAT-base_epoch30_pretrain"),
    "no model": ({"cfg": {}}, "has no state dict 'model'"),
    "no tensors": ({"cfg": {}, "model": {"blocks.0.norm1.weight": 3}}, "values that are no tensors"),
    "another family": (
        {"cfg": {"encoder_layers": 2}, "model": {"layer_norm.weight": torch.ones(3)}},
        "depth (missing)",
    ),
}


@pytest.mark.parametrize("content", FILES)
def test_a_file_that_cannot_work_is_one_line(tmp_path: Path, content: str) -> None:
    """A pickle of objects, as fairseq writes them, is not run; its message says what to take instead."""
    torch.save(FILES[content][0], tmp_path / "model.pt")
    with pytest.raises(WeightsError) as caught:
        load(f"eat={tmp_path / 'model.pt'}")
    assert FILES[content][1] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("harmed").exists()


def test_a_file_in_a_folder_is_answered_with_the_folder() -> None:
    """Safetensors alone have no configuration."""
    with pytest.raises(WeightsError, match=r"alone does not say its architecture\. Give its folder"):
        Eat.identify(parse_encoder(f"eat={FOLDER / 'model.safetensors'}"), SECTION)


@pytest.mark.parametrize(
    ("name", "hub_id"), [("eat", "worstchan/EAT-base_epoch30_pretrain"), ("sslam", "ta012/SSLAM_")]
)
def test_weights_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, hub_id: str) -> None:
    """Offline and not in the cache: one line with the hub id, the command and the control."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=f"`hf download {hub_id}.*random:{name}:"):
        Eat.identify(parse_encoder(name), SECTION)


def test_variant_must_fit_the_folder() -> None:
    """eat:large=FOLDER with a smaller model inside is refused, since the name would be a lie in every table."""
    with pytest.raises(WeightsError, match="is not eat:large"):
        Eat.identify(parse_encoder(f"eat:large={FOLDER}"), SECTION)


def test_unknown_variant_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no variant 'larg'\. Did you mean 'large'\?"):
        Eat.identify(parse_encoder("random:eat:larg"), SECTION)


# --- the contract ---


@pytest.mark.parametrize("name", ["eat", "sslam"])
def test_untrained_follows_its_seed(name: str) -> None:
    """The same bits for a seed, others for another, and nobody else's random numbers are drawn."""
    state = torch.random.get_rng_state()
    one, again, other = (load(f"random:{name}={FOLDER}", init_seed=seed) for seed in (0, 0, 1))
    load(f"{name}={FOLDER}")
    assert torch.equal(torch.random.get_rng_state(), state)
    (first,), (second,), (third,) = (encoder.encode([noise(1.0)], [3]) for encoder in (one, again, other))
    assert torch.equal(first, second)
    assert not torch.allclose(first, third, atol=0.1)


@pytest.mark.parametrize(
    ("text", "size"), [("eat", (768, 12, 12)), ("eat:large", (1024, 24, 16)), ("sslam", (768, 12, 12))]
)
def test_untrained_has_the_published_size(text: str, size: tuple[int, int, int]) -> None:
    """Width, depth and heads of the base and large models, without making them."""
    spec = parse_encoder(f"random:{text}")
    assert tuple(Eat.identify(spec, SECTION)["size"].values()) == size
    assert Eat.depth_of(spec, SECTION) == size[1]


def test_untrained_of_published_size_encodes() -> None:
    """random:sslam is made from nothing and gives 768 numbers for each of 8 tokens."""
    encoder = load("random:sslam")
    assert encoder.depth == 12
    assert encoder.encode([noise(0.1)], [0, 12])[0].shape == (2, 8, 768)


def test_alone_equals_in_batch(encoder: Eat) -> None:
    """Bit for bit, whatever else is in the batch, and whichever other layers are asked for."""
    waveforms = [noise(seconds, seed) for seed, seconds in enumerate((1.7, 0.2, 2.9))]
    together = encoder.encode(waveforms, [0, 1, 2, 3])
    for waveform, tokens in zip(waveforms, together, strict=True):
        assert torch.equal(tokens, encoder.encode([waveform], [0, 1, 2, 3])[0])
        assert torch.equal(tokens[[2, 0]], encoder.encode([waveform], [2, 0])[0])


def test_last_tenth_matters(encoder: Eat) -> None:
    """Other samples in the last tenth of a clip change its last token."""
    waveform = noise(1.7)
    changed = torch.cat([waveform[: -len(waveform) // 10], noise(1.0, 7)[: math.ceil(len(waveform) / 10)]])
    before, after = (encoder.encode([wave], [3])[0] for wave in (waveform, changed))
    assert before.shape == after.shape
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-2)


@pytest.mark.parametrize(
    ("samples", "num_tokens"),
    [(400, 8), (2959, 8), (2960, 16), (27_200, 88), (160_000, 504), (163_840, 512)],
)
def test_number_of_tokens(encoder: Eat, samples: int, num_tokens: int) -> None:
    """A frame of 400 samples every 160, sixteen frames begun make a step of 8: 1, 16, 17, 168, 998, 1022 frames."""
    assert encoder.num_tokens(samples) == num_tokens
    assert encoder.encode([torch.zeros(samples)], [0])[0].shape == (1, num_tokens, 64)


def test_long_clip_is_its_windows_joined(encoder: Eat) -> None:
    """25 s are two windows of 10.24 s with 512 tokens each, and the rest."""
    waveform, size = noise(25.0), 163_840
    pieces = [encoder.encode([waveform[at : at + size]], [3])[0] for at in (0, size, 2 * size)]
    found = encode_clips(encoder, [waveform], [3])[0].features.values
    assert torch.equal(found, torch.cat(pieces, dim=1))
    assert found.shape[1] == 2 * 512 + 8 * 29  # 4.52 s have 450 frames


def test_identity_says_what_decides_the_output(tmp_path: Path) -> None:
    """Name, weights, seed and shape change it, all as JSON; the layer and where the copy lies do not."""

    def identity(text: str, **section: Any) -> str:
        return canonical_json(Eat.identify(parse_encoder(text), EncoderSection(**section)))

    shutil.copytree(FOLDER, copy := tmp_path / "copy")
    assert identity(f"eat={copy}") == identity(f"eat={FOLDER}@1")
    edit_state(copy, **{NORM: torch.ones(64)})
    texts = [
        f"eat={FOLDER}",
        f"eat={copy}",
        f"sslam={FOLDER}",
        f"random:eat={FOLDER}",
        "random:eat",
        "random:eat:large",
    ]
    identities = [identity(text) for text in texts] + [identity("random:eat", init_seed=1)]
    assert len(set(identities)) == len(identities)
    assert json.loads(identities[0])["front_end"]["target_frames"] == 1024
    assert Eat.origin(parse_encoder(texts[0]), SECTION) == {"weights": str(FOLDER)}
    assert Eat.origin(parse_encoder(texts[3]), SECTION) == {"weights": "untrained"}
