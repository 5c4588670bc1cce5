"""checkpoints: nothing is executed, damage is noticed, and a module takes all of a state dict or nothing."""

import os
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from palprobe.encoders.checkpoints import load_exactly, read_checkpoint, state_of
from palprobe.errors import WeightsError

STATE = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(2)}


class Bomb:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return (Path("exploded").mkdir, ())


class Shell:
    """Runs a command when it is unpickled; torch refuses some modules by other words."""

    def __reduce__(self):
        return (os.system, ("mkdir exploded",))


def test_both_formats_are_read(tmp_path):
    """A safetensors file and a file of torch.save hold the same tensors."""
    save_file(STATE, tmp_path / "a.safetensors")
    torch.save({"cfg": {"layers": 2}, "model": STATE}, tmp_path / "a.pt")
    for state in (read_checkpoint(tmp_path / "a.safetensors"), read_checkpoint(tmp_path / "a.pt")["model"]):
        assert all(torch.equal(state[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("bomb", [Bomb, Shell])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused_and_not_run(tmp_path, zipped, bomb):
    """A pickle that would call something is named as such, in both layouts of torch.save, and calls nothing."""
    path = tmp_path / "bomb.pt"
    torch.save({"model": STATE, "extra": bomb()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="can run code"):
        read_checkpoint(path)
    assert not Path("exploded").exists()


def test_damage_is_told(tmp_path):
    """Cut, empty, of another kind, or with one flipped byte in a tensor: each is an error that names the file."""
    good = tmp_path / "good.pt"
    torch.save({"model": {"weight": torch.arange(4096.0)}}, good)
    content = good.read_bytes()
    with zipfile.ZipFile(good) as archive:
        entry = next(entry for entry in archive.infolist() if entry.file_size == 4 * 4096)
    place = entry.header_offset + 2000  # inside the tensor's bytes
    flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    for name, damaged in {"cut": content[:-200], "empty": b"", "text": b"hello", "flipped": flipped}.items():
        path = tmp_path / f"{name}.pt"
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match=rf"{name}\.pt is damaged"):
            read_checkpoint(path)
    save_file(STATE, tmp_path / "s.safetensors")
    (tmp_path / "s.safetensors").write_bytes((tmp_path / "s.safetensors").read_bytes()[:-4])
    with pytest.raises(WeightsError, match=r"s\.safetensors is damaged"):
        read_checkpoint(tmp_path / "s.safetensors")
    with pytest.raises(WeightsError, match="There is no file"):
        read_checkpoint(tmp_path / "absent.pt")


def test_a_state_dict_is_found(tmp_path):
    """The named state dict, or what is there instead of it."""
    assert state_of({"model": STATE}, "model", tmp_path).keys() == STATE.keys()
    with pytest.raises(WeightsError, match="no state dict 'model'; it holds weight, bias"):
        state_of(STATE, "model", tmp_path)
    with pytest.raises(WeightsError, match="no tensors: b"):
        state_of({"model": {"a": torch.zeros(1), "b": 3}}, "model", tmp_path)


def test_all_or_nothing(tmp_path):
    """Missing, unexpected and misshapen keys are listed together, and the module keeps what it had."""
    module = nn.Linear(3, 2)
    load_exactly(module, STATE, source=tmp_path)
    assert torch.equal(module.weight, STATE["weight"])
    wrong = {"weight": torch.zeros(3, 2), "other": torch.zeros(1)}
    with pytest.raises(WeightsError) as caught:
        load_exactly(module, wrong, source=tmp_path)
    for text in ("1 missing: bias", "1 unexpected: other", "1 of another shape: weight (3, 2) instead of (2, 3)"):
        assert text in str(caught.value)
    assert torch.equal(module.weight, STATE["weight"])
