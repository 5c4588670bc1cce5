"""encoders/custom: a user's own class, its neighbours, its weights, its untrained control and its faults."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from palprobe.encoders.custom import UserEncoder
from palprobe.encoders.custom_import import neighbours_unchanged
from palprobe.encoders.options import stored_layers
from palprobe.encoders.windows import encode_clips
from palprobe.errors import EncoderError, UsageError
from palprobe.recipe import EncoderSection
from palprobe.specs import EncoderSpec, parse_encoder

SECTION = EncoderSection()


def clip(seconds: float, rate: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(round(seconds * rate), generator=generator)


def spec_of(tmp_path: Path, code: str, name: str = ":Mine", prefix: str = "") -> EncoderSpec:
    path = tmp_path / "mine.py"
    path.write_text("import torch\nfrom torch import nn\n" + code)
    return parse_encoder(f"{prefix}{path}{name}")


def user(tmp_path: Path, code: str, name: str = ":Mine", prefix: str = "") -> UserEncoder:
    return UserEncoder.load(spec_of(tmp_path, code, name, prefix), SECTION, device="cpu")


def features(encoder: UserEncoder, waveform: Tensor) -> Tensor:
    values = encode_clips(encoder, [waveform], [encoder.depth])[0].features.values
    assert values.shape[0] == 1  # one layer
    return values[0]


PLAIN = """
class Mine:
    sample_rate, frame_rate, dim = 16_000, 50.0, 1

    def encode(self, waveform):
        return waveform.unfold(0, 320, 320).abs().mean(dim=1, keepdim=True)
"""


def test_plain_user_class_works_without_its_name(tmp_path: Path) -> None:
    """A class of one method, found as the only one of its file: the mean magnitude of each 20 ms."""
    waveform = clip(0.1, 16_000)
    found = features(user(tmp_path, PLAIN, name=""), waveform)
    expected = np.abs(waveform.numpy()).reshape(5, 320).mean(1, keepdims=True)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_the_documented_example_works(tmp_path: Path) -> None:
    """The class shown in UserEncoder's docstring keeps the contract."""
    lines = (UserEncoder.__doc__ or "").splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip().startswith("class "))
    code = "\n".join(line[8:] for line in lines[start : start + 5])
    assert features(user(tmp_path, code, name=""), clip(1.0, 16_000)).shape == (50, 1)


def test_there_are_no_layers_to_choose(tmp_path: Path) -> None:
    """A user's class has depth 0, so @1 is refused."""
    spec = spec_of(tmp_path, PLAIN, name=":Mine@1")
    assert UserEncoder.depth_of(spec, SECTION) == 0
    with pytest.raises(UsageError, match="no layers"):
        stored_layers(spec, 0)


def test_user_weights_are_in_the_identity(tmp_path: Path) -> None:
    """The same file with other weights on disk is another encoder: of a module held as attribute, and of a tensor."""
    code = f"""
class Mine:
    sample_rate, frame_rate, dim = 16_000, 50.0, 1
    def __init__(self):
        self.net = nn.Linear(1, 1)
        value = torch.load({str(tmp_path / "w.pt")!r})
        self.net.weight.data.fill_(value[0].item())
        self.scale = value[1]
    def encode(self, waveform):
        return self.net(waveform.unfold(0, 320, 320).mean(dim=1, keepdim=True)) * self.scale
"""
    spec = spec_of(tmp_path, code)
    digests = set()
    for values in ([1.0, 1.0], [2.0, 1.0], [1.0, 2.0]):
        torch.save(torch.tensor(values), tmp_path / "w.pt")
        digests.add(UserEncoder.identify(spec, SECTION)["state_sha256"])
    assert len(digests) == 3


NEIGHBOURED = """
import scale
from .pack import shift
class Mine:
    sample_rate, frame_rate, dim = 16_000, 50.0, 1
    def __init__(self):
        from late import power
        self.power = power
    def encode(self, waveform):
        return waveform.new_full((len(waveform) // 320, 1), scale.FACTOR * 100 + shift.BY * 10 + self.power)
"""


def neighbours(folder: Path, factor: int) -> None:
    (folder / "pack").mkdir(parents=True, exist_ok=True)
    (folder / "pack" / "__init__.py").write_text("")
    (folder / "pack" / "shift.py").write_text("BY = 2\n")
    (folder / "scale.py").write_text(f"FACTOR = {factor}\n")
    (folder / "late.py").write_text("power = 3\n")


def test_neighbours_are_imported_and_told(tmp_path: Path) -> None:
    """Modules beside the file are found, absolutely and relatively, and each is in the identity by its bytes."""
    neighbours(tmp_path, factor=1)
    spec = spec_of(tmp_path, NEIGHBOURED)
    assert features(UserEncoder.load(spec, SECTION, device="cpu"), clip(0.1, 16_000)).unique().tolist() == [123.0]
    identity = UserEncoder.identify(spec, SECTION)
    assert list(identity["neighbours"]) == ["late.py", "pack/__init__.py", "pack/shift.py", "scale.py"]
    assert neighbours_unchanged(identity, tmp_path / "mine.py")
    (tmp_path / "scale.py").write_text("FACTOR = 4\n")  # in the same second, with the same size
    assert not neighbours_unchanged(identity, tmp_path / "mine.py")
    assert features(UserEncoder.load(spec, SECTION, device="cpu"), clip(0.1, 16_000)).unique().tolist() == [423.0]
    assert UserEncoder.identify(spec, SECTION)["neighbours"]["scale.py"] != identity["neighbours"]["scale.py"]
    (tmp_path / "late.py").unlink()
    assert not neighbours_unchanged(identity, tmp_path / "mine.py")


def test_neighbours_of_two_encoders_do_not_meet(tmp_path: Path) -> None:
    """Two folders with modules of the same names: each encoder has its own, and no trace is left in the interpreter."""
    path = list(sys.path)
    found = []
    for factor in (5, 6):
        folder = tmp_path / str(factor)
        neighbours(folder, factor)
        found.append(features(user(folder, NEIGHBOURED), clip(0.1, 16_000)).unique().item())
    assert found == [523.0, 623.0]
    assert sys.path == path and not {"scale", "late", "pack"} & set(sys.modules)
    assert not list(tmp_path.rglob("__pycache__"))


def test_an_edited_file_is_run_as_it_is_now(tmp_path: Path) -> None:
    """A change within the same second, of the same length, is seen: no compiled copy is believed."""
    for value in (3, 4):
        code = PLAIN.replace("waveform.unfold", f"{value} * waveform.unfold")
        expected = value * np.abs(clip(0.1, 16_000).numpy()).reshape(5, 320).mean(1, keepdims=True)
        np.testing.assert_allclose(features(user(tmp_path, code), clip(0.1, 16_000)).numpy(), expected, rtol=1e-6)


def test_it_leaves_stdout_and_torch_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it prints goes to stderr; switched-off gradients, another default dtype and its seeds end with its code."""
    code = "torch.set_grad_enabled(False)\ntorch.set_default_dtype(torch.float64)\nprint('imported')\n" + PLAIN.replace(
        "return", "torch.manual_seed(7); print('encoding'); return"
    ).replace("def encode", "def __init__(self):\n        torch.manual_seed(7)\n\n    def encode")
    state = torch.random.get_rng_state()
    encoder = user(tmp_path, code)
    assert torch.equal(torch.random.get_rng_state(), state)
    features(encoder, clip(0.1, 16_000))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "imported\nencoding\n")
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32


def test_untrained_user_class_is_initialised_anew(tmp_path: Path) -> None:
    """Under random: the weights that the constructor loaded are gone, linear and normalisation layers alike."""
    code = """
class Mine(nn.Module):
    sample_rate, frame_rate, dim = 16_000, 50.0, 4
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(320, 4), nn.LayerNorm(4))
        for parameter in self.parameters():
            nn.init.constant_(parameter, 7.0)
    def forward(self, waveform):
        return self.net(waveform.unfold(0, 320, 320))
"""
    waveform = clip(0.1, 16_000)
    trained, untrained = (features(user(tmp_path, code, prefix=prefix), waveform) for prefix in ("", "random:"))
    assert torch.allclose(trained, torch.full((5, 4), 7.0))  # equal channels: the normalisation leaves its bias
    torch.testing.assert_close(untrained.mean(1), torch.zeros(5), rtol=0, atol=1e-6)  # weight 1, bias 0 again
    assert torch.equal(untrained, features(user(tmp_path, code, prefix="random:"), waveform))


def test_outer_rule_of_initialisation_has_the_last_word(tmp_path: Path) -> None:
    """A class whose own reset_parameters sets an inner layer finds that layer as it set it."""
    code = """
class Mine(nn.Module):
    sample_rate, frame_rate, dim = 16_000, 50.0, 1
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(320, 1)
    def reset_parameters(self):
        nn.init.zeros_(self.net.weight)
        nn.init.constant_(self.net.bias, 0.5)
    def forward(self, waveform):
        return self.net(waveform.unfold(0, 320, 320))
"""
    found = features(user(tmp_path, code, prefix="random:"), clip(0.1, 16_000))
    assert torch.equal(found, torch.full((5, 1), 0.5))


BROKEN = {
    "syntax": ("class Mine(:\n", "line 3: SyntaxError"),
    "import": ("import no_such_package\n", "line 3: ModuleNotFoundError: No module named 'no_such_package'"),
    "exit": ("import sys\nsys.exit('usage: mine.py AUDIO')\n", "line 4: SystemExit: usage: mine.py AUDIO"),
    "constructor": (
        PLAIN + "    def __init__(self):\n        raise ValueError('no\\nweights')\n",
        "line 10: ValueError: no weights",
    ),
    "encode": (PLAIN.replace("waveform.unfold", "waveform.unfolt"), "line 8: AttributeError"),
    "attributes": (PLAIN.replace("frame_rate, dim", "rate, size"), "lacks frame_rate, dim"),
    "value": (PLAIN.replace("50.0", "-50.0"), "frame_rate is -50.0; expected a positive number"),
    "kind": (PLAIN + "    kind = 'music'\n", "kind is 'music'"),
    "rate": (PLAIN.replace("50.0", "25.0"), "gave 50 tokens for 1.000 s, which is 50 time steps per second"),
    "dim": (PLAIN.replace("50.0, 1", "50.0, 2"), "gave a tensor (50, 1); expected (T, 2)"),
    "type": (PLAIN.replace("keepdim=True)", "keepdim=True).numpy()"), "gave ndarray"),
    "integers": (PLAIN.replace("keepdim=True)", "keepdim=True).long()"), "torch.int64"),
    "not finite": (PLAIN.replace("keepdim=True)", "keepdim=True) / 0"), "50 non-finite of 50 numbers"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_fault_in_a_users_file_is_one_line(tmp_path: Path, fault: str) -> None:
    """An EncoderError that names the file and, where there is one, the line."""
    code, expected = BROKEN[fault]
    with pytest.raises(EncoderError) as caught:
        features(user(tmp_path, code), clip(1.0, 16_000))
    message = str(caught.value)
    assert expected in message
    assert str(tmp_path / "mine.py") in message
    assert "\n" not in message


def test_fault_in_a_neighbour_names_the_line_that_asked_for_it(tmp_path: Path) -> None:
    """The line is one of the encoder's own file, not the number of a line of the other file."""
    (tmp_path / "scale.py").write_text("\n" * 20 + "FACTOR = (\n")
    with pytest.raises(EncoderError, match=r"mine\.py, line 4: SyntaxError"):
        user(tmp_path, NEIGHBOURED)


def test_user_class_must_be_named_where_there_are_two(tmp_path: Path) -> None:
    """Two candidates, or a misspelt one: the message lists them; an imported class is no candidate."""
    two = PLAIN + PLAIN.replace("Mine", "Yours")
    with pytest.raises(UsageError, match=r"2 encoder classes: Mine, Yours\."):
        user(tmp_path, two, name="")
    with pytest.raises(UsageError, match="Did you mean 'Yours'"):
        user(tmp_path, two, name=":Your")
    with pytest.raises(UsageError, match="0 encoder classes: none"):
        user(tmp_path, "from torch.nn import Linear\n", name="")
    with pytest.raises(UsageError, match=r"there is no file 'no/such/file\.py'"):
        UserEncoder.identify(parse_encoder("no/such/file.py:Class"), SECTION)


def test_untrained_user_class_needs_weights_and_rules(tmp_path: Path) -> None:
    """random: of a class without parameters, or with some that nothing would reset, is an error that names them."""
    with pytest.raises(EncoderError, match="has no parameters"):
        user(tmp_path, PLAIN, prefix="random:")
    bare = """
class Mine(nn.Module):
    sample_rate, frame_rate, dim = 16_000, 50.0, 4
    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.ones(4))
    def forward(self, waveform):
        return self.token.expand(len(waveform) // 320, 4)
"""
    with pytest.raises(EncoderError, match=r"self\.token would stay trained"):
        user(tmp_path, bare, prefix="random:")
