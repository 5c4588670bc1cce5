"""A probe + examples → predictions: the model is asked, and its raw answers are read by the rule or parser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median_low

from torch import Tensor

from palprobe.features.source import Source
from palprobe.recipe.scoring import ScoringSection
from palprobe.scoring.generation import by_generation
from palprobe.scoring.likelihood import Read, by_likelihood, null_scores, reference_scores, text_tokens
from palprobe.scoring.rules import by_rule
from palprobe.tasks.options import drawn
from palprobe.training.planned import Usable
from palprobe.training.probe import Probe
from palprobe.training.train_cell import readers_of
from palprobe.types import Prediction


def predict(
    probe: Probe, sources: Sequence[Source], usable: Usable, section: ScoringSection, *, listed: bool = False
) -> list[Prediction]:
    """One prediction for each usable example, in order.

    Args:
        probe: in eval mode.
        sources: of the features, one for each encoder.
        usable: the examples, and the keys of their clips.
        section: of one method.
        listed: prompts list their options; text is then generated from the order that the item's id draws.

    Raises:
        PalprobeError: an example that is longer than the LLM.
    """
    readers = readers_of(sources, usable.keys)

    def read(numbers: Sequence[int]) -> list[list[Tensor]]:
        return [reader(numbers) for reader in readers]

    if section.method == "generation":
        examples = tuple(drawn(example) for example in usable.examples) if listed else usable.examples
        asked = replace(usable, examples=examples)
        _check_lengths(probe, sources, asked, max_new_tokens=section.max_new_tokens)
        return _generated(probe, asked, read, section)
    _check_lengths(probe, sources, usable, listed=listed)
    predictions = by_likelihood(probe, usable.examples, read, batch_size=section.batch_size, listed=listed)
    if section.rule == "audio-pmi":
        counts = [median_low(source.num_tokens(key) for key in usable.keys) for source in sources]
        silent = null_scores(probe, usable.examples, counts, listed=listed)
        predictions = [replace(one, null_scores=null) for one, null in zip(predictions, silent, strict=True)]
    return by_rule(predictions, section.rule)


def _generated(probe: Probe, usable: Usable, read: Read, section: ScoringSection) -> list[Prediction]:
    """What is written, and beside it how likely each reference of an open question is."""
    written = by_generation(
        probe,
        usable.examples,
        read,
        batch_size=section.batch_size,
        max_new_tokens=section.max_new_tokens,
        beams=section.beams,
        penalty=section.repetition_penalty,
        parse=section.parse,
    )
    scores = reference_scores(probe, usable.examples, read)
    return [replace(one, scores=found) for one, found in zip(written, scores, strict=True)]


def _check_lengths(
    probe: Probe,
    sources: Sequence[Source],
    usable: Usable,
    *,
    max_new_tokens: int | None = None,
    listed: bool = False,
) -> None:
    probe.check_positions(
        [example.id for example in usable.examples],
        [[source.num_tokens(key) for source in sources] for key in usable.keys],
        text_tokens(probe.llm.tokenizer, usable.examples, max_new_tokens, listed=listed),
    )
