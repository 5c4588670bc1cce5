"""NSynth: the family, the source or the pitch of an instrument's note, in the publisher's split by instrument."""

from __future__ import annotations

from pathlib import Path

from palprobe.errors import DataError
from palprobe.tasks import check_variant
from palprobe.tasks.layout import classification, listed_file, read_json, task_data, words
from palprobe.types import Example, Split, TaskData

VARIANTS = {  # name: the publisher's key, the prompt
    "family": ("instrument_family_str", "Which family of instruments is this?"),
    "source": ("instrument_source_str", "Is the instrument acoustic, electronic or synthetic?"),
    "pitch": ("pitch", "Which MIDI pitch has this note?"),
}
FOLDERS: dict[str, Split] = {"nsynth-train": "train", "nsynth-valid": "validation", "nsynth-test": "test"}
EXPECTED = (
    "the NSynth layout (json/wav): nsynth-{train,valid,test}/examples.json beside audio/ "
    "(magenta.tensorflow.org/datasets/nsynth)"
)
LICENCE = "CC BY 4.0"
CITATION = "J. Engel et al., Neural Audio Synthesis of Musical Notes with WaveNet Autoencoders, ICML 2017"


def load_nsynth(folder: Path, variant: str | None) -> TaskData:
    """All notes; the group is the instrument.

    By the publisher's account no instrument of the training set is in another one, while validation and test may share
    some: the instruments of the validation set are groups of their own.

    Args:
        folder: holds `nsynth-train/`, `nsynth-valid/` and `nsynth-test/`, each with `examples.json` and `audio/`.
        variant: `family` (default, 11 of them), `source` (3) or `pitch` (128).

    Source: the publisher's page for the splits and the keys of a note.
    """
    check_variant("nsynth", variant, VARIANTS)
    variant = variant or "family"
    key, prompt = VARIANTS[variant]
    examples = []
    for name, split in FOLDERS.items():
        path = folder / name / "examples.json"
        notes = read_json(path, EXPECTED)
        if not isinstance(notes, dict) or not all(isinstance(note, dict) for note in notes.values()):
            raise DataError(f"{str(path)!r}: a JSON object of notes by name was expected.")
        for note, values in notes.items():
            instrument, label = values.get("instrument_str"), values.get(key)
            if not isinstance(instrument, str) or not isinstance(label, str):
                raise DataError(f"{str(path)!r}: note {note!r} lacks instrument_str or {key}.")
            examples.append(
                Example(
                    id=note,
                    group=f"{instrument} (validation)" if split == "validation" else instrument,
                    audio=listed_file(folder / name / "audio", f"{note}.wav"),
                    prompt=prompt,
                    references=(words(label),),
                    split=split,
                )
            )
    return task_data(f"nsynth:{variant}", folder, classification(examples), licence=LICENCE, citation=CITATION)
