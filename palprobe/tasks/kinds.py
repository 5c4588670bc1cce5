"""Kinds of task: how each is scored, and by what, when a recipe does not say; a new kind is one line in `KINDS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from palprobe.recipe.scoring import Method
from palprobe.types import TaskKind


@dataclass(frozen=True)
class KindRules:
    """What a kind of task is scored by; where answers are read, each is compared with all references."""

    method: Method  # likelihood: of every choice; generation: of open questions, which have none
    metrics: tuple[str, ...]  # names in METRICS; the first is the headline


KINDS: Mapping[TaskKind, KindRules] = MappingProxyType(
    {
        "classification": KindRules("likelihood", ("accuracy", "macro_f1", "invalid_rate")),
        "multi-label": KindRules("likelihood", ("map", "d_prime")),
        "multiple-choice": KindRules("likelihood", ("accuracy", "macro_f1", "invalid_rate")),
        "open": KindRules("generation", ("accuracy", "invalid_rate")),
        "captioning": KindRules("generation", ("accuracy", "invalid_rate")),
        "transcription": KindRules("generation", ("wer", "invalid_rate")),
    }
)
