"""Diagnostics: the clips hold the answers, and nothing but listening finds them."""

from __future__ import annotations

import os
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from palprobe.errors import DataError
from palprobe.tasks.diagnostics import QUESTIONS, SIZES, load_diagnostics
from palprobe.tasks.stimuli import NUM_SAMPLES, SAMPLE_RATE
from palprobe.types import Example, TaskData

Array = NDArray[np.float64]
FRAME = 400  # 25 ms
IN_TIME = tuple(part for part in QUESTIONS if part != "event")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> TaskData:
    return load_diagnostics(tmp_path_factory.mktemp("cache"), None)


@pytest.fixture(scope="module")
def clips(task: TaskData) -> dict[str, Array]:
    return {example.id: read(example.audio) for example in task.examples}


def read(path: Path) -> Array:
    with wave.open(str(path), "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (SAMPLE_RATE, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 2**15


def pick(task: TaskData, part: str, split: str) -> list[Example]:
    return [example for example in task.examples if (example.part, example.split) == (part, split)]


def answers(examples: list[Example]) -> list[str]:
    return [example.references[0] for example in examples]


def at_chance(correct: int, number: int, choices: int, comparisons: int) -> bool:
    """Whether the count lies in the 99 % binomial interval of guessing, Bonferroni-corrected."""
    low, high = binom.interval(1 - 0.01 / comparisons, number, 1 / choices)
    return bool(low <= correct <= high)


def frames(clip: Array) -> Array:
    return clip[: len(clip) // FRAME * FRAME].reshape(-1, FRAME)  # (80, FRAME)


def energy(clip: Array) -> Array:
    return (frames(clip) ** 2).mean(axis=1)


def peak_hz(clip: Array) -> Array:
    """Strongest frequency of each frame."""
    spectrum = np.abs(np.fft.rfft(frames(clip) * np.hanning(FRAME), 4 * FRAME))
    return spectrum.argmax(axis=1) * SAMPLE_RATE / (4 * FRAME)


def active(clip: Array) -> NDArray[np.intp]:
    """Indices of the frames that hold a sound."""
    level = energy(clip)
    return np.flatnonzero(level > 0.1 * np.quantile(level, 0.95))


def halves(clip: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The frames of two sounds, parted at the longest silence between them."""
    frame = active(clip)
    cut = int(np.diff(frame).argmax()) + 1
    return frame[:cut], frame[cut:]


def hear_higher(clip: Array) -> str:
    first, second = halves(clip)
    return "first" if np.median(peak_hz(clip)[first]) > np.median(peak_hz(clip)[second]) else "second"


def hear_direction(clip: Array) -> str:
    frame = active(clip)
    return "rising" if np.polyfit(frame, peak_hz(clip)[frame], 1)[0] > 0 else "falling"


def hear_count(clip: Array) -> str:
    beeps = 1 + int((np.diff(active(clip)) > 3).sum())
    return ("one", "two", "three", "four")[min(beeps, 4) - 1]


def hear_order(clip: Array) -> str:
    spectrum = np.abs(np.fft.rfft(frames(clip) * np.hanning(FRAME))) ** 2
    purity = spectrum.max(axis=1) / spectrum.sum(axis=1)
    first, second = halves(clip)
    return "tone" if purity[first].mean() > purity[second].mean() else "noise"


def hear_quarter(clip: Array) -> str:
    start = active(clip)[0] * FRAME / NUM_SAMPLES
    return ("first", "second", "third", "fourth")[int(4 * start)]


def hear_longer(clip: Array) -> str:
    first, second = halves(clip)
    return "first" if len(first) > len(second) else "second"


def hear_loud(clip: Array) -> str:
    level = energy(clip)
    frame = np.flatnonzero(level > 0.02 * level.max())
    centre, strong = np.median(frame), np.flatnonzero(level > 0.5 * level.max())
    return "first" if np.median(strong) < centre else "second"


def hear_rhythm(clip: Array) -> str:
    fine = np.abs(clip[: NUM_SAMPLES // 80 * 80].reshape(-1, 80)).max(axis=1)  # 5 ms
    loud = np.flatnonzero(fine > 0.5 * fine.max())
    gaps = np.diff(loud)[np.diff(loud) > 6]
    return "regular" if gaps.std() / gaps.mean() < 0.15 else "irregular"


DETECTORS = {
    "higher": hear_higher,
    "direction": hear_direction,
    "count": hear_count,
    "order": hear_order,
    "quarter": hear_quarter,
    "longer": hear_longer,
    "loud": hear_loud,
    "rhythm": hear_rhythm,
}


@pytest.mark.parametrize("part", QUESTIONS)
def test_balanced(part: str, task: TaskData) -> None:
    """Each split has the announced size and every answer equally often, so that a prior or a majority is chance."""
    for split, size in SIZES.items():
        counts = Counter(answers(pick(task, part, split)))
        assert set(counts) == set(QUESTIONS[part].choices)
        assert set(counts.values()) == {size / len(counts)}


def test_prompts_tell_the_parts_apart() -> None:
    """Each question has words of its own, short enough for a byte-level model."""
    prompts = [question.prompt for question in QUESTIONS.values()]
    assert len(set(prompts)) == len(prompts) >= 8
    assert max(map(len, prompts)) < 40


def test_duration_tells_nothing(clips: dict[str, Array]) -> None:
    """All clips have one length, so that any rule of the duration gives one answer: chance in balanced splits."""
    assert {len(clip) for clip in clips.values()} == {NUM_SAMPLES}


@pytest.mark.parametrize("part", QUESTIONS)
def test_energy_tells_nothing(part: str, task: TaskData, clips: dict[str, Array]) -> None:
    """Neither a linear nor a local rule of the clip's RMS, fitted on the training clips, beats guessing."""
    train, test = pick(task, part, "train"), pick(task, part, "test")

    def level(examples: list[Example]) -> Array:
        return np.array([[20 * np.log10(np.sqrt(np.mean(clips[e.id] ** 2)))] for e in examples])

    for model in (LogisticRegression(), KNeighborsClassifier(5)):
        rule = make_pipeline(StandardScaler(), model).fit(level(train), answers(train))
        correct = int((rule.predict(level(test)) == np.array(answers(test))).sum())
        assert at_chance(correct, len(test), len(QUESTIONS[part].choices), comparisons=2 * len(QUESTIONS))


@pytest.mark.parametrize("part", IN_TIME)
def test_the_mean_spectrum_tells_nothing_of_time(part: str, task: TaskData, clips: dict[str, Array]) -> None:
    """A linear rule of the clip's average log spectrum cannot answer what is asked about time."""
    train, test = pick(task, part, "train"), pick(task, part, "test")

    def spectrum(examples: list[Example]) -> Array:
        powers = [np.abs(np.fft.rfft(frames(clips[e.id]) * np.hanning(FRAME))) ** 2 for e in examples]
        return np.log(np.array([power.mean(axis=0)[:200].reshape(20, 10).mean(axis=1) for power in powers]))  # (E, 20)

    rule = make_pipeline(StandardScaler(), LogisticRegression(C=0.1)).fit(spectrum(train), answers(train))
    correct = int((rule.predict(spectrum(test)) == np.array(answers(test))).sum())
    assert at_chance(correct, len(test), len(QUESTIONS[part].choices), comparisons=len(IN_TIME))


@pytest.mark.parametrize("part", DETECTORS)
def test_the_answer_is_audible(part: str, task: TaskData, clips: dict[str, Array]) -> None:
    """A few lines of signal processing find the answer in at least nine clips of ten."""
    heard = [DETECTORS[part](clips[example.id]) == example.references[0] for example in pick(task, part, "test")]
    assert np.mean(heard) >= 0.9


def test_events_are_audible(task: TaskData, clips: dict[str, Array]) -> None:
    """The six sounds are told apart by where and how steadily their energy lies."""

    def features(example: Example) -> Array:
        clip = clips[example.id]
        power = np.abs(np.fft.rfft(frames(clip)[active(clip)] * np.hanning(FRAME))) ** 2
        flatness = np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1)
        steadiness = energy(clip)[active(clip)].std() / energy(clip).mean()
        peak = 50 + peak_hz(clip)[active(clip)]
        purity = (power.max(axis=1) / power.sum(axis=1)).mean()
        return np.array([np.log(flatness).mean(), steadiness, np.log(peak).mean(), np.log(peak).std(), purity])

    train, test = pick(task, "event", "train"), pick(task, "event", "test")
    rule = make_pipeline(StandardScaler(), KNeighborsClassifier(3))
    rule.fit([features(e) for e in train], answers(train))
    assert rule.score([features(e) for e in test], answers(test)) >= 0.8


def test_deterministic_and_resumed(tmp_path: Path) -> None:
    """A second cache gets the same bytes; a clip cut short or lost is rendered again, others are left alone."""
    once = load_diagnostics(tmp_path / "once", "quarter")
    paths = [example.audio for example in once.examples]
    content = [path.read_bytes() for path in paths]
    times = [path.stat().st_mtime_ns for path in paths[2:]]
    paths[0].write_bytes(content[0][:1000])
    paths[1].unlink()
    assert load_diagnostics(tmp_path / "once", "quarter") == once
    twice = load_diagnostics(tmp_path / "twice", "quarter")
    assert (
        content == [path.read_bytes() for path in paths] == [example.audio.read_bytes() for example in twice.examples]
    )
    assert times == [path.stat().st_mtime_ns for path in paths[2:]]
    assert not list(tmp_path.rglob("*.tmp.*"))


def test_one_type_alone(task: TaskData, tmp_path: Path) -> None:
    """A variant holds the same questions as the whole task does of that type, and renders no other."""
    alone = load_diagnostics(tmp_path, "loud")
    assert alone.name == "diagnostics:loud"
    whole = [e for e in task.examples if e.part == "loud"]
    assert [(e.id, e.references, e.split) for e in alone.examples] == [(e.id, e.references, e.split) for e in whole]
    assert alone.examples[0].audio.read_bytes() == whole[0].audio.read_bytes()
    assert {path.parent.name for path in tmp_path.rglob("*.wav")} == {"loud"}


def test_unwritable_cache(tmp_path: Path) -> None:
    """A place that cannot be written is one line, with the place."""
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=f"{tmp_path.name}{os.sep}file"):
        load_diagnostics(tmp_path / "file", None)
