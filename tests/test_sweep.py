"""Sweeps: every combination is a cell, what makes no difference is run once, what cannot be swept over is refused."""

import json
import shlex
from pathlib import Path

import pytest
from conftest import PLAIN
from small_llms import saved, small_llm
from typer.testing import CliRunner

from palprobe.cli import app
from palprobe.cli.options import sweep_from
from palprobe.errors import PalprobeError, RecipeError, UsageError
from palprobe.files import read_json
from palprobe.recipe import dump_recipe, load_recipe
from palprobe.recipe.sweep import distinct, variants
from palprobe.runs import trainable_of

SMALL = ["--set", "train.steps=2", "--set", "train.batch_size=8", *PLAIN, "--folds", "0"]


def palprobe(*words):
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def rows_of(done) -> dict[tuple[str, ...], str]:
    """(integration, llm, trainable) → run id, of the rows of accuracy."""
    rows = [row for row in json.loads(done.stdout) if row["metric"] == "accuracy"]
    return {(row["integration"], row["llm"], row["trainable"]): row["run_id"] for row in rows}


def test_combinations_are_the_product_and_the_last_key_changes_fastest():
    """Two keys of two values are four recipes; values are what the recipe holds, lists and numbers too."""
    recipe = load_recipe(sweep={"integration.layers": ["all", [0, 1]], "train.steps": [5, 6]})
    applied = [variant.apply(recipe) for variant in variants(recipe)]
    assert [(one.integration.layers, one.train.steps) for one in applied] == [
        ("all", 5),
        ("all", 6),
        ([0, 1], 5),
        ([0, 1], 6),
    ]
    assert all(one.sweep == {} for one in applied)
    assert variants(load_recipe())[0].apply(recipe) == recipe


def test_a_recipe_with_a_sweep_reads_back(tmp_path):
    """Written out with every default and read again it is the same recipe; the flag's key replaces the file's."""
    recipe = load_recipe(sweep={"integration.layers": ["all", "from:1"], "llm": ["tiny", "other"]})
    (tmp_path / "r.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "r.yaml") == recipe
    again = load_recipe(tmp_path / "r.yaml", sweep={"llm": ["third", "tiny"]})
    assert again.sweep == {"integration.layers": ["all", "from:1"], "llm": ["third", "tiny"]}


def test_labels_hold_what_tells_runs_apart_and_nothing_else():
    """By hand: rank counts under per_layer alone, one value needs no label, and what has a column of its own none."""
    recipe = load_recipe(
        sweep={
            "integration.connector": ["shared", "per_layer"],
            "integration.rank": [4, 8],
            "train.trainable": ["full", "connector"],
            "train.steps": [5],
        }
    )

    def identity(variant):
        section = variant.apply(recipe).integration
        rank = section.rank if section.connector == "per_layer" else None
        return [section.connector, rank, trainable_of(variant.apply(recipe))]

    assert [(variant.label, variant.apply(recipe).train.trainable) for variant in distinct(recipe, identity)] == [
        ("connector=shared", "full"),
        ("connector=shared", "connector"),
        ("connector=per_layer rank=4", "full"),
        ("connector=per_layer rank=4", "connector"),
        ("connector=per_layer rank=8", "full"),
        ("connector=per_layer rank=8", "connector"),
    ]


def test_a_default_and_its_name_are_one():
    """For tiny, trainable null means full: one run, which keeps the values it was made from."""
    recipe = load_recipe(sweep={"train.trainable": [None, "full"]})
    (one,) = distinct(recipe, lambda variant: trainable_of(variant.apply(recipe)))
    assert (one.label, one.apply(recipe).train.trainable) == ("", None)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        (
            {"integration.layer": ["all"]},
            "no recipe key is named 'integration.layer'. Did you mean 'integration.layers'",
        ),
        ({"integration.layers": ["all", "top"]}, "integration.layers = 'top': write all, from:k"),
        ({"train.steps": [5, 0]}, "train.steps = 0: Input should be greater than or equal to 1"),
        ({"train.steps": []}, "sweep.train.steps = []"),
        ({"train.steps": 5}, "sweep.train.steps = 5: Input should be a valid list. Write [a, b]."),
        ({"train.learning_rate": [1e-3, 0.001]}, "train.learning_rate takes 0.001 twice"),
        ({"seeds": [[0], [1]]}, "seeds has an axis of its own. Write seeds: [a, b], or --seeds a,b."),
        ({"encoders": [["logmel"]]}, "encoders has an axis of its own"),
        ({"name": ["a", "b"]}, "name cannot be swept over: it decides no run"),
        ({"data.limit": [5, 6]}, "data.limit cannot be swept over: all rows of a comparison are about the same items"),
        ({"store.dtype": ["float32"]}, "all rows of an encoder read the same features"),
        ({"encoder.init_seed": [0, 1]}, "all rows of an encoder read the same features"),
        ({"scoring.method": ["generation"]}, "palprobe eval --scoring"),
        ({"train.checkpoint_steps": [1, 2]}, "it changes no result"),
        ({"integration": [{}]}, "it is a section; take one of its keys, as integration.connector"),
        ({"llm": ["tiny", 5]}, "llm = 5"),
        (
            {"integration.pool": ["none", "time:2"], "integration.tokens_per_second": [None, 5.0]},
            "pool and tokens_per_second both decide",
        ),
    ],
)
def test_what_cannot_be_swept_over_is_one_line(sweep, message):
    """Unknown keys, other axes, what all rows share, wrong, double and clashing values: the key and why."""
    with pytest.raises(RecipeError) as error:
        variants(load_recipe(sweep=sweep))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_command_lines_are_read_as_yaml():
    """Commas part values, brackets hold a list together, names of LLMs stay text; what is unclear is refused."""
    found = sweep_from(["integration.layers=all,[0,1],from:2", "train.trainable=null,lora"], ["tiny", "1e3"])
    assert found == {
        "llm": ["tiny", "1e3"],
        "integration.layers": ["all", [0, 1], "from:2"],
        "train.trainable": [None, "lora"],
    }
    assert sweep_from(None, ["tiny"]) == {}
    for lines, llms in ((["train.steps"], []), (["train.steps="], []), (["a=1", "a=2"], []), (["llm=a"], ["b", "c"])):
        with pytest.raises(UsageError):
            sweep_from(lines, llms)
    with pytest.raises(RecipeError, match=r"--sweep train\.steps is no valid YAML"):
        sweep_from(["train.steps=[1"], [])


def test_a_key_is_set_or_swept_over():
    """Both on the command line, or a flag beside the recipe's sweep: refused, as one would have no effect."""
    with pytest.raises(UsageError, match=r"train.steps is set on the command line, and swept over"):
        load_recipe(settings=["train.steps=5"], sweep={"train.steps": [5, 6]})
    with pytest.raises(UsageError, match=r"llm is set on the command line"):
        load_recipe(settings=["sweep={llm: [a, b]}"], flags={"llm": "tiny"})
    assert load_recipe(settings=["sweep={llm: [a, b]}", "sweep={}"], flags={"llm": "tiny"}).llm == "tiny"


def test_depths_are_compared_and_what_reads_none_runs_once(tones):
    """plits, which reads no layers, is one unlabelled row; each lal row is the run that --set alone would make."""
    asked = ["compare", "--tasks", tones, "--integrations", "plits,lal", "--sweep", "integration.layers=from:1,all,[0]"]
    done = palprobe(*asked, *SMALL, "--format", "json")
    rows = rows_of(done)
    assert list(rows) == [
        (integration, "tiny", "full")
        for integration in ("lal layers=[0]", "lal layers=all", "lal layers=from:1", "plits")
    ]
    assert len(list(Path("runs").iterdir())) == 4
    plain = ["--encoder", "logmel", "--task", tones, "--fold", "0", *SMALL[:4]]
    for words, integration in (
        (["lal", "--set", "integration.layers=from:1"], "lal layers=from:1"),
        (["lal"], "lal layers=all"),
        (["plits"], "plits"),
    ):
        run = Path(palprobe("train", *plain, "--integration", *words).stdout.strip())
        assert run.name == rows[integration, "tiny", "full"]
        result = read_json(run / "eval" / "test-likelihood" / "result.json")
        assert result["cell"]["integration"] == words[0], "the label is the comparison's, not the run's"
    again = palprobe(*asked, *SMALL, "--format", "json")
    assert again.stdout == done.stdout and "train" not in again.stderr
    with pytest.raises(PalprobeError, match=r"integration\.layers: \S+ there, \S+ here"):
        palprobe("report", "runs")


def test_planned_lines_make_the_swept_runs(tones):
    """A line for each run that differs; every train line, on its own, finds the run that compare made."""
    asked = ["compare", "--tasks", tones, "--integrations", "plits,lal", "--sweep", "integration.layers=from:1,all"]
    asked += ["--sweep", "train.learning_rate=1e-3,3e-3", *SMALL]
    rows = rows_of(palprobe(*asked, "--format", "json"))
    assert len(rows) == 6 and ("plits learning_rate=0.003", "tiny", "full") in rows
    lines = {stage: palprobe(*asked, f"--plan={stage}").stdout.splitlines() for stage in ("extract", "train", "eval")}
    assert [len(lines[stage]) for stage in lines] == [1, 6, 6]
    runs = [Path(palprobe(*shlex.split(line)[1:]).stdout.strip()).name for line in lines["train"]]
    assert sorted(runs) == sorted(rows.values())
    assert {word.split("/")[-1] for line in lines["eval"] for word in shlex.split(line) if "runs/" in word} == set(runs)


def test_llms_are_swept_over(tones, tmp_path):
    """`--llm A,B` is a row for each in the llm column; one LLM under two names and a layer too many are refused."""
    llm = saved(small_llm(), tmp_path / "llama")
    asked = ["compare", "--tasks", tones, "--integrations", "lal", *SMALL]
    done = palprobe(*asked, "--llm", f"tiny,{llm}", "--format", "json")
    assert {key[:2] for key in rows_of(done)} == {("lal", "tiny"), ("lal", str(llm))}
    lines = palprobe(*asked, "--llm", f"tiny,{llm}", "--plan=train").stdout.splitlines()
    assert [shlex.split(line)[shlex.split(line).index("--llm") + 1] for line in lines] == ["tiny", str(llm)]
    (tmp_path / "other").symlink_to(llm)
    with pytest.raises(UsageError, match="are the same one"):
        palprobe(*asked, "--llm", f"{tmp_path / 'other'},{llm}")
    with pytest.raises(RecipeError, match="from:2': the LLM has layers 0 to 1"):  # tiny; the other has three
        palprobe(*asked, "--llm", f"tiny,{llm}", "--sweep", "integration.layers=all,from:2")
    assert len(list(Path("runs").iterdir())) == 2
    assert {json.loads(line)["path"] for line in Path("features/llms.jsonl").read_text().splitlines()} >= {
        str(llm / "model.safetensors")
    }


def test_train_makes_one_run(tones, tmp_path):
    """A recipe that sweeps is refused by `train`, with what to add; `validate` counts its cells."""
    (tmp_path / "r.yaml").write_text(f"tasks: ['{tones}']\nsweep: {{integration.layers: [all, 'from:1']}}\n")
    with pytest.raises(UsageError, match=r"sweeps over integration.layers. Add --set sweep=\{\}"):
        palprobe("train", "--recipe", "r.yaml", "--encoder", "logmel", "--task", tones)
    assert "# 9 cells" in palprobe("validate", "r.yaml", *PLAIN).stdout  # three folds of plits, and of lal twice


def test_pal_is_swept_over_as_the_cell_that_it_is(tones):
    """Each combination of `pal` with one encoder is the run of lal under the same one, and says both."""
    asked = ["compare", "--tasks", tones, "--integrations", "pal,lal", "--sweep", "integration.layers=all,from:1"]
    rows = rows_of(palprobe(*asked, *SMALL, "--format", "json"))
    for layers in ("all", "from:1"):
        assert rows[f"pal (= lal) layers={layers}", "tiny", "full"] == rows[f"lal layers={layers}", "tiny", "full"]
    assert len(list(Path("runs").iterdir())) == 2
    lines = palprobe(*asked, *SMALL, "--format", "markdown").stdout.splitlines()
    assert sum(line.count(" against lal layers=") for line in lines) == 1  # two runs, one pair
