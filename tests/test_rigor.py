"""Rigor: what each level comes to, what a recipe or flag says instead, and that runs of before stay what they were."""

from pathlib import Path

import pytest
from conftest import write_tone

from palprobe.controls.rigor import completed, without_untrained
from palprobe.errors import RecipeError
from palprobe.evaluation.results import evaluations
from palprobe.files import digest
from palprobe.grid.asked import asked_of
from palprobe.grid.cells import cells_of, refusals
from palprobe.grid.check import check_recipe
from palprobe.recipe import load_recipe
from palprobe.recipe.rigor import CONTROLS, PRESETS, check_trained
from palprobe.runs import Cell, Places
from palprobe.training.workspace import Workspace

STANDARD = ["shuffled", "floor", "blind", "linear"]
# sha256 of what of a run's identity no machine and no clip decides, made before there were controls
BEFORE = {"lal": "801c1111dbb0c96c4247fed92ea4e74e", "plits": "ef732e65adf940c73be009980396a074"}


def grid(tones, *settings, **flags):
    recipe = load_recipe(settings=settings, flags={"tasks": [str(tones)], "folds": [0], **flags})
    return check_recipe(recipe, Places())


def counted(workspace):
    """(control, encoder) → how many cells; of the controls that this file is about."""
    found = {}
    for cell in cells_of(workspace):
        if not cell.control.startswith("portion"):
            found[cell.control, cell.encoder] = found.get((cell.control, cell.encoder), 0) + 1
    return found


def test_each_level_lists_its_cells(tones):
    """mfcc under plits and lal, one fold. By hand: 2 cells a seed and encoder; blind 2 a seed for all encoders."""
    assert counted(grid(tones, encoders=["mfcc"], rigor="quick")) == {("none", "mfcc"): 2, ("none", "logmel"): 2}
    assert counted(grid(tones, encoders=["mfcc"])) == {
        ("none", "mfcc"): 6,
        ("none", "logmel"): 6,
        ("blind", "blind"): 6,
    }
    encoders = ["random:whisper:tiny", "logmel"]
    assert counted(grid(tones, encoders=encoders, rigor="paper")) == {
        ("none", "random:whisper:tiny"): 10,
        ("none", "logmel"): 10,
        ("blind", "blind"): 10,
        ("verbaliser", "random:whisper:tiny"): 10,
        ("verbaliser", "logmel"): 10,
    }


def test_what_a_level_evaluates(tones):
    """quick and standard shuffle the clips, paper also plays silence and noise; controls and flags go before."""
    heard = {
        rigor: [one.heard for one in asked_of(workspace, workspace.plan(cells_of(workspace)[0]), "test")]
        for rigor in PRESETS
        for workspace in [grid(tones, rigor=rigor)]
    }
    assert heard == {
        "quick": ["none", "shuffled"],
        "standard": ["none", "shuffled"],
        "paper": ["none", "shuffled", "silence", "gaussian"],
    }
    plain = grid(tones, "controls=[]", seeds=[7], rigor="paper")
    assert [(cell.encoder, cell.seed) for cell in cells_of(plain)] == [("logmel", 7)] * 2


def test_a_recipe_is_completed_once():
    """Seeds, controls and encoders of a level are written out; completed again it is the same."""
    recipe = completed(load_recipe(settings=["encoders=[mfcc]"]))
    assert (recipe.seeds, recipe.controls, recipe.encoders) == ([0, 1, 2], STANDARD, ["mfcc", "logmel"])
    assert completed(recipe) == recipe
    assert completed(load_recipe(settings=["encoders=[logmel@0]"])).encoders == ["logmel@0"]
    names = ["whisper:tiny@2", "random:beats", "mfcc+whisper:tiny"]
    paper = completed(load_recipe(flags={"encoders": names, "rigor": "paper"}))
    assert paper.encoders[3:] == [
        "logmel",
        "random1:whisper:tiny@2",
        "random2:whisper:tiny@2",
        "mfcc+random1:whisper:tiny",
        "mfcc+random2:whisper:tiny",
    ]
    assert completed(paper) == paper


def test_an_own_encoder_without_parameters_has_no_untrained_control():
    """It is left out, and said; with parameters it has two."""
    Path("own.py").write_text(
        "import torch\n"
        "class Plain:\n"
        "    sample_rate, frame_rate, dim = 16000, 25.0, 4\n"
        "    def encode(self, waveform): return torch.zeros(3, 4)\n"
        "class Weighed(Plain, torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.map = torch.nn.Linear(2, 2)\n"
    )
    names = ["own.py:Plain", "own.py:Weighed"]
    recipe = completed(load_recipe(flags={"encoders": names, "controls": ["random"]}))
    assert recipe.encoders == [*names, "random1:own.py:Weighed", "random2:own.py:Weighed"]
    assert without_untrained(recipe) == ["own.py:Plain"]


def test_controls_that_mean_nothing_are_left_out_and_said():
    """Names of classes cannot be exchanged where every question has its own choices; one clip cannot be shuffled."""
    rows = ["id,audio,answer,choices,split,prompt"]
    for number in range(9):
        write_tone(Path(f"{number}.wav"), 500, seconds=0.3, seed=number)
        rows.append(f"q{number},{number}.wav,a{number},a{number}|b{number},{'test' if number == 8 else 'train'},Which?")
    Path("own.csv").write_text("\n".join(rows) + "\n")
    recipe = load_recipe(flags={"tasks": ["own.csv"], "rigor": "paper"})
    workspace = check_recipe(recipe, Places())
    assert {cell.control for cell in cells_of(workspace)} & {"none", "blind", "verbaliser"} == {"none", "blind"}
    (line,) = [line for line in refusals(workspace) if line.startswith("verbaliser on own.csv does not apply")]
    assert "no classification but multiple-choice" in line
    plan = workspace.plan(cells_of(workspace)[0])
    assert [one.heard for one in asked_of(workspace, plan, "test")] == ["none", "silence", "gaussian"]


def test_names_of_controls_are_checked():
    """A near miss is named, in the recipe and for a run."""
    with pytest.raises(RecipeError, match=r"controls.0 = 'shufled'.*Did you mean 'shuffled'"):
        load_recipe(settings=["controls=[shufled]"])
    with pytest.raises(RecipeError, match=r"seeds|rigor = 'strict'"):
        load_recipe(settings=["rigor=strict"])
    assert load_recipe(settings=["controls=['portion 0.3']"]).controls == ["portion 0.3"]
    assert [check_trained(name) for name in ("none", "verbaliser", "portion .5")] == [
        "none",
        "verbaliser",
        "portion .5",
    ]
    for wrong in ("shuffled", "blind", "verbalizer"):
        with pytest.raises(RecipeError, match="No run is trained with the control"):
            check_trained(wrong)
    assert all(name in CONTROLS for preset in PRESETS.values() for name in preset.controls)


def test_runs_and_evaluations_of_before_are_what_they_were(tones):
    """The identity of a run without a control has no word of controls, and neither has that of its evaluation."""
    workspace = Workspace(load_recipe(), Places())
    for integration, before in BEFORE.items():
        plan = workspace.plan(Cell("logmel", integration, "tiny", str(tones), 0, 0))
        identity = plan.run.identity
        assert digest({key: identity[key] for key in identity.keys() - {"features", "task"}}) == before
        (evaluation,) = evaluations(plan, "test", plan.recipe.scoring)
        assert evaluation.folder == plan.run.folder / "eval" / "test-likelihood"
        assert evaluation.identity == {
            "run": plan.run.id,
            "split": "test",
            "scoring": "likelihood",
            "control": "none",
            "scorer": 1,
            "bootstrap_draws": 2000,
        }
        under = workspace.plan(Cell("logmel", integration, "tiny", str(tones), 0, 0, control="verbaliser"))
        assert under.run.identity["control"] == "verbaliser"
        (shuffled,) = evaluations(plan, "test", plan.recipe.scoring, heard="shuffled")
        assert shuffled.folder.name == "test-likelihood-shuffled" and shuffled.identity["control"] == "shuffled"
