"""A recipe as its rigor means it: seeds, controls, and the encoders that are controls, all written out."""

from __future__ import annotations

from collections.abc import Iterator

from palprobe.encoders import WITHOUT_WEIGHTS
from palprobe.recipe import Recipe
from palprobe.specs import parse_encoder, split_encoders

FLOOR = "logmel"
INIT_SEEDS = (1, 2)  # of the weights of untrained encoders: two, as one may be lucky


def completed(recipe: Recipe) -> Recipe:
    """The same recipe with nothing left to its rigor; of one that is complete, itself."""
    controls = recipe.wanted_controls
    encoders = dict.fromkeys(recipe.encoders)
    encoders |= dict.fromkeys(_floors(recipe) if "floor" in controls else ())
    encoders |= dict.fromkeys(_untrained(recipe) if "random" in controls else ())
    return recipe.model_copy(update={"seeds": recipe.training_seeds, "controls": controls, "encoders": list(encoders)})


def _floors(recipe: Recipe) -> Iterator[str]:
    if FLOOR not in {parse_encoder(text).name for text in recipe.encoders if len(split_encoders(text)) == 1}:
        yield FLOOR


def _untrained(recipe: Recipe) -> Iterator[str]:
    """Of every encoder that has weights, or of those of several that have, the same without."""
    for text in recipe.encoders:
        names = split_encoders(text)
        for seed in INIT_SEEDS:
            drawn = [f"random{seed}:{name}" if _has_weights(name) else name for name in names]
            if drawn != names:
                yield "+".join(drawn)


def _has_weights(name: str) -> bool:
    spec = parse_encoder(name)
    return not spec.untrained and spec.name not in WITHOUT_WEIGHTS
