"""Shared by all tests: offline, and small inputs made on the spot."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from pathlib import Path

import numpy as np
import pytest
import soundfile

SAMPLE_RATE = 16_000
PLAIN = ("--set", "rigor=quick", "--set", "controls=[]")  # one seed, and nothing beside what is compared
TONES = {"low": 300.0, "middle": 900.0, "high": 2700.0}  # Hz


def write_tone(path: Path, hertz: float, *, seconds: float = 0.6, seed: int = 0) -> Path:
    """A tone in a little noise, 16-bit."""
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(seed).normal(size=len(times))
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * times) + 0.01 * noise, SAMPLE_RATE, subtype="PCM_16")
    return path


@pytest.fixture(scope="session")
def tones(tmp_path_factory) -> Path:
    """A manifest of 36 clips of three tones, in three folds of twelve: learnable in a few steps."""
    folder = tmp_path_factory.mktemp("tones")
    rows = ["id,audio,label,fold"]
    for number in range(36):
        label = list(TONES)[number % 3]
        write_tone(folder / f"{number}.wav", TONES[label] * (1 + 0.01 * number), seed=number)
        rows.append(f"clip-{number},{number}.wav,{label},{number // 12}")
    (folder / "tones.csv").write_text("\n".join(rows) + "\n")
    return folder / "tones.csv"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test works in an empty folder of its own, so none leaves features or runs behind."""
    monkeypatch.chdir(tmp_path)
