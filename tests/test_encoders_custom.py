"""encoders/custom: a user's own class, its weights, its untrained control and its faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_encoders import SECTION, clip, features

from palprobe.encoders import identify, load_encoder
from palprobe.encoders.custom import UserEncoder
from palprobe.errors import EncoderError, UsageError
from palprobe.recipe import parse_encoder
from palprobe.types import Encoder


def user(tmp_path: Path, code: str, name: str = ":Mine", prefix: str = "") -> Encoder:
    path = tmp_path / "mine.py"
    path.write_text("import torch\nfrom torch import nn\n" + code)
    return load_encoder(parse_encoder(f"{prefix}{path}{name}"), SECTION)


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
    digests = set()
    for values in ([1.0, 1.0], [2.0, 1.0], [1.0, 2.0]):
        torch.save(torch.tensor(values), tmp_path / "w.pt")
        user(tmp_path, code)
        digests.add(identify(parse_encoder(f"{tmp_path / 'mine.py'}:Mine"), SECTION)["state_sha256"])
    assert len(digests) == 3


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
    "constructor": (
        PLAIN + "    def __init__(self):\n        raise ValueError('no\\nweights')\n",
        "ValueError: no weights",
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


def test_user_class_must_be_named_where_there_are_two(tmp_path: Path) -> None:
    """Two candidates, or a misspelt one: the message lists them; an imported class is no candidate."""
    two = PLAIN + PLAIN.replace("Mine", "Yours")
    with pytest.raises(UsageError, match=r"2 encoder classes: Mine, Yours\."):
        user(tmp_path, two, name="")
    with pytest.raises(UsageError, match="Did you mean 'Yours'"):
        user(tmp_path, two, name=":Your")
    with pytest.raises(UsageError, match="0 encoder classes: none"):
        user(tmp_path, "from torch.nn import Linear\n", name="")
    with pytest.raises(UsageError, match="no layers"):
        user(tmp_path, PLAIN, name=":Mine@1")


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
