"""The clip in which nothing can be heard, rendered like the stimuli: what an encoder makes of it is a control."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palprobe.errors import DataError
from palprobe.files import write_atomically
from palprobe.recipe.rigor import SILENCE
from palprobe.tasks.stimuli import NUM_SAMPLES, wav_bytes
from palprobe.types import Example

STIMULI = "stimuli"  # the folder beside the features that holds what palprobe synthesises


def silent_example(cache: Path) -> Example:
    """A clip of digital silence, written into the cache unless it is there.

    Raises:
        DataError: it cannot be written.
    """
    path, content = cache / f"{SILENCE}.wav", wav_bytes(np.zeros(NUM_SAMPLES))
    try:
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, lambda file: file.write(content))
    except OSError as error:
        raise DataError(f"Cannot render silence into {str(path)!r}: {error.strerror}.") from error
    return Example(SILENCE, SILENCE, path, prompt="", references=("nothing",))
