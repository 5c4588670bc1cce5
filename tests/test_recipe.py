"""Recipes are validated whole, and YAML's traps do not bite."""

import pytest

from palprobe.errors import RecipeError, UsageError
from palprobe.recipe import dump_recipe, load_recipe


def test_yaml_numbers_and_words(tmp_path):
    """1e-4 is a number, and `no` and `on` stay words: YAML 1.1 would read a string and two booleans."""
    path = tmp_path / "r.yaml"
    path.write_text("train: {learning_rate: 1e-4}\ntasks: [no, on]\n")
    recipe = load_recipe(path)
    assert recipe.train.learning_rate == 1e-4
    assert recipe.tasks == ["no", "on"]


def test_precedence(tmp_path):
    """flag > --set > recipe > default."""
    path = tmp_path / "r.yaml"
    path.write_text("seeds: [1]\nllm: a\ntrain: {steps: 7, batch_size: 3}\n")
    recipe = load_recipe(path, settings=["llm=b", "train.steps=8", "seeds=[2]"], flags={"seeds": [3], "llm": None})
    assert (recipe.seeds, recipe.llm, recipe.train.steps, recipe.train.batch_size) == ([3], "b", 8, 3)
    assert recipe.train.weight_decay == load_recipe().train.weight_decay


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.stepz=3", r"no recipe key is named 'train.stepz'. Did you mean 'train.steps'?"),
        ("trian.steps=3", r"no recipe key is named 'trian'. Did you mean 'train'?"),
        ("train.steps=0", "train.steps = 0: Input should be greater than or equal to 1."),
        ("train.steps=many", "train.steps = 'many'"),
        ("train=3", "train = 3"),
        ("llm.name=3", "llm = {'name': 3}"),
        ("integration.layers=top", "write all, from:k with a 0-based layer k"),
        ("encoders=[logmel, logmel]", "the same entry stands there twice"),
        ("seeds=[]", "seeds = []"),
        ("name=../up", "name = '../up'"),
        ("train.steps={a", "is no valid YAML"),
        ("train.learning_rate=.nan", "train.learning_rate = nan"),
        ("train.gradient_clip=.inf", "train.gradient_clip = inf"),
        ("train.learning_rate=1e999", "train.learning_rate = inf"),
        ("seeds=[-1]", "seeds.0 = -1"),
        ("seeds=[9223372036854775808]", "seeds.0 = 9223372036854775808"),
        ("folds=[]", "folds = []"),
        ("folds=[1, 1]", "the same entry stands there twice"),
        ("encoders=logmel", "Write [a, b]."),
        ("name=..", "name = '..'"),
        ("llm=2020-13-45", "--set llm is no valid YAML"),
    ],
)
def test_wrong_values_name_their_key(setting, message):
    """Each wrong key or value is one line with the dotted key and the nearest right one."""
    with pytest.raises(RecipeError) as error:
        load_recipe(settings=[setting])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_setting_without_value_is_a_usage_error():
    """`--set train.steps` says how it is written."""
    with pytest.raises(UsageError, match="has no '='"):
        load_recipe(settings=["train.steps"])


def test_a_recipe_that_cannot_be_read(tmp_path):
    """A file of another encoding is refused by name, not with a traceback."""
    path = tmp_path / "r.yaml"
    path.write_bytes(b"llm: caf\xe9\n")
    with pytest.raises(RecipeError, match=r"r\.yaml cannot be read: .*utf-8"):
        load_recipe(path)


def test_a_recipe_that_is_a_list(tmp_path):
    """A YAML file of another shape is refused by name."""
    path = tmp_path / "r.yaml"
    path.write_text("- a\n- b\n")
    with pytest.raises(RecipeError, match="holds list"):
        load_recipe(path)


def test_dump_reads_back(tmp_path):
    """The resolved recipe, every default written out, is the same recipe when read."""
    recipe = load_recipe(settings=["train.learning_rate=3e-5", "integration.layers=[0, 1]", "tasks=['no']"])
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe))
    assert load_recipe(path) == recipe
