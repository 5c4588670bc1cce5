"""Fluent Speech Commands: what a spoken command asks for, one of 31 intents, in the publisher's split by speaker."""

from __future__ import annotations

from pathlib import Path

from palprobe.tasks import check_variant
from palprobe.tasks.layout import classification, listed_file, read_table, task_data, words
from palprobe.types import Example, Split, TaskData

PROMPT = "What does the speaker want?"
COLUMNS = ("path", "speakerId", "action", "object", "location")  # those used, of the publisher's seven
SLOTS = ("action", "object", "location")
EMPTY = "none"  # how the publisher writes a slot that a command leaves open
TABLES: dict[str, Split] = {"train": "train", "valid": "validation", "test": "test"}
EXPECTED = (
    "the Fluent Speech Commands layout: data/{train,valid,test}_data.csv beside wavs/speakers/ "
    "(fluent.ai, fluent_speech_commands_dataset)"
)
LICENCE = "Fluent Speech Commands Public License (academic use)"
CITATION = "L. Lugosch et al., Speech Model Pre-training for End-to-End Spoken Language Understanding, Interspeech 2019"


def load_fluent_speech_commands(folder: Path, variant: str | None) -> TaskData:
    """All commands; the answer is the intent, its action, object and location as a phrase: `increase, heat, kitchen`.

    Args:
        folder: holds `data/{train,valid,test}_data.csv` and `wavs/speakers/`.
        variant: none exists.

    Source: the columns that torchaudio.datasets.FluentSpeechCommands reads.
    """
    check_variant("fluent-speech-commands", variant, ())
    examples = [
        Example(
            id=Path(row["path"]).stem,
            group=row["speakerId"],
            audio=listed_file(folder, row["path"]),
            prompt=PROMPT,
            references=(", ".join(words(row[slot]) for slot in SLOTS if row[slot] != EMPTY),),
            split=split,
        )
        for table, split in TABLES.items()
        for row in read_table(folder / "data" / f"{table}_data.csv", COLUMNS, EXPECTED)
    ]
    return task_data("fluent-speech-commands", folder, classification(examples), licence=LICENCE, citation=CITATION)
