"""RAVDESS speech: which of eight emotions an actor expresses, in six folds of four actors (ours)."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from palprobe.tasks import check_variant
from palprobe.tasks.layout import task_data
from palprobe.types import Example, TaskData

PROMPT = "Which emotion does the speaker express?"
LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")  # numbered from 1 in names
NUM_ACTORS = 24  # odd ones are men, even ones women
ACTORS_PER_FOLD = 4  # two men and two women
LICENCE = "CC BY-NC-SA 4.0"
CITATION = "S. R. Livingstone, F. A. Russo, The Ryerson Audio-Visual Database (RAVDESS), PLoS ONE 13(5), 2018"


def load_ravdess(folder: Path, variant: str | None) -> TaskData:
    """The 1440 recordings of speech: two sentences, twice each, in every emotion; neutral at one level, others at two.

    The design says which files there are, so that all others count as missing; songs are left out. The publisher gives
    no split: the folds are ours, actors 1-4, 5-8 and so on.

    Args:
        folder: holds `Actor_{01..24}/03-01-{emotion}-{intensity}-{statement}-{repetition}-{actor}.wav`.
        variant: none exists.

    Source: the publisher's description of its file names (zenodo.org/records/1188976).
    """
    check_variant("ravdess", variant, ())
    examples = []
    for actor, number, intensity, statement, take in product(range(1, NUM_ACTORS + 1), range(1, 9), *[(1, 2)] * 3):
        if LABELS[number - 1] == "neutral" and intensity == 2:
            continue
        name = f"03-01-{number:02d}-{intensity:02d}-{statement:02d}-{take:02d}-{actor:02d}"
        examples.append(
            Example(
                id=name,
                group=f"actor {actor}",
                audio=folder / f"Actor_{actor:02d}" / f"{name}.wav",
                prompt=PROMPT,
                references=(LABELS[number - 1],),
                choices=LABELS,
                fold=(actor - 1) // ACTORS_PER_FOLD + 1,
            )
        )
    return task_data("ravdess", folder, examples, licence=LICENCE, citation=CITATION)
