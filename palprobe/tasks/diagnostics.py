"""Diagnostics: nine questions about sounds that palprobe synthesises, each scored by itself; needs no download.

Neither the clip's length nor its level nor how often an answer is right tells anything, and all questions but
`event` are about time: a spectrum averaged over the clip does not answer them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence

from palprobe.errors import DataError
from palprobe.tasks import check_variant, stimuli
from palprobe.tasks.stimuli import Waveform
from palprobe.types import SPLITS, Example, Split, TaskData

VERSION = 1  # of the stimuli and questions: a change here is another task, with other ids
SEED = 0
SIZES: dict[Split, int] = {"train": 192, "validation": 24, "test": 60}  # of a question: all divisible by 2, 3, 4 and 6
PAIR = ("first", "second")


@dataclass(frozen=True)
class Question:
    """A question type: `draw` makes a clip to which the given answer is right."""

    prompt: str
    choices: tuple[str, ...]
    draw: Callable[[str, Generator], Waveform]


def load_diagnostics(folder: Path, variant: str | None) -> TaskData:
    """All question types, or one; renders whichever clips are not in the folder yet (some seconds the first time).

    Args:
        folder: cache; the clips are in a folder of their version and seed in it.
        variant: a name in QUESTIONS, to have that type alone.

    Raises:
        DataError: the folder cannot be written.
    """
    check_variant("diagnostics", variant, QUESTIONS)
    root = folder / f"v{VERSION}-seed{SEED}"
    parts = [variant] if variant else list(QUESTIONS)
    examples = tuple(
        _example(root, part, split, index) for part in parts for split in SPLITS for index in range(SIZES[split])
    )
    try:
        for example in examples:
            _render(example)
    except OSError as error:
        raise DataError(f"Cannot render the diagnostics into {str(root)!r}: {error.strerror}.") from error
    name = f"diagnostics:{variant}" if variant else "diagnostics"
    return TaskData(name, examples, licence="synthesised by palprobe")


def _example(root: Path, part: str, split: Split, index: int) -> Example:
    question = QUESTIONS[part]
    name = f"{part}-v{VERSION}-{split}-{index:03d}"
    return Example(
        id=name,
        group=name,
        audio=root / part / f"{name}.wav",
        prompt=question.prompt,
        references=(question.choices[index % len(question.choices)],),  # every answer equally often in every split
        choices=question.choices,
        split=split,
        part=part,
    )


def _render(example: Example) -> None:
    """Writes the clip unless it is there; one cut short is written again, and several writers write the same bytes."""
    path = example.audio
    if path.is_file() and path.stat().st_size == stimuli.WAV_BYTES:
        return
    assert example.part is not None  # noqa: S101
    rng = Generator(PCG64(SeedSequence([SEED, *example.id.encode()])))  # a clip does not depend on the others
    clip = stimuli.finished(QUESTIONS[example.part].draw(example.references[0], rng), rng)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp.{uuid.uuid4().hex}")
    temporary.write_bytes(stimuli.wav_bytes(clip))  # not flushed to disk: what a power cut takes is made again
    temporary.replace(path)


def _ordered(answer: str, winner: Waveform, other: Waveform) -> tuple[Waveform, Waveform]:
    """The winner at the place that the answer says."""
    return (winner, other) if answer == PAIR[0] else (other, winner)


def _event(answer: str, rng: Generator) -> Waveform:
    seconds = rng.uniform(0.5, 1.2)
    match answer:
        case "tone":
            sound = stimuli.tone(stimuli.log_uniform(rng, 250, 3000), seconds, rng)
        case "noise":
            sound = stimuli.noise(seconds, rng)
        case "clicks":
            sound = stimuli.repeated([stimuli.click(rng) for _ in range(round(seconds * rng.uniform(10, 20)))], seconds)
        case "sweep":
            low = stimuli.log_uniform(rng, 250, 800)
            ends = (low, low * rng.uniform(3, 5))
            sound = stimuli.glide(*(ends if rng.integers(2) else ends[::-1]), seconds, rng)
        case "buzz":
            sound = stimuli.buzz(stimuli.log_uniform(rng, 80, 250), seconds, rng)
        case _:
            resonance = stimuli.log_uniform(rng, 120, 400)
            sound = stimuli.repeated([stimuli.knock(resonance, rng) for _ in range(rng.integers(2, 5))], seconds)
    return stimuli.laid_out([sound], rng)


def _higher(answer: str, rng: Generator) -> Waveform:
    low = stimuli.log_uniform(rng, 300, 1500)
    high = low * rng.uniform(1.3, 2.0)
    seconds = rng.uniform(0.3, 0.6)
    tones = _ordered(answer, stimuli.tone(high, seconds, rng), stimuli.tone(low, seconds, rng))
    return stimuli.laid_out(tones, rng)


def _direction(answer: str, rng: Generator) -> Waveform:
    low = stimuli.log_uniform(rng, 300, 1200)
    ends = (low, low * rng.uniform(2.0, 4.0))
    start, end = ends if answer == "rising" else ends[::-1]
    return stimuli.laid_out([stimuli.glide(start, end, rng.uniform(0.5, 1.5), rng)], rng)


def _count(answer: str, rng: Generator) -> Waveform:
    number = COUNTS.index(answer) + 1
    frequency, seconds = stimuli.log_uniform(rng, 300, 2500), rng.uniform(0.08, 0.2)
    return stimuli.laid_out([stimuli.tone(frequency, seconds, rng) for _ in range(number)], rng, gap_seconds=0.15)


def _order(answer: str, rng: Generator) -> Waveform:
    seconds = rng.uniform(0.2, 0.6, size=2)
    gains = 10 ** (rng.uniform(-3, 3, size=2) / 20)  # or the stronger one might always be the tone
    tone = gains[0] * stimuli.tone(stimuli.log_uniform(rng, 300, 2500), seconds[0], rng)
    noise = gains[1] * stimuli.noise(seconds[1], rng)
    return stimuli.laid_out((tone, noise) if answer == "tone" else (noise, tone), rng)


def _quarter(answer: str, rng: Generator) -> Waveform:
    quarter = stimuli.CLIP_SECONDS / len(QUARTERS)
    # Off the borders by a tenth of a quarter, and early enough for the last one to end within the clip.
    start = quarter * (QUARTERS.index(answer) + rng.uniform(0.1, 0.5))
    sound = stimuli.tone(stimuli.log_uniform(rng, 300, 2500), rng.uniform(0.1, 0.25), rng)
    return stimuli.placed([sound], [start])


def _longer(answer: str, rng: Generator) -> Waveform:
    short = rng.uniform(0.15, 0.35)
    long = short * rng.uniform(2.0, 3.0)
    frequencies = [stimuli.log_uniform(rng, 300, 2500) for _ in range(2)]
    tones = _ordered(answer, stimuli.tone(frequencies[0], long, rng), stimuli.tone(frequencies[1], short, rng))
    return stimuli.laid_out(tones, rng)


def _rhythm(answer: str, rng: Generator) -> Waveform:
    number, span = int(rng.integers(6, 10)), rng.uniform(1.2, 1.8)
    steps = np.ones(number - 1)
    if answer == "irregular":
        hurried = len(steps) // 2  # the other steps are three to six times longer
        steps[:hurried] = rng.uniform(1 / 6, 1 / 3, size=hurried)
        rng.shuffle(steps)
    start = rng.uniform(0.02, stimuli.CLIP_SECONDS - span - 0.05)
    starts = start + span * np.concatenate([[0.0], np.cumsum(steps) / steps.sum()])
    return stimuli.placed([stimuli.click(rng) for _ in starts], starts)


def _loud(answer: str, rng: Generator) -> Waveform:
    frequency, seconds = stimuli.log_uniform(rng, 300, 2500), rng.uniform(0.3, 0.6)
    loud, quiet = stimuli.tone(frequency, seconds, rng), stimuli.tone(frequency, seconds, rng)
    return stimuli.laid_out(_ordered(answer, loud, quiet * 10 ** (-rng.uniform(5, 12) / 20)), rng)


EVENTS = ("tone", "noise", "clicks", "sweep", "buzz", "knock")
COUNTS = ("one", "two", "three", "four")
QUARTERS = ("first", "second", "third", "fourth")
QUESTIONS = {
    "event": Question("Which sound is it?", EVENTS, _event),
    "higher": Question("Which tone is higher?", PAIR, _higher),
    "direction": Question("Is the pitch rising or falling?", ("rising", "falling"), _direction),
    "count": Question("How many beeps are there?", COUNTS, _count),
    "order": Question("Which came first, tone or noise?", ("tone", "noise"), _order),
    "quarter": Question("In which quarter does it start?", QUARTERS, _quarter),
    "longer": Question("Which tone is longer?", PAIR, _longer),
    "rhythm": Question("Is the rhythm regular or irregular?", ("regular", "irregular"), _rhythm),
    "loud": Question("Which tone is louder?", PAIR, _loud),
}
