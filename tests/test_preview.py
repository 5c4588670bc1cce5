"""What is told before work begins: what a test set can show, what is to be done, and how long that took before."""

import json
from pathlib import Path

import pytest
from conftest import write_tone

from palprobe.grid.cells import cells_of, planned
from palprobe.grid.check import check_recipe
from palprobe.grid.preview import preview
from palprobe.recipe import load_recipe
from palprobe.runs import Places


def lines_of(task, *settings):
    workspace = check_recipe(load_recipe(settings=settings, flags={"tasks": [str(task)]}), Places())
    cells = cells_of(workspace)
    return preview(workspace, cells, [planned(workspace, cell) for cell in cells], "test"), workspace, cells


def test_resolution_seeds_and_work(tones):
    """36 items that are their own groups: 2.8 x sqrt(0.2 / 36) = 20.9 points (by hand); three folds, one seed, two
    integrations: six runs, and each is evaluated twice."""
    lines, _, _ = lines_of(tones, "rigor=quick")
    assert lines[0].startswith(
        f"{tones}: 36 test items; of two probes that disagree on 20% of them, a difference of 20.9"
    )
    assert lines[1] == "quick: one seed: no claim of a difference; controls: shuffled, floor"
    assert lines[2] == (
        "6 cells (6 compared): 6 of 6 runs to train, 12 of 12 evaluations to make; "
        "time not known yet: no earlier run of the kind is there"
    )
    lines, _, _ = lines_of(tones, "controls=[blind]", "seeds=[0, 1]")
    assert lines[1] == "standard: 2 seeds; controls: blind"
    assert lines[2].startswith("24 cells (12 compared, 12 blind): 24 of 24 runs to train, 24 of 24 evaluations to make")


def test_groups_count_not_items():
    """Twenty test items of four speakers are four: 2.8 x sqrt(0.2 / 4) = 62.6 points."""
    rows = ["id,audio,label,split,group"]
    for number in range(30):
        write_tone(Path(f"{number}.wav"), 500, seconds=0.3, seed=number)
        split = "test" if number < 20 else "train"
        rows.append(f"c{number},{number}.wav,{'ab'[number % 2]},{split},{split}{number % 4}")
    Path("g.csv").write_text("\n".join(rows) + "\n")
    assert "20 test items in 4 groups; " in lines_of("g.csv")[0][0] and "62.6 points" in lines_of("g.csv")[0][0]


def finished(plan, *, train_seconds, eval_seconds):
    """A run folder that says how long it took."""
    folder = plan.run.folder
    (folder / "eval/test-likelihood").mkdir(parents=True)
    (folder / "identity.json").write_text(json.dumps(plan.run.identity))
    (folder / "train.json").write_text(json.dumps({"train_seconds": train_seconds}))
    result = {"run_id": plan.run.id, "identity": {}, "cost": {"eval_seconds": eval_seconds}}
    (folder / "eval/test-likelihood/result.json").write_text(json.dumps(result))


@pytest.mark.parametrize(
    ("train", "score", "shown"), [(10.0, 1.0, "56 s"), (600, 60.0, "56 min"), (3600, 360, "5.6 h")]
)
def test_the_time_of_earlier_runs(tones, train, score, shown):
    """One of six runs is trained, and its evaluation is of another identity: five trainings and six evaluations,
    5 x 10 + 6 x 1 s. Of another integration nothing is known; damaged records tell nothing."""
    _, workspace, cells = lines_of(tones, "controls=[]", "seeds=[0]", "integrations=[lal]", "folds=[0]")
    finished(workspace.plan(cells[0]), train_seconds=train, eval_seconds=score)
    asked = ["controls=[]", "seeds=[0, 1, 2, 3, 4, 5]", "integrations=[lal]", "folds=[0]"]
    lines, _, _ = lines_of(tones, *asked)
    assert lines[-1].startswith("6 cells (6 compared): 5 of 6 runs to train, 6 of 6 evaluations to make; about ")
    assert f"about {shown} without extraction" in lines[-1]
    lines, _, _ = lines_of(tones, *asked[:2], "integrations=[lal, plits]", "folds=[0]")
    assert "at least" in lines[-1]  # of plits nothing is known
    for path in Path("runs").glob("*/identity.json"):
        path.write_text("{")
    assert "time not known yet" in lines_of(tones, *asked)[0][-1]
