"""Generated answers: what the LLM writes after the audio and the prompt, read by a parser."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from palprobe.errors import ScoringError
from palprobe.llm.model import left_padded
from palprobe.llm.tokenizer import encode_prompt
from palprobe.recipe.scoring import Parse
from palprobe.scoring.likelihood import Read
from palprobe.scoring.reading import parse_answer
from palprobe.training.probe import Probe
from palprobe.types import Example, Prediction


def by_generation(
    probe: Probe,
    examples: Sequence[Example],
    read: Read,
    *,
    batch_size: int,
    max_new_tokens: int,
    beams: int = 1,
    penalty: float = 1.0,
    parse: Parse = "strict",
) -> list[Prediction]:
    """Each example's generated answer up to a newline; a closed question's answer must be one of its choices.

    Text that is no choice is wrong, and counted as invalid. One beam is greedy.

    Raises:
        ScoringError: an answer of several lines, which could never be right.
    """
    for example in examples:
        if any("\n" in answer for answer in (*example.choices, *example.references)):
            raise ScoringError(
                f"{example.id!r} has an answer of several lines, and generated text ends with its first. "
                "Use --scoring likelihood, or put answers on one line."
            )
    predictions = []
    for start in range(0, len(examples), batch_size):
        numbers = range(start, min(start + batch_size, len(examples)))
        prompts = [encode_prompt(probe.llm.tokenizer, examples[number].prompt) for number in numbers]
        text = left_padded(prompts, device=probe.llm.device)
        with torch.inference_mode():
            context = probe.context(read(list(numbers)))
        answers = probe.generate(text, context, max_new_tokens=max_new_tokens, beams=beams, penalty=penalty)
        for number, ids in zip(numbers, answers, strict=True):
            predictions.append(parse_answer(examples[number], probe.llm.tokenizer.decode(ids), parse))
    return predictions
