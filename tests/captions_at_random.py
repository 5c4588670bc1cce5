"""Captions of few words, so that they share some, with one to four references each, and clips in groups."""

import random

from palprobe.types import Prediction

WORDS = ["a", "dog", "barks", "while", "rain", "falls", "loudly", "and", "someone", "doesn't", "speak", "Dog,"]


def caption(rng: random.Random, shortest: int = 1) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randrange(shortest, 12)))


def captioned(seed: int, num_items: int = 40, *, per_group: int = 1) -> list[Prediction]:
    rng = random.Random(seed)
    items = []
    for number in range(num_items):
        references = tuple(caption(rng) for _ in range(rng.randrange(1, 5)))
        likely = {text: -rng.uniform(1, 60) for text in references}
        answer = rng.choice([caption(rng, 0), references[0], references[-1] + " and rain"])
        several = references if len(references) > 1 else ()
        group = f"g{number // per_group}"
        items.append(Prediction(str(number), group, None, references[0], answer, likely, False, True, several))
    return items
