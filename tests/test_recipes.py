"""Every shipped recipe is valid, names registered parts only, and says what it asks and how it is run."""

from pathlib import Path

import pytest

from palprobe.encoders import ENCODERS
from palprobe.integrations.routing import check_integration
from palprobe.recipe import load_recipe
from palprobe.specs import parse_encoder, parse_task
from palprobe.tasks import TASKS

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_valid(path):
    """Its keys and parts exist, its name is its file's, and its head names question, command, hardware and result."""
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    for encoder in recipe.encoders:
        ENCODERS.check(parse_encoder(encoder).name)
    for task in (*recipe.tasks, *recipe.train.stage_tasks):
        TASKS.check(parse_task(task).name)
    for integration in recipe.integrations:
        check_integration(integration, recipe.integration)
    head = path.read_text().split("\nname:")[0]
    for word in ("# Question:", "# Command:", "# Hardware:", "# Expected:"):
        assert word in head


def test_there_are_recipes():
    """The parametrised test above looked at something."""
    assert {path.stem for path in RECIPES} >= {"demo", "pal-curriculum", "smoke"}
