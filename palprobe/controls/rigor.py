"""A recipe as its rigor means it: seeds, controls, and the encoders that are controls, all written out."""

from __future__ import annotations

from collections.abc import Iterator

from palprobe.encoders import WITHOUT_WEIGHTS, identify
from palprobe.errors import PalprobeError
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


def without_untrained(recipe: Recipe) -> list[str]:
    """Encoders of a complete recipe that have weights by their name, and yet no untrained control."""
    wanted = recipe.single_encoders if "random" in recipe.wanted_controls else []
    own = [name for name in wanted if parse_encoder(name).runs_user_code and not parse_encoder(name).untrained]
    return [name for name in own if f"random{INIT_SEEDS[0]}:{name}" not in wanted]


def _floors(recipe: Recipe) -> Iterator[str]:
    if FLOOR not in {parse_encoder(text).name for text in recipe.encoders if len(split_encoders(text)) == 1}:
        yield FLOOR


def _untrained(recipe: Recipe) -> Iterator[str]:
    """Of every encoder that has weights, or of those of several that have, the same without."""
    for text in recipe.encoders:
        names = split_encoders(text)
        for seed in INIT_SEEDS:
            drawn = [f"random{seed}:{name}" if _has_weights(name, recipe) else name for name in names]
            if drawn != names:
                yield "+".join(drawn)


def _has_weights(name: str, recipe: Recipe) -> bool:
    spec = parse_encoder(name)
    if spec.untrained or not spec.runs_user_code:
        return not spec.untrained and spec.name not in WITHOUT_WEIGHTS
    try:
        identify(parse_encoder(f"random:{name}"), recipe.encoder)
    except PalprobeError:  # a class without parameters; one that cannot be made is named by its own cells
        return False
    return True
