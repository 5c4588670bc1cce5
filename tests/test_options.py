"""Options of multiple-choice questions: hidden, or listed in orders that no file decides."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path

from palprobe.recipe import PromptSection
from palprobe.tasks.options import cyclic_prompts, drawn, lists_options, options_fields, with_options
from palprobe.types import Example

QUESTION = Example("q1", "g", Path("a.wav"), "Which?", ("rain",), ("wind", "rain", "a dog"))


def test_a_listing_by_hand():
    """The question, a heading, and an option a line."""
    assert with_options("Which?", ["rain", "a dog"]) == "Which?\nOptions:\n- rain\n- a dog"


def test_every_option_stands_once_in_every_place():
    """Three cyclic orders of the alphabetical one, the same whatever the order in the file."""
    expected = [
        "Which?\nOptions:\n- a dog\n- rain\n- wind",
        "Which?\nOptions:\n- rain\n- wind\n- a dog",
        "Which?\nOptions:\n- wind\n- a dog\n- rain",
    ]
    for order in permutations(QUESTION.choices):
        assert cyclic_prompts(replace(QUESTION, choices=order)) == expected


def test_the_drawn_order_is_the_items_own():
    """It is one of the permutations, the same for any order in the file, and items draw different ones, all of them."""
    listings = {with_options("Which?", order) for order in permutations(QUESTION.choices)}
    assert drawn(QUESTION).prompt in listings
    assert drawn(QUESTION).choices == QUESTION.choices
    for order in permutations(QUESTION.choices):
        assert drawn(replace(QUESTION, choices=order)).prompt == drawn(QUESTION).prompt
    assert {drawn(replace(QUESTION, id=f"q{number}")).prompt for number in range(60)} == listings


def test_only_listed_multiple_choice_enters_an_identity():
    """Hidden options leave an identity as it was before there was a choice; so does every other kind of task."""
    listed = PromptSection(options="listed")
    assert options_fields(listed, "multiple-choice") == {"options": {"listed": 1}}
    assert options_fields(PromptSection(), "multiple-choice") == {}
    assert options_fields(listed, "classification") == {}
    assert lists_options(listed, "multiple-choice") and not lists_options(listed, "open")
