"""From what a probe said to a prediction: the likeliest choice, or the answer that a text holds; no model is needed.

A text is read to the end of its first line, trimmed, and case counts only where some choices differ by nothing else.

    strict     the line is a choice: anything else is invalid, and so wrong. The default: no parser guesses the meaning
    contains   one choice, and no other, stands in the line as whole words ("It is a dog." for dog; "dog or cat" is
               invalid). Of two that overlap the longer one counts: "dog bark" is not also a dog

An open question's line is valid unless it is empty; it is right if it is a reference, or under `contains` holds one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from palprobe.recipe.scoring import Parse
from palprobe.types import Example, Prediction


def parse_answer(example: Example, text: str, parse: Parse = "strict") -> Prediction:
    """The answer in a generated text, which the prediction keeps so that it can be read again another way."""
    answer = first_line(text)
    alike = len({choice.casefold() for choice in example.choices}) < len(example.choices)
    fold: Callable[[str], str] = str if alike else str.casefold
    known = {fold(choice): choice for choice in example.choices}
    right = {fold(reference) for reference in example.references}
    read = fold(answer)
    if parse == "contains":
        found = _words_of(read, known or right)
        if len(found) == 1 or (found and not known):
            read = min(found)
    valid = read in known if known else bool(answer)
    return _prediction(
        example,
        known.get(read, answer),
        {},
        correct=valid and read in right,
        valid=valid,
        text=text,
        choices=example.choices,
    )


def first_line(text: str) -> str:
    """What of a generated text is read."""
    return text.split("\n")[0].strip()


def likeliest(example: Example, scores: Mapping[str, float]) -> Prediction:
    """The choice of the highest score; of equal ones the first."""
    answer = max(example.choices, key=scores.__getitem__)
    named = {choice: scores[choice] for choice in example.choices}
    return _prediction(example, answer, named, correct=answer in example.references, valid=True)


def question_of(prediction: Prediction) -> Example:
    """What was asked, as far as a prediction tells: no prompt and no audio, but the choices and the right answers."""
    likelihood = prediction.text is None
    return Example(
        id=prediction.id,
        group=prediction.group,
        audio=Path(),
        prompt="",
        references=prediction.references or (prediction.reference,),
        choices=tuple(prediction.scores) if likelihood else prediction.choices,
        part=prediction.part,
    )


def _words_of(line: str, answers: Collection[str]) -> set[str]:
    """The answers that stand in a line as whole words, longer ones first, so that none is found inside another."""
    longest_first = sorted(answers, key=len, reverse=True)
    pattern = "|".join(re.escape(answer) for answer in longest_first)
    return set(re.findall(rf"(?<!\w)(?:{pattern})(?!\w)", line))


def _prediction(
    example: Example,
    answer: str,
    scores: Mapping[str, float],
    *,
    correct: bool,
    valid: bool,
    text: str | None = None,
    choices: tuple[str, ...] = (),
) -> Prediction:
    return Prediction(
        id=example.id,
        group=example.group,
        part=example.part,
        reference=example.references[0],
        prediction=answer,
        scores=scores,
        correct=correct,
        valid=valid,
        references=example.references if len(example.references) > 1 else (),
        text=text,
        choices=choices,
    )
