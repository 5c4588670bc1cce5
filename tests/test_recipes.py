"""Every shipped recipe is valid, names registered parts only, and says what it asks and how it is run."""

from pathlib import Path

import pytest
from test_bad_input import palprobe  # noqa: F401 - a fixture

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
    for task in (*recipe.tasks, *recipe.train.named_tasks):
        TASKS.check(parse_task(task).name)
    for integration in recipe.integrations:
        check_integration(integration, recipe.integration)
    head = path.read_text().split("\nname:")[0]
    for word in ("# Question:", "# Command:", "# Hardware:", "# Expected:"):
        assert word in head


def test_there_are_recipes():
    """The parametrised test above looked at something."""
    assert {path.stem for path in RECIPES} >= {"demo", "pal-curriculum", "smoke"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_validate_accepts_a_shipped_recipe(palprobe, path, monkeypatch):  # noqa: F811
    """As far as it can be looked at without data; what was not looked at is named, and nothing is written."""
    monkeypatch.delenv("PALPROBE_DATA", raising=False)
    code, out, err = palprobe("validate", str(path), "--set", "data.limit=8")
    assert code == 0, err
    assert out.rstrip().endswith("the recipe is valid.")
    elsewhere = {task for task in load_recipe(path).tasks if not task.startswith("diagnostics")}
    named = out.partition("# not looked at, as no folder is given: ")[2].partition(" (")[0].split(", ")
    assert elsewhere <= set(named)


def test_validate_looks_at_data_that_is_said_to_be_there(palprobe):  # noqa: F811
    """With a data root, a folder that is not there is an error, not something to pass over."""
    code, _, err = palprobe("validate", "esc50", "--data-root", "nowhere")
    assert code == 1 and "no folder 'nowhere/esc50'" in err
