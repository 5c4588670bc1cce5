"""Kinds of task: how each is asked, read and scored when a recipe does not say; a new kind is one line in `KINDS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from palprobe.recipe.scoring import Method
from palprobe.types import Example, TaskKind


@dataclass(frozen=True)
class KindRules:
    """What a kind of task is asked and scored by; where answers are read, each is compared with all references."""

    method: Method  # likelihood: of every choice; generation: of open questions, which have none
    metrics: tuple[str, ...]  # names in METRICS; the first is the headline
    prompt: str  # of a manifest that has none
    reading: str  # how an answer is read, as `palprobe list kinds` says it
    trains_on_all: bool = False  # every reference of a training clip is an answer to learn; else the first alone


KINDS: Mapping[TaskKind, KindRules] = MappingProxyType(
    {
        "classification": KindRules(
            "likelihood",
            ("accuracy", "balanced_accuracy", "macro_f1", "embedding_accuracy", "invalid_rate"),
            "Which sound is this?",
            "the most likely of one set of labels",
        ),
        "multi-label": KindRules(
            "likelihood",
            ("map", "d_prime", "accuracy", "invalid_rate"),
            "Which sound can be heard?",
            "how likely each label is, by which clips are ranked; each label of a training clip is learnt",
            trains_on_all=True,
        ),
        "multiple-choice": KindRules(
            "likelihood",
            ("accuracy", "macro_f1", "embedding_accuracy", "invalid_rate"),
            "What is the answer?",
            "the most likely of the question's own options, by their text",
        ),
        "open": KindRules(
            "generation",
            ("accuracy", "bits_per_byte", "invalid_rate"),
            "What is the answer?",
            "written text to the end of its line, right if it equals a reference but for case",
        ),
        "captioning": KindRules(
            "generation",
            (
                "cider_d",
                "bleu",
                "chrf",
                "meteor",
                "sbert_similarity",
                "bertscore",
                "distinct_2",
                "mean_length",
                "vocabulary",
                "bits_per_byte",
                "invalid_rate",
            ),
            "Describe the sound in one sentence.",
            "written text to the end of its line, against all captions; each caption of a training clip is learnt",
            trains_on_all=True,
        ),
        "transcription": KindRules(
            "generation",
            ("wer", "cer", "bits_per_byte", "invalid_rate"),
            "What is said?",
            "written text to the end of its line, word by word; case and punctuation do not count",
        ),
    }
)


def learnt_answers(example: Example, kind: TaskKind) -> tuple[str, ...]:
    """The references of a training example that the probe is trained to answer, one question for each."""
    return example.references if KINDS[kind].trains_on_all else example.references[:1]
