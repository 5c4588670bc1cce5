from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from palprobe.encoders import load_encoder
from palprobe.encoders.windows import encode_clips
from palprobe.features.clips import ClipIndex
from palprobe.features.extraction import extract
from palprobe.features.identity import feature_identities
from palprobe.features.store import FeatureStore
from palprobe.recipe import Recipe
from palprobe.specs import parse_encoder
from palprobe.types import Example

SPEC = parse_encoder("logmel")


def read(example: Example, root: Path) -> Tensor:
    (only,) = feature_identities(SPEC, Recipe())
    return FeatureStore.open(root, only.fields).get(ClipIndex(root).key(example))


def noise(folder: Path, count: int) -> list[Example]:
    """Clips of noise at the rate of logmel, 0.1 s to 0.5 s long, always the same."""
    rng = np.random.default_rng(7)
    examples = []
    for number in range(count):
        path = folder / f"n{number:02}.wav"
        soundfile.write(path, rng.uniform(-0.5, 0.5, rng.integers(1600, 8000)), 16000)
        examples.append(Example(f"e{number}", "g", path, "?", ("a",)))
    return examples


CHILD = """
import sys, time
from pathlib import Path
from palprobe.features import extraction
from palprobe.recipe import load_recipe
from palprobe.specs import parse_encoder
from palprobe.types import Example

folder, stop = Path(sys.argv[1]), sys.argv[2]
paths = sorted(folder.glob("n*.wav"), reverse=stop == "reverse")
examples = [Example(path.stem, "g", path, "?", ("a",)) for path in paths]

def wait(*_):
    print("here", flush=True)
    time.sleep(60)

if stop == "between":
    progress = lambda done, total: done == 16 and wait()
else:
    progress = None
if stop == "fsync":  # in the middle of the third shard: its bytes are written, its name is not
    import os
    real, calls = os.fsync, []
    def fsync(handle):
        calls.append(handle)
        if len(calls) == 7:  # two for store.json, two for each shard: the file, then its folder
            wait()
        real(handle)
    os.fsync = fsync
extraction.extract([parse_encoder("logmel")], examples, load_recipe(settings=["store.shard_items=3"]), folder / "f",
                   progress=progress)
"""


def child(folder: Path, stop: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(folder), stop]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def expected(examples: Sequence[Example]) -> dict[str, Tensor]:
    """logmel's features by the straight way: one clip at a time, no store."""
    encoder = load_encoder(SPEC, Recipe().encoder)
    waves = {e.id: torch.from_numpy(soundfile.read(e.audio, dtype="float32")[0]) for e in examples}
    return {name: encode_clips(encoder, [wave], [0])[0].features.values[0].half() for name, wave in waves.items()}


@pytest.mark.parametrize(("stop", "kept"), [("between", 15), ("fsync", 6)])
def test_a_kill_costs_the_open_shard_only(tmp_path: Path, stop: str, kept: int) -> None:
    """kill -9 between two clips or within a shard's writing; the next run has the same features bit for bit."""
    examples = noise(tmp_path, 20)
    process = child(tmp_path, stop)
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    leftovers = list((tmp_path / "f").glob("*/*.tmp.*"))
    assert len(leftovers) == (1 if stop == "fsync" else 0)
    outcome = extract([SPEC], examples, Recipe(), tmp_path / "f")
    assert (outcome.reused, outcome.encoded) == (kept, 20 - kept)
    assert list(outcome.stores[0].glob("*.tmp.*")) == []
    for example in examples:
        assert torch.equal(read(example, tmp_path / "f"), expected([example])[example.id])


def test_two_extractions_at_once(tmp_path: Path) -> None:
    """Two processes on one store, from both ends of the task, lose and damage nothing."""
    examples = noise(tmp_path, 40)
    processes = [child(tmp_path, "no"), child(tmp_path, "reverse")]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0]
    (only,) = feature_identities(SPEC, Recipe())
    store = FeatureStore.open(tmp_path / "f", only.fields)
    assert len(store) == 40
    features = expected(examples)
    index = ClipIndex(tmp_path / "f")
    for example in examples:
        assert torch.equal(store.get(index.key(example)), features[example.id])
