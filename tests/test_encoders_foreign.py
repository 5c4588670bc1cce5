"""encoders/foreign: classes written for xares-llm, X-ARES, HEAR and s3prl run unmodified; what breaks is one line."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from palprobe.encoders.custom_import import source_file
from palprobe.encoders.foreign.frames import constant_rate, coverage, regular_hop
from palprobe.encoders.foreign.hear import HearEncoder
from palprobe.encoders.foreign.interface import ForeignEncoder
from palprobe.encoders.foreign.s3prl import S3prlEncoder
from palprobe.encoders.foreign.xares import XaresEncoder
from palprobe.encoders.windows import encode_clips
from palprobe.errors import EncoderError, PalprobeError, UsageError
from palprobe.files import canonical_json
from palprobe.recipe import EncoderSection
from palprobe.specs import EncoderSpec, parse_encoder

SECTION = EncoderSection()
CLASSES: dict[str, type[ForeignEncoder]] = {"xares": XaresEncoder, "hear": HearEncoder, "s3prl": S3prlEncoder}
HEAD = "import torch\nfrom torch import nn\n"

XARES_LLM = """
class ToyEncoder(nn.Module):
    def __init__(self, output_dim=4):
        super().__init__()
        self.output_dim = output_dim
        self.net = nn.Linear(640, output_dim)
        self.norm = nn.BatchNorm1d(output_dim)
        self.drop = nn.Dropout(0.5)

    def forward(self, audio, audio_attention_mask):
        frames = audio.unfold(1, 640, 640)
        feats = self.drop(self.norm(self.net(frames).transpose(1, 2))).transpose(1, 2)
        mask = None
        if audio_attention_mask is not None:
            mask = audio_attention_mask[:, ::640][:, : feats.shape[1]]
        return feats, mask
"""
X_ARES = """
class ToyEncoder(nn.Module):
    sampling_rate = 8000
    output_dim = 1
    hop_size_in_ms = 10

    def forward(self, audio):
        return audio.unfold(1, 80, 80).square().mean(2, keepdim=True)
"""
HEAR = """
class Model(nn.Module):
    sample_rate = 8000
    timestamp_embedding_size = 3
    scene_embedding_size = 3

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(400, 3)

def load_model(model_file_path=""):
    model = Model()
    if model_file_path:
        model.load_state_dict(torch.load(model_file_path))
    return model

def get_timestamp_embeddings(audio, model):
    emb = model.net(audio.unfold(1, 400, 400))
    timestamps = torch.arange(emb.shape[1]) * 50.0 + 25.0
    return emb, timestamps.expand(audio.shape[0], -1)

def get_scene_embeddings(audio, model):
    return get_timestamp_embeddings(audio, model)[0].mean(1)
"""
S3PRL = """
class Block(nn.Module):
    def forward(self, x):
        return x

class UpstreamExpert(nn.Module):
    def __init__(self, ckpt=None, **kwargs):
        super().__init__()
        self.first = nn.Linear(320, 5)
        self.second = nn.Linear(5, 5)
        if ckpt:
            self.load_state_dict(torch.load(ckpt))

    def get_downsample_rates(self, key):
        return 320

    def forward(self, wavs):
        wav = nn.utils.rnn.pad_sequence(wavs, batch_first=True)
        first = self.first(wav.unfold(1, 320, 320))
        second = self.second(first)
        third = second + 1
        return {"hidden_states": [first, second, third], "last_hidden_state": third}
"""
TOYS = {"xares": XARES_LLM, "hear": HEAR, "s3prl": S3PRL}
NAMES = {"xares": "xares", "x-ares": "xares", "hear": "hear", "s3prl": "s3prl"}


def write(folder: Path, code: str, file: str = "toy.py") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(HEAD + code)
    return folder / file


def load(folder: Path, code: str, name: str = "xares", after: str = "", prefix: str = "") -> ForeignEncoder:
    spec = parse_encoder(f"{prefix}{name}:{write(folder, code)}{after}")
    return CLASSES[name].load(spec, SECTION, device="cpu")


def clip(seconds: float, rate: int = 16_000, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(round(seconds * rate), generator=torch.Generator().manual_seed(seed))


def features(encoder: ForeignEncoder, waveform: Tensor, layer: int | None = None) -> Tensor:
    layers = [encoder.depth if layer is None else layer]
    return encode_clips(encoder, [waveform], layers)[0].features.values[0]


def weights(encoder: ForeignEncoder, name: str) -> Tensor:
    parameter: Tensor = encoder.instance.state_dict()[name]
    return parameter


def test_xares_llm_class_runs(tmp_path: Path) -> None:
    """Its features are those of its own layers in eval mode, by hand; the frame rate, which it lacks, is measured."""
    encoder = load(tmp_path, XARES_LLM)
    waveform = clip(1.0)
    frames = waveform.reshape(25, 640) @ weights(encoder, "net.weight").T + weights(encoder, "net.bias")
    expected = frames / np.sqrt(1 + 1e-5)  # batch normalisation with mean 0 and variance 1, as made
    torch.testing.assert_close(features(encoder, waveform), expected, rtol=1e-4, atol=1e-6)
    assert (encoder.sample_rate, encoder.frame_rate, encoder.dim, encoder.depth) == (16_000, 25.0, 4, 0)
    assert (encoder.bands, encoder.kind, encoder.max_seconds, encoder.min_samples) == (1, "general", None, 640)
    assert encoder.notes == []
    assert encoder.num_tokens(32_000) == 50


def test_x_ares_class_runs(tmp_path: Path) -> None:
    """The other interface is told by its attributes: its own rate in, 1000 / hop_size_in_ms frames a second out."""
    encoder = load(tmp_path, X_ARES)
    waveform = clip(0.5, 8000)
    expected = (waveform.reshape(50, 80) ** 2).mean(1, keepdim=True)
    torch.testing.assert_close(features(encoder, waveform), expected)
    assert (encoder.sample_rate, encoder.frame_rate, encoder.dim) == (8000, 100.0, 1)


def test_hear_module_runs(tmp_path: Path) -> None:
    """Embeddings of the model that load_model makes, from the file after "="; the rate is that of its timestamps."""
    state = {"net.weight": torch.full((3, 400), 0.5), "net.bias": torch.tensor([1.0, 2.0, 3.0])}
    torch.save(state, tmp_path / "weights.pt")
    encoder = load(tmp_path, HEAR, "hear", after=f"={tmp_path / 'weights.pt'}")
    waveform = clip(0.5, 8000)
    expected = 0.5 * waveform.reshape(10, 400).sum(1, keepdim=True) + torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(features(encoder, waveform), expected, rtol=1e-4, atol=1e-5)
    assert (encoder.sample_rate, encoder.frame_rate, encoder.dim) == (8000, 20.0, 3)
    assert load(tmp_path, HEAR, "hear").dim == 3  # without weights
    assert load(tmp_path, HEAR.replace('=""', ""), "hear").dim == 3  # a path that has no default


def test_s3prl_upstream_runs(tmp_path: Path) -> None:
    """The hidden states are its layers, depth is the number of the last, and several come from one pass."""
    encoder = load(tmp_path, S3PRL, "s3prl")
    waveform = clip(0.2)
    first = waveform.reshape(10, 320) @ weights(encoder, "first.weight").T + weights(encoder, "first.bias")
    second = first @ weights(encoder, "second.weight").T + weights(encoder, "second.bias")
    values = encode_clips(encoder, [waveform], [2, 0, 1])[0].features.values
    torch.testing.assert_close(values, torch.stack([second + 1, first, second]), rtol=1e-4, atol=1e-6)
    assert (encoder.sample_rate, encoder.frame_rate, encoder.dim, encoder.depth) == (16_000, 50.0, 5, 2)
    spec = parse_encoder(f"s3prl:{tmp_path / 'toy.py'}")
    assert S3prlEncoder.depth_of(spec, SECTION) == 2
    assert XaresEncoder.depth_of(spec, SECTION) == HearEncoder.depth_of(spec, SECTION) == 0


def test_s3prl_checkpoint_is_the_first_argument(tmp_path: Path) -> None:
    """CKPT reaches the constructor: the weights saved there are the ones in use."""
    torch.save(load(tmp_path, S3PRL, "s3prl").instance.state_dict(), tmp_path / "other.pt")
    before = torch.load(tmp_path / "other.pt")
    torch.save({key: torch.full_like(value, 0.25) for key, value in before.items()}, tmp_path / "other.pt")
    encoder = load(tmp_path, S3PRL, "s3prl", after=f":UpstreamExpert={tmp_path / 'other.pt'}")
    assert weights(encoder, "first.weight").unique().tolist() == [0.25]


def test_arguments_of_an_xares_class(tmp_path: Path) -> None:
    """The JSON after "=" is what the class is made with; what is no JSON object is refused."""
    assert load(tmp_path, XARES_LLM, after='={"output_dim": 7}').dim == 7
    for wrong in ("=7", "={output_dim: 7}", '={"output_dim": NaN}'):
        with pytest.raises(UsageError, match="JSON"):
            load(tmp_path, XARES_LLM, after=wrong)
    with pytest.raises(EncoderError, match=r"ToyEncoder\(\) failed: .*unexpected keyword argument 'size'"):
        load(tmp_path, XARES_LLM, after='={"size": 7}')


@pytest.mark.parametrize("kind", NAMES)
def test_alone_equals_in_batch_and_again(tmp_path: Path, kind: str) -> None:
    """Bit for bit: alone, among others, and after loading anew; frozen, in eval mode, its buffers untouched."""
    code = {**TOYS, "x-ares": X_ARES}[kind]
    encoder = load(tmp_path, code, NAMES[kind])
    before = {key: value.clone() for key, value in encoder.instance.state_dict().items()}
    waveforms = [clip(seconds, encoder.sample_rate, seed) for seed, seconds in enumerate((1.7, 0.3, 2.9))]
    alone = [features(encoder, waveform) for waveform in waveforms]
    together = encode_clips(encoder, waveforms, [encoder.depth])
    anew = load(tmp_path, code, NAMES[kind], prefix="")
    anew.instance.load_state_dict(before)
    for waveform, one, other in zip(waveforms, alone, together, strict=True):
        assert torch.equal(one, other.features.values[0]) and torch.equal(one, features(anew, waveform))
    assert all(torch.equal(value, before[key]) for key, value in encoder.instance.state_dict().items())
    assert not encoder.instance.training
    assert not any(parameter.requires_grad for parameter in encoder.instance.parameters())


@pytest.mark.parametrize("name", TOYS)
def test_untrained_control(tmp_path: Path, name: str) -> None:
    """random: gives the same architecture other weights, by init_seed, and another identity."""
    path = write(tmp_path, TOYS[name])
    states, identities = [], []
    for prefix, seed in (("", 0), ("random:", 0), ("random:", 0), ("random:", 1)):
        spec, section = parse_encoder(f"{prefix}{name}:{path}"), EncoderSection(init_seed=seed)
        encoder = CLASSES[name].load(spec, section, device="cpu")
        states.append(torch.cat([value.flatten().float() for value in encoder.instance.state_dict().values()]))
        identities.append(canonical_json(CLASSES[name].identify(spec, section)))
    assert torch.equal(states[1], states[2]) and not torch.equal(states[1], states[3])
    assert identities[1] == identities[2] and len(set(identities)) == 3


def test_identity_changes_with_what_decides_the_output(tmp_path: Path) -> None:
    """The file, a module beside it, arguments, the bytes of a weights file each change it; the folder does not."""

    def identity(text: str) -> str:
        spec = parse_encoder(text)
        return canonical_json(CLASSES[spec.name].identify(spec, SECTION))

    path = write(tmp_path, XARES_LLM)
    base = identity(f"xares:{path}")
    assert base == identity(f"xares:{write(tmp_path / 'elsewhere', XARES_LLM)}") == identity(f"xares:{path}:ToyEncoder")
    (tmp_path / "elsewhere" / "toy.py").write_text(HEAD + XARES_LLM + "# edited\n")
    others = [identity(f"xares:{tmp_path / 'elsewhere' / 'toy.py'}"), identity(f'xares:{path}={{"output_dim":5}}')]
    for value in ("0", "1"):
        (tmp_path / "size.py").write_text(f"EXTRA = {value}\n")
        others.append(identity(f"xares:{write(tmp_path, 'import size' + XARES_LLM, 'neighboured.py')}"))
    for value in (1.0, 2.0):
        torch.save({"net.weight": torch.full((3, 400), value), "net.bias": torch.ones(3)}, tmp_path / "w.pt")
        others.append(identity(f"hear:{write(tmp_path, HEAR, 'hear_toy.py')}={tmp_path / 'w.pt'}"))
    moved = (tmp_path / "w.pt").rename(tmp_path / "moved.pt")
    assert others[-1] == identity(f"hear:{tmp_path / 'hear_toy.py'}={moved}")
    assert len({base, *others}) == 7
    assert XaresEncoder.origin(parse_encoder(f"xares:{path}"), SECTION) == {"weights": f"made by {path}"}


def test_loud_audio_is_divided_by_its_peak(tmp_path: Path) -> None:
    """As in xares-llm: only where a sample is beyond 1."""
    encoder = load(tmp_path, X_ARES)
    quiet, loud = clip(0.1, 8000), 40 * clip(0.1, 8000)
    assert loud.abs().max() > 1 > quiet.abs().max()
    assert torch.equal(features(encoder, loud), features(encoder, loud / loud.abs().max()))
    assert not torch.equal(features(encoder, quiet), features(encoder, quiet / quiet.abs().max()))


def test_any_path_and_file_name_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute, relative, with a dash, a dot and a blank: names that no import statement could hold."""
    path = write(tmp_path / "a folder", XARES_LLM, "my-encoder v1.2.py")
    monkeypatch.chdir(tmp_path)
    for text in (
        f"xares:{path}",
        "xares:a folder/my-encoder v1.2.py",
        "xares:./a folder/my-encoder v1.2.py:ToyEncoder",
    ):
        assert XaresEncoder.load(parse_encoder(text), SECTION, device="cpu").dim == 4


def test_installed_modules_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """hear:MODULE and s3prl:MODULE:Class are found as Python finds modules; the whole package is in the identity."""
    (tmp_path / "toybox").mkdir()
    (tmp_path / "toybox" / "__init__.py").write_text("")
    write(tmp_path / "toybox", HEAR, "toy_hear.py")
    write(tmp_path / "toybox", S3PRL, "expert.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        spec = parse_encoder("hear:toybox.toy_hear")
        assert HearEncoder.load(spec, SECTION, device="cpu").dim == 3
        assert source_file(spec) == tmp_path / "toybox" / "toy_hear.py"
        upstream = parse_encoder("s3prl:toybox.expert:UpstreamExpert")
        assert S3prlEncoder.load(upstream, SECTION, device="cpu").depth == 2
        before = HearEncoder.identify(spec, SECTION)["package_sha256"]
        (tmp_path / "toybox" / "__init__.py").write_text("# edited\n")
        assert HearEncoder.identify(spec, SECTION)["package_sha256"] != before
        with pytest.raises(UsageError, match=r"'toybox.absent' is neither a .py file nor an installed module"):
            HearEncoder.identify(parse_encoder("hear:toybox.absent"), SECTION)
        with pytest.raises(UsageError, match=r"neither a \.py file nor an installed module"):
            HearEncoder.identify(parse_encoder("hear:nobody.absent"), SECTION)
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "toybox"]:
            del sys.modules[name]


def xares(feats: str, mask: str = "None", extra: str = "") -> str:
    """An xares-llm encoder with 25 frames a second of 2 numbers; `feats` and `mask` may use x, audio and m."""
    return f"""
class ToyEncoder(nn.Module):
    output_dim = 2
    {extra}
    def forward(self, audio, m):
        x = audio.unfold(1, 640, 640).abs().mean(2, keepdim=True).expand(-1, -1, 2)
        return {feats}, {mask}
"""


def test_mask_at_the_sample_rate_is_read_and_told(tmp_path: Path) -> None:
    """An encoder that hands back the mask it got, 16000 numbers for 25 frames: every frame is kept, with a warning."""
    encoder = load(tmp_path, xares("x", "m"))
    assert len(features(encoder, clip(1.0))) == 25
    assert len(encoder.notes) == 1 and "gives its mask a number for each sample" in encoder.notes[0]
    for keeps, frames in (("torch.arange(m.shape[1]) < m.shape[1] - 3200", 20), ("torch.arange(m.shape[1]) > -1", 25)):
        cut = load(tmp_path, xares("x", f"({keeps})[None]"))
        assert len(features(cut, clip(1.0))) == frames


def test_mask_cuts_padding_whatever_its_type(tmp_path: Path) -> None:
    """An encoder that pads to 8 s itself gives the frames that its mask keeps: as int, bool, float or on float64."""
    padded = "nn.functional.pad(x, (0, 0, 0, 200 - x.shape[1]))"
    for dtype in ("int32", "bool", "float16", "float64"):
        mask = f"(torch.arange(200) < x.shape[1])[None].to(torch.{dtype})"
        encoder = load(tmp_path, xares(padded, mask))
        waveform = clip(1.0)
        expected = waveform.reshape(25, 640).abs().mean(1, keepdim=True).expand(-1, 2)
        torch.testing.assert_close(features(encoder, waveform), expected)
        assert encoder.frame_rate == 25.0 and encoder.notes == []


WHISPER_LIKE = """
class ToyEncoder(nn.Module):
    output_dim = 8
    mixing = {mixing}

    def forward(self, audio, mask):
        size = audio.shape[1]
        frames = nn.functional.pad(audio, (0, 96000 - size)).unfold(1, 320, 320)  # 20 ms, 6 s
        x = torch.tanh(frames @ torch.linspace(-1, 1, 320 * 8).reshape(320, 8).sin())
        x = x + self.mixing * x.mean(1, keepdim=True)  # every frame hears of all the others
        frames = -(-size // 320)
        {trim}
"""


@pytest.mark.parametrize("mixing", [0, 1])
def test_dropping_the_second_half_is_found(tmp_path: Path, mixing: int) -> None:
    """Frames counted as if they were halved twice: refused where the rest is unheard, else told where it shows up."""
    right = load(tmp_path, WHISPER_LIKE.format(mixing=mixing, trim="return x[:, :frames], None"))
    assert right.frame_rate == 50.0 and right.notes == []
    wrong = WHISPER_LIKE.format(mixing=mixing, trim="return x[:, : frames // 2], None")
    if mixing:
        encoder = load(tmp_path, wrong)
        assert encoder.frame_rate == 25.0  # steady, and so not suspicious by itself
        assert len(encoder.notes) == 1
        shown = re.search(
            r"what sounds from 0.75 to 1.25 s of a 5 s clip shows in its frames at (.*) s\.", encoder.notes[0]
        )
        assert shown is not None and abs(float(shown[1]) - 2.0) < 0.15  # twice as far into half as many frames
    else:
        with pytest.raises(EncoderError, match=r"same frames whatever sounds from 4.5 to 5 s of a 5 s clip: it drops"):
            load(tmp_path, wrong)


def test_frames_ordered_by_band_are_told(tmp_path: Path) -> None:
    """Patches of 5 bands, all times of one band first: the note says that frames do not follow time."""
    bands = "x.expand(-1, -1, 2).repeat(1, 5, 1) * torch.arange(1, 6).repeat_interleave(x.shape[1])[None, :, None]"
    encoder = load(tmp_path, xares(bands))
    assert any("not in order of time" in note for note in encoder.notes)
    by_time = "x.repeat_interleave(5, dim=1)"
    assert load(tmp_path, xares(by_time)).notes == []


def test_a_random_front_end_is_told(tmp_path: Path) -> None:
    """Dither of a tenth of the signal: the features come out, and a note says that passes differ."""
    encoder = load(tmp_path, xares("x * (1 + 0.1 * torch.rand_like(x))"))
    assert len(encoder.notes) == 1 and "two passes over one clip differ by" in encoder.notes[0]


def test_an_encoder_that_needs_a_window_gets_short_clips_padded(tmp_path: Path) -> None:
    """One that fails below 0.15 s is given 0.2 s: shorter clips are padded to that, and counted."""
    code = xares("x", extra="size = 2400").replace("x = audio", "assert audio.shape[1] >= 2400\n        x = audio")
    encoder = load(tmp_path, code)
    assert encoder.min_samples == 3200
    encoded = encode_clips(encoder, [clip(0.05)], [0])[0]
    assert encoded.padded and encoded.features.values.shape == (1, 5, 2)


def test_an_x_ares_hop_that_is_wrong_is_refused(tmp_path: Path) -> None:
    """A declared hop of 20 ms where frames come every 10 ms."""
    with pytest.raises(
        EncoderError, match=r"100, 300, 500 frames for 1, 3, 5 s; expected 50 per second, as it declares"
    ):
        load(tmp_path, X_ARES.replace("hop_size_in_ms = 10", "hop_size_in_ms = 20"))


BAD_XARES = {
    "no output_dim": (X_ARES.replace("    output_dim = 1\n", ""), "line 4: ToyEncoder lacks output_dim"),
    "output_dim": (xares("x").replace("= 2", "= '2'"), "output_dim is '2'; expected a positive whole number"),
    "half of X-ARES": (X_ARES.replace("sampling_rate", "rate"), "lacks sampling_rate; expected sampling_rate and hop"),
    "one argument": (xares("x").replace(", m):", "):"), "forward does not take (audio, mask): too many positional"),
    "list of lists": (xares("x.tolist()"), "gave list of 1 for one waveform; expected floats of shape (1, T, 2)"),
    "numpy": (xares("x.numpy()"), "gave ndarray for one waveform"),
    "dict": (xares("x").replace("return x, None", "return {'x': x}"), "gave dict; expected (features, mask)"),
    "tensor": (xares("x").replace("return x, None", "return x"), "gave torch.float32 of shape (1, 25, 2); expected (f"),
    "three": (xares("x", "None, None"), "gave tuple of 3; expected (features, mask)"),
    "batch": (xares("x.repeat(2, 1, 1)"), "of shape (2, 25, 2) for one waveform; expected floats of shape (1, T, 2)"),
    "dim": (xares("x.repeat(1, 1, 2)"), "of shape (1, 25, 4) for one waveform"),
    "2-D": (xares("x[0]"), "gave torch.float32 of shape (25, 2) for one waveform"),
    "no frames": (xares("x[:, :0]"), "of shape (1, 0, 2) for one waveform"),
    "integers": (xares("x.long()"), "gave torch.int64 of shape (1, 25, 2) for one waveform"),
    "NaN": (xares("x / 0 * 0"), "gave 50 non-finite of 50 numbers for 16000 samples"),
    "fixed length": (
        xares("x[:, :20]"),
        "gave 20, 20, 20 frames for 1, 3, 5 s; expected more frames for a longer clip",
    ),
    "capped": (xares("x[:, :60]"), "gave 25, 60, 60 frames for 1, 3, 5 s; expected more frames"),
    "no rate": (xares("x[:, : x.shape[1] ** 2 // 40]"), "expected a constant number per second, for the whole clip"),
    "own length": (
        xares("x[:, : x.shape[1] - next(self.calls) % 2]", extra="import itertools; calls = itertools.count()"),
        "for another of that length",
    ),
    "mask length": (xares("x", "torch.ones(1, 7)"), "gave a mask of 7 for 25 frames of 16000 samples; expected 25"),
    "mask rank": (xares("x", "torch.ones(25)"), "gave a mask, torch.float32 of shape (25,); expected a tensor (1, 25)"),
    "mask type": (xares("x", "[1] * 25"), "gave a mask, list of 25; expected a tensor (1, 25), or None"),
    "mask holes": (
        xares("x", "(torch.arange(x.shape[1]) % 2 == 0)[None]"),
        "keeps 13 of 25 frames, not the first ones; expected one that keeps the first",
    ),
    "mask of nothing": (xares("x", "torch.zeros(1, x.shape[1])"), "keeps 0 of 25 frames"),
    "constructor": (
        xares("x", extra="def __init__(self):\n        raise OSError('no weights')"),
        "ToyEncoder() failed: {path}, line 7: OSError: no weights",
    ),
    "forward": (xares("x @ x"), "failed on a waveform of 16000 samples: {path}, line 9: RuntimeError"),
    "property": (
        xares("x").replace("output_dim = 2", "@property\n    def output_dim(self): return int('two')"),
        "cannot be asked what it is: {path}, line 6: ValueError",
    ),
    "training": (xares("self.train() and x"), "puts itself in training mode"),
}


@pytest.mark.parametrize("fault", BAD_XARES)
def test_fault_in_an_xares_class_is_one_line(tmp_path: Path, fault: str) -> None:
    """An EncoderError that names the file and a line in it, at loading: before any feature could be written."""
    code, expected = BAD_XARES[fault]
    with pytest.raises(EncoderError) as caught:
        load(tmp_path, code)
    message = str(caught.value)
    assert expected.format(path=tmp_path / "toy.py") in message
    assert f"{tmp_path / 'toy.py'}, line " in message
    assert "\n" not in message


NO_CLASS = {
    "two": (xares("x") + xares("x").replace("Toy", "Other"), "2 classes of its own whose name ends in Encoder: Toy"),
    "imported": (
        "from torch.nn import TransformerEncoder\n",
        "has 0 classes of its own whose name ends in Encoder: none",
    ),
    "other name": (xares("x").replace("ToyEncoder", "Toy"), "has 0 classes of its own whose name ends in Encoder"),
    "no module": ("class ToyEncoder:\n    output_dim = 2\n", "has 0 classes"),
}


@pytest.mark.parametrize("fault", NO_CLASS)
def test_xares_class_must_be_found(tmp_path: Path, fault: str) -> None:
    """None, or two: the message lists them and says how to choose."""
    code, expected = NO_CLASS[fault]
    with pytest.raises(UsageError) as caught:
        load(tmp_path, code)
    assert expected in str(caught.value) and "toy.py:CLASS" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_named_xares_class_may_have_any_name(tmp_path: Path) -> None:
    """file.py:Class chooses among several, and one whose name ends otherwise; a misspelt name gets the nearest."""
    code = xares("x") + xares("x").replace("ToyEncoder", "Other").replace("= 2", "= 2.0")
    assert load(tmp_path, code, after=":ToyEncoder").dim == 2
    with pytest.raises(EncoderError, match=r"Other: output_dim is 2\.0"):
        load(tmp_path, code, after=":Other")
    with pytest.raises(UsageError, match=r"no class 'Othr' that encodes\. Did you mean 'Other'"):
        load(tmp_path, code, after=":Othr")


BAD_HEAR = {
    "no load_model": (HEAR.replace("def load_model", "def load"), "has no function load_model. HEAR modules have"),
    "no embeddings": (HEAR.replace("def get_timestamp", "def get"), "has no function get_timestamp_embeddings"),
    "no size": (HEAR.replace("timestamp_embedding_size", "size"), "Model lacks timestamp_embedding_size"),
    "model": (HEAR.replace("return model\n", "return None\n"), "NoneType lacks sample_rate, timestamp_embedding_size"),
    "one value": (
        HEAR.replace("return emb, timestamps.expand(audio.shape[0], -1)", "return emb"),
        "gave torch.float32",
    ),
    "no batch": (HEAR.replace(".expand(audio.shape[0], -1)", ""), "gave timestamps, torch.float32 of shape (20,); exp"),
    "irregular": (
        HEAR.replace("* 50.0 + 25.0", "** 1.5 * 50.0"),
        "its timestamps are not regular: 0 ms is followed by 50 ms, where the mean step is 217.945 ms",
    ),
    "seconds": (HEAR.replace("* 50.0 + 25.0", "* 0.05"), "its timestamps go from 0 to 0.95, expected milliseconds"),
    "backwards": (HEAR.replace("* 50.0 + 25.0", "* -50.0 + 1000"), "its timestamps are not regular"),
    "constant": (HEAR.replace("* 50.0 + 25.0", "* 0.0"), "its timestamps are not regular"),
    "NaN": (HEAR.replace("* 50.0 + 25.0", "* float('nan')"), "its timestamps are not regular"),
    "weights": (
        HEAR.replace('path=""', "path='nowhere.pt'"),
        "load_model() failed: {path}, line 16: FileNotFoundError",
    ),
}


@pytest.mark.parametrize("fault", BAD_HEAR)
def test_fault_in_a_hear_module_is_one_line(tmp_path: Path, fault: str) -> None:
    """A missing function, wrong timestamps, a model without attributes: one line that names the file."""
    code, expected = BAD_HEAR[fault]
    with pytest.raises((EncoderError, UsageError)) as caught:
        load(tmp_path, code, "hear")
    message = str(caught.value)
    assert expected.format(path=tmp_path / "toy.py") in message
    assert str(tmp_path / "toy.py") in message and "\n" not in message


BAD_S3PRL = {
    "no hidden states": (
        S3PRL.replace('"hidden_states"', '"states"'),
        "gave a dict with states, last_hidden_state; expected hidden_states, a list of (1, T, D) tensors",
    ),
    "no dict": (S3PRL.replace("return {", "return [{").replace("third}", "third}]"), "gave list of 1; expected a dict"),
    "empty": (S3PRL.replace("[first, second, third]", "[]"), "expected hidden_states, a list"),
    "no tensors": (S3PRL.replace("[first, second, third]", "[1, 2]"), "gave hidden_states of int"),
    "rate": (S3PRL.replace("return 320", "return -320"), "get_downsample_rates is -320; expected a positive number"),
    "wrong rate": (S3PRL.replace("return 320", "return 160"), "expected 100 per second, as it declares"),
    "no rate": (S3PRL.replace("def get_downsample", "def get"), "has 0 classes of its own with get_downsample_rates"),
    "raises": (S3PRL.replace("return 320", "return key.rate"), "get_downsample_rates failed: {path}, line 17: Attrib"),
    "checkpoint": (S3PRL.replace("if ckpt:", "if not ckpt:"), "UpstreamExpert() failed: {path}, line 14: Attribute"),
}


@pytest.mark.parametrize("fault", BAD_S3PRL)
def test_fault_in_an_s3prl_upstream_is_one_line(tmp_path: Path, fault: str) -> None:
    """A dict without hidden_states, a wrong rate, a constructor that fails: one line that names the file."""
    code, expected = BAD_S3PRL[fault]
    with pytest.raises((EncoderError, UsageError)) as caught:
        load(tmp_path, code, "s3prl")
    message = str(caught.value)
    assert expected.format(path=tmp_path / "toy.py") in message
    assert str(tmp_path / "toy.py") in message and "\n" not in message


def test_s3prl_layers_must_be_alike(tmp_path: Path) -> None:
    """Layers of another size or length, or of another number for a longer clip, are refused when they are asked for."""
    size = load(tmp_path, S3PRL.replace("[first,", "[first[..., :3],"), "s3prl")
    with pytest.raises(EncoderError, match=r"of shape \(1, 50, 3\) for one waveform"):
        encode_clips(size, [clip(1.0)], [0, 2])
    length = load(tmp_path, S3PRL.replace("[first,", "[first[:, ::2],"), "s3prl")
    with pytest.raises(EncoderError, match="gave hidden_states of 25, 50 frames"):
        encode_clips(length, [clip(1.0)], [0, 2])
    with pytest.raises(EncoderError, match="gave 2 hidden_states, and 3 for another clip"):
        load(
            tmp_path,
            S3PRL.replace("[first, second, third]", "[first, second, third][: 3 - (len(wav[0]) > 3e4)]"),
            "s3prl",
        )


def test_later_clips_are_held_to_the_rate(tmp_path: Path) -> None:
    """Frames capped at 6 s, beyond what loading tried: the first longer clip is refused, with the number expected."""
    encoder = load(tmp_path, xares("x[:, :150]"))
    assert len(features(encoder, clip(5.9))) == 147
    with pytest.raises(EncoderError, match=r"gave 150 frames for 9\.000 s, 16\.67 per second; expected 25"):
        features(encoder, clip(9.0))


def test_what_a_spec_may_not_ask(tmp_path: Path) -> None:
    """No file, a class of a HEAR module, random: of an encoder without weights: one line each, before anything runs."""
    path = write(tmp_path, HEAR)
    cases: list[tuple[EncoderSpec, str]] = [
        (parse_encoder(f"xares:{tmp_path / 'absent.py'}"), "there is no file"),
        (parse_encoder(f"hear:{path}:Model"), "Model is no part of it"),
        (parse_encoder(f"random:xares:{write(tmp_path, X_ARES, 'x.py')}"), "has no parameters"),
    ]
    for spec, expected in cases:
        for refuse in (
            lambda spec: CLASSES[spec.name].identify(spec, SECTION),
            lambda spec: CLASSES[spec.name].load(spec, SECTION, device="cpu"),
        ):
            with pytest.raises(PalprobeError) as caught:
                refuse(spec)
            assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_rate_is_that_of_the_counts() -> None:
    """(last - first) / seconds between; a declared one must agree with every length, within a step of 0.2 s."""
    assert constant_rate({1.0: 49, 3.0: 149, 5.0: 249}, None, name="toy") == 50.0
    assert constant_rate({1.0: 48, 3.0: 144, 5.0: 248}, None, name="toy") == 50.0  # patches of 8 tokens, 0.16 s
    assert constant_rate({1.0: 1, 3.0: 3, 5.0: 5}, 1 / 0.96, name="toy") == 1 / 0.96
    with pytest.raises(EncoderError, match="expected 100 per second"):
        constant_rate({1.0: 49, 3.0: 149, 5.0: 249}, 100.0, name="toy")
    with pytest.raises(EncoderError, match="for the whole clip"):  # its first second is missing
        constant_rate({1.0: 1, 3.0: 100, 5.0: 200}, None, name="toy")


def test_timestamps_may_be_rounded() -> None:
    """A hop of 23.22 ms in whole milliseconds is regular; one step that is missing is not."""
    times = np.round(np.arange(200) * 23.22)
    assert regular_hop(times, 200 * 0.02322, name="toy") == pytest.approx(23.22, abs=0.01)
    with pytest.raises(EncoderError, match="2322 ms is followed by 2368 ms"):
        regular_hop(np.delete(times, 101), 200 * 0.02322, name="toy")


def test_pooling_over_the_whole_clip_has_no_place() -> None:
    """Frames that all change alike, as after a global mean, say nothing about order: no note."""

    def pooled(waveform: Tensor) -> Tensor:
        return waveform.abs().mean().expand(50, 2)

    assert coverage(pooled, sample_rate=1000, name="toy") == []
