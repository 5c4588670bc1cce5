"""The README says what is there: every module with a phrase, every command, and an encoder example that runs."""

import re
from pathlib import Path

import numpy as np
import torch

from palprobe.recipe import EncoderSection
from palprobe.specs import parse_encoder

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def listed_modules():
    """The modules of the README's file tree, as paths below palprobe/; two spaces a level."""
    folders, found = [], {}
    for line in README.split("    palprobe/\n")[1].splitlines():
        if match := re.fullmatch(r" {6}((?:  )*)(\w+)/", line):
            folders = [*folders[: len(match[1]) // 2], match[2]]
        elif match := re.fullmatch(r" {6}((?:  )*)(\w+\.py) +(\S.*)", line):
            found["/".join([*folders[: len(match[1]) // 2], match[2]])] = match[3]
        else:
            break
    return found


def test_the_file_tree_is_current():
    """Every module stands in the tree with a phrase, and every line of the tree is a module."""
    package = ROOT / "palprobe"
    assert listed_modules().keys() == {str(path.relative_to(package)) for path in package.rglob("*.py")}


def test_every_command_is_described():
    """A command that is not in the README's table is a command that nobody finds."""
    from typer.main import get_command

    from palprobe.cli import app

    for name in get_command(app).commands:
        assert f"`palprobe {name}" in README or f"`{name}`" in README


def test_the_example_encoder_runs(tmp_path):
    """The class that the README shows is a whole encoder: its frame energies are those of a plain loop."""
    from palprobe.encoders import load_encoder
    from palprobe.encoders.windows import encode_clips

    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    (tmp_path / "energy.py").write_text(code)
    spec = parse_encoder(f"{tmp_path / 'energy.py'}:Energy")
    waveform = torch.randn(3200, generator=torch.Generator().manual_seed(0))
    (encoded,) = encode_clips(load_encoder(spec, EncoderSection()), [waveform], [0])
    expected = [float(np.mean(waveform.numpy()[at : at + 320].astype(float) ** 2)) for at in range(0, 3200, 320)]
    np.testing.assert_allclose(encoded.features.values[0, :, 0].numpy(), expected, rtol=1e-5)
