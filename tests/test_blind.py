"""The blind probe: as many constant tokens for every clip as an encoder would show, and nothing about any clip."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import PLAIN
from safetensors.numpy import load_file
from test_bad_input import palprobe, refused  # noqa: F401 - fixtures

from palprobe.errors import UsageError
from palprobe.features.constant import constant_of, is_blind, shown_encoder
from palprobe.files import read_json

CONSTANT = """
import torch
class Same:
    sample_rate, frame_rate, dim = 16000, 25.0, 4
    def encode(self, waveform):
        return torch.full((len(waveform) // 640, 4), 0.3)
"""
SECONDS = {"short": 0.2, "long": 1.0}  # 5 and 25 tokens
QUICK = ["--set", "train.batch_size=8", "--set", "scoring.bootstrap_draws=200", "--format", "json", *PLAIN]


def noises(name, seconds, *, share_long=0.5):
    """A manifest of 40 clips of noise whose labels are long and short; how long they are is given."""
    rng = np.random.default_rng(0)
    rows = ["id,audio,label,split"]
    for number in range(40):
        label = "long" if (number * share_long) % 1 < share_long else "short"
        path = Path(f"{name}{number}.wav")
        soundfile.write(path, 0.1 * rng.standard_normal(round(16_000 * seconds(label))), 16_000)
        rows.append(f"{name}{number},{path},{label},{'test' if number >= 24 else 'train'}")
    Path(f"{name}.csv").write_text("\n".join(rows) + "\n")
    return f"{name}.csv"


def scores_of(run):
    """(E, choices) log likelihoods of a run's test."""
    lines = (Path("runs") / run / "eval/test-likelihood/predictions.jsonl").read_text().splitlines()
    return np.array([list(json.loads(line)["scores"].values()) for line in lines])


@pytest.mark.parametrize("integration", ["lal", "flamingo"])
def test_blind_learns_how_often_answers_are_right_and_no_clip_s_length(palprobe, integration):  # noqa: F811
    """Where length gives the answer away and three of four are long, every item gets the same scores, near those
    shares; the constant is learned: the connector's biases move, behind Flamingo's closed gates too. No features."""
    task = noises("told", SECONDS.__getitem__, share_long=0.75)
    cell = ["--encoder", "blind:25", "--task", task, "--integration", integration, *QUICK[:4], *PLAIN]
    code, out, err = palprobe("train", *cell, "--set", "train.steps=30")
    assert code == 0, err
    run = Path(out.strip())
    code, out, err = palprobe("eval", run, "--format", "json")
    assert code == 0, err
    row = next(row for row in json.loads(out) if row["metric"] == "accuracy")
    assert (row["encoder"], row["control"], row["score"], row["audio_tokens"]) == ("blind", "blind", 0.75, 25.0)
    scores = scores_of(run.name)
    assert np.ptp(scores, axis=0).max() < 1e-5  # but for rounding
    assert 0.4 < abs(scores[0, 0] - scores[0, 1]) < 2.2  # log(3) = 1.1 is right; smoothing and few steps pull it in
    trained = load_file(run / "probe.safetensors")
    assert all(abs(trained[f"branches.0.integration.connector.{at}.bias"]).max() > 1e-4 for at in (1, 3))
    assert read_json(run / "identity.json")["features"] == [{"control": "blind", "tokens": 25}]


def test_an_encoder_that_says_nothing_scores_at_blind(palprobe):  # noqa: F811
    """Constant features of clips of one length: the score lies in the interval of the blind one, and both guess."""
    Path("same.py").write_text(CONSTANT)
    task = noises("equal", lambda _: 0.4)
    words = ["compare", "--encoders", "same.py:Same", "--tasks", task, "--integrations", "plits", *QUICK]
    code, out, err = palprobe(*words, "--set", "train.steps=12", "--set", "controls=[blind]")
    assert code == 0, err
    rows = {row["encoder"]: row for row in json.loads(out) if row["metric"] == "accuracy"}
    assert rows["blind"]["ci_low"] <= rows["same.py:Same"]["score"] <= rows["blind"]["ci_high"]
    assert rows["blind"]["audio_tokens"] == rows["same.py:Same"]["audio_tokens"] == 10.0


def test_most_shown_decides_and_pooling_counts(palprobe):  # noqa: F811
    """Of two encoders the one with more tokens after pooling: Same's 25 a second, averaged by two, against logmel's."""
    Path("same.py").write_text(CONSTANT.replace("25.0", "50.0").replace("640", "320"))
    task = noises("equal", lambda _: 0.4)
    words = ["compare", "--encoders", "logmel,same.py:Same", "--tasks", task, "--integrations", "lal", *QUICK]
    words += ["--set", "train.steps=1", "--set", "controls=[blind]", "--set", "integration.pool=time:2"]
    code, out, err = palprobe(*words)
    assert code == 0, err
    rows = {row["encoder"]: row["audio_tokens"] for row in json.loads(out) if row["metric"] == "accuracy"}
    assert rows == {"logmel": 5.0, "same.py:Same": 10.0, "blind": 10.0}  # 20 and 10 tokens of 0.4 s, by two


def test_a_spec_of_its_own(refused, tones):  # noqa: F811
    """`blind:N` is N tokens; what is no number, and blind among the compared, are refused."""
    assert is_blind("blind") and is_blind("blind:3") and not is_blind("blinder") and constant_of("blind") is None
    constant = constant_of("blind:3")
    assert (constant.num_tokens("any"), shown_encoder("blind:3"), shown_encoder("a:3")) == (3, "blind", "a:3")
    assert [clip.tolist() for clip in constant.get_many(["a", "b"])] == [[[1.0]] * 3] * 2
    for wrong in ("blind:0", "blind:x", "blind:-1"):
        with pytest.raises(UsageError, match="blind:N"):
            constant_of(wrong)
    refused("compare", "--encoders", "blind:4", "--tasks", tones, code=2, texts=["is a control", "controls=[blind]"])
    cell = ["--encoder", "blind", "--task", tones, "--fold", "0"]
    refused("train", *cell, code=2, texts=["write blind:N"])
