"""Everything that a person can cause, as a tree; each message says what was found, what was expected, what to do.

PalprobeError                    one line on stderr, exit code 1
├── UsageError                   the command line or a spec cannot be read (exit code 2)
│   └── UnknownNameError         no part of that name; the nearest is given
├── RecipeError                  a recipe key or value is wrong
├── AudioError                   one file cannot become a clip (counted per item, not fatal by itself)
├── DataError                    a task's folder, manifest, labels or splits are wrong
├── WeightsError                 encoder or LLM weights are not there, or do not fit
├── EncoderError                 an encoder broke its contract (shape, rate, non-finite)
├── StoreError                   a feature store is damaged or full
├── IdentityError                a folder holds something made from another recipe
├── UnfinishedError              a run or a store that another stage needs is not finished
├── TrainingError                training stopped: the step and the items are in the message
├── ScoringError                 predictions or intervals cannot be computed
└── BenchError                   one cost could not be measured (the other cells go on)
"""

from __future__ import annotations


class PalprobeError(Exception):
    """Base of all expected errors: shown as one line, without a traceback."""

    exit_code = 1


class UsageError(PalprobeError):
    """The command line, or a spec on it, cannot be read."""

    exit_code = 2


class UnknownNameError(UsageError):
    """No part is registered under that name."""


class RecipeError(PalprobeError):
    """A recipe key or value is wrong."""


class AudioError(PalprobeError):
    """One audio file cannot become a clip."""


class DataError(PalprobeError):
    """A task's folder, manifest, labels or splits are wrong."""


class WeightsError(PalprobeError):
    """Weights are not there, or do not fit the architecture."""


class EncoderError(PalprobeError):
    """An encoder broke its contract."""


class StoreError(PalprobeError):
    """A feature store is damaged, full or not writable."""


class IdentityError(PalprobeError):
    """A folder holds the work of another recipe."""


class UnfinishedError(PalprobeError):
    """Something that this stage needs has not been made yet."""


class TrainingError(PalprobeError):
    """Training cannot go on; the message names the step and the items."""


class ScoringError(PalprobeError):
    """A score or an interval cannot be computed from what there is."""


class BenchError(PalprobeError):
    """A cell of a cost grid failed, or its process was killed."""
