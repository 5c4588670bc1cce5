"""The options of a multiple-choice question in its prompt: in which orders, and how they are written.

By default they are hidden: each is scored by its own text, and there is no order that could matter. Listed, a probe
sees what it is to choose from, and where an option stands sways it. So training draws an order for each question, and
scoring asks in every cyclic order: each option stands once in each place, and a liking for a place that adds to log
likelihoods cancels out of their mean (of probabilities it would not).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from palprobe.files import digest
from palprobe.recipe import PromptSection
from palprobe.types import Example, TaskKind

VERSION = 1  # of orders and layout: part of the identity of runs that list options


def lists_options(section: PromptSection, kind: TaskKind) -> bool:
    """Whether prompts of that kind of task list their options: of multiple choice, where the recipe says so."""
    return section.options == "listed" and kind == "multiple-choice"


def options_fields(section: PromptSection, kind: TaskKind) -> dict[str, Any]:
    """What of it stands in a run's identity: nothing where options are hidden, as they were in older runs."""
    return {"options": {"listed": VERSION}} if lists_options(section, kind) else {}


def with_options(prompt: str, order: Sequence[str]) -> str:
    """The question, and a line for each option."""
    return "\n".join([prompt, "Options:", *(f"- {option}" for option in order)])


def drawn(example: Example) -> Example:
    """The question as it is trained on and generated from: its options in an order drawn by its id."""
    order = sorted(example.choices, key=lambda choice: digest([example.id, choice]))
    return replace(example, prompt=with_options(example.prompt, order))


def cyclic_prompts(example: Example) -> list[str]:
    """The question with its options in every cyclic order of the alphabetical one, whatever their order in a file."""
    order = sorted(example.choices)
    return [with_options(example.prompt, [*order[first:], *order[:first]]) for first in range(len(order))]
