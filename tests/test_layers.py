"""Layers end to end: `@all` is a row for each layer from one forward pass, `@weighted` reports what it weighs."""

import json
from pathlib import Path

import pytest
from conftest import PLAIN
from typer.testing import CliRunner

from palprobe.cli import app
from palprobe.encoders.hf.encoder import HFEncoder

SMALL = [*PLAIN, "--set", "train.steps=4", "--set", "train.batch_size=8", "--set", "encoder.untrained_window_seconds=1"]
LAST = 4  # of Whisper-tiny


@pytest.fixture
def passes(monkeypatch):
    """The layers of each forward pass of a Hugging Face encoder."""
    seen: list[tuple[int, ...]] = []
    real = HFEncoder._encode_one
    monkeypatch.setattr(
        HFEncoder,
        "_encode_one",
        lambda self, waveform, layers: (seen.append(tuple(layers)), real(self, waveform, layers))[1],
    )
    return seen


def palprobe(*arguments):
    done = CliRunner().invoke(app, [*arguments, *SMALL], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def test_every_layer_is_a_row(tones, passes):
    """36 clips are encoded once for five layers; compare has a row for each layer, and planned lines name them.

    Of each there is one of the test and one of the validation, by which the layer is chosen.
    """
    arguments = ["compare", "--encoders", "random:whisper:tiny@all", "--tasks", str(tones), "--folds", "1"]
    rows = palprobe(*arguments, "--integrations", "lal", "--format", "json").stdout
    found = [row for row in json.loads(rows) if row["metric"] == "accuracy" and row["split"] == "test"]
    accuracy = [row for row in found if row["layer"] != "best"]
    assert [row["encoder"] for row in found[len(accuracy) :]] == ["random:whisper:tiny@best"]
    chosen_by = [row for row in json.loads(rows) if row["metric"] == "accuracy" and row["split"] == "validation"]
    assert [row["run_id"] for row in chosen_by] == [row["run_id"] for row in accuracy]
    assert [row["encoder"] for row in accuracy] == [f"random:whisper:tiny@{layer}" for layer in range(LAST + 1)]
    assert [row["layer"] for row in accuracy] == [str(layer) for layer in range(LAST + 1)]
    assert passes == [tuple(range(LAST + 1))] * 36
    assert len(list(Path("features").glob("*/store.json"))) == LAST + 1
    lines = palprobe(*arguments, "--integrations", "lal", "--plan=all").stdout.splitlines()
    assert sum(line.startswith("palprobe extract") for line in lines) == 1
    assert sum(line.startswith("palprobe train") for line in lines) == LAST + 1
    assert sum("--split validation" in line for line in lines) == LAST + 1


def test_layers_named_one_by_one_share_a_pass(tones, passes):
    """Two layers and a mean of the same encoder are three stores from one pass over the clips."""
    specs = ",".join(f"random:whisper:tiny@{layer}" for layer in ("1", "mean:2-3", "4"))
    palprobe("compare", "--encoders", specs, "--tasks", str(tones), "--folds", "0", "--integrations", "plits")
    assert passes == [(1, 2, 3, 4)] * 36


def test_mixed_layers_tell_their_weights(tones, passes):
    """`@weighted` reads the stores of all layers; its weights add up to one, and result and report both hold them."""
    arguments = ["--encoders", "random:whisper:tiny@weighted", "--tasks", str(tones), "--folds", "2"]
    palprobe("compare", *arguments, "--integrations", "lal")
    (result,) = (json.loads(path.read_text()) for path in Path("runs").rglob("result.json"))
    assert len(result["layer_weights"]) == LAST + 1
    assert sum(result["layer_weights"]) == pytest.approx(1)
    assert result["layer_weights"] != [0.2] * 5, "training moves them"
    assert "layers 0 to 4 weigh" in Path("results/compare/report.md").read_text()
    assert passes == [tuple(range(LAST + 1))] * 36


def test_training_on_all_layers_at_once_is_refused(tones):
    """`train --encoder X@all` is several runs: the message says what to write."""
    from palprobe.errors import UsageError

    with pytest.raises(UsageError, match=r"one run for each layer\. Name one"):
        CliRunner().invoke(
            app, ["train", "--encoder", "random:whisper:tiny@all", "--task", str(tones), *SMALL], catch_exceptions=False
        )
