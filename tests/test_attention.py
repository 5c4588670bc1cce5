"""attention.safetensors and its picture, beside a result that stays as it is."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from palprobe.errors import PalprobeError
from palprobe.evaluation.attended import BINS
from palprobe.evaluation.attention import FILE, add_attention
from palprobe.evaluation.evaluate import evaluate
from palprobe.features.extraction import extract
from palprobe.files import load_metadata, load_tensors
from palprobe.recipe import load_recipe
from palprobe.report.attention import attention_figure, draw_attention
from palprobe.runs import Cell, Places
from palprobe.specs import parse_encoder
from palprobe.training.train_cell import train_cell
from palprobe.training.workspace import Workspace

SOURCES = {"lal": "memory", "flamingo": "blocks"}


@pytest.fixture(scope="module")
def runs(tones, tmp_path_factory):
    """(workspace, plan) of a short run of lal and of one of flamingo."""
    folder = tmp_path_factory.mktemp("attention")
    recipe = load_recipe(settings=["train.steps=8", "train.batch_size=8"], flags={"tasks": [str(tones)]})
    places = Places(store=folder / "features", runs=folder / "runs")
    extract([parse_encoder("logmel")], Workspace(recipe, places).task(str(tones)).examples, recipe, places.store)
    workspace = Workspace(recipe, places)
    plans = {name: workspace.plan(Cell("logmel", name, "tiny", str(tones), 0, 0)) for name in ("lal", "flamingo")}
    for plan in plans.values():
        train_cell(workspace, plan, lambda _: None)
    return workspace, plans


def state(folder):
    """When each file was last written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_the_file_is_added_to_a_result_that_stays(runs):
    """Shapes, ids and means are as described; the result is not touched, and a second call finds the file."""
    workspace, plans = runs
    asked = (workspace, plans["lal"], "test", workspace.recipe.scoring)
    folder = evaluate(*asked)
    (folder / FILE).unlink(missing_ok=True)
    before = state(folder)
    path = add_attention(*asked)
    assert state(folder).items() - before.items() == {(path.name, path.stat().st_mtime_ns)}
    tensors, about = load_tensors(path), load_metadata(path)
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert json.loads(about["ids"]) == [line["id"] for line in lines]
    assert tensors["last.memory"].shape == (12, 2, BINS) and tensors["last.memory"].dtype == torch.float16
    right = torch.tensor([line["correct"] for line in lines])
    for kind, chosen in (("correct", right), ("wrong", ~right)):
        if chosen.any():
            expected = tensors["share.last"][chosen].float().mean(0)
            torch.testing.assert_close(tensors[f"{kind}.share.last"].float(), expected, atol=2e-3, rtol=0)
        else:
            assert f"{kind}.share.last" not in tensors
    assert path.stat().st_size < 20_000
    written = path.stat().st_mtime_ns
    assert add_attention(*asked) == path and path.stat().st_mtime_ns == written


def test_predictions_of_other_items_are_refused(runs):
    """Attention would be filed under the wrong ids."""
    workspace, plans = runs
    section = workspace.recipe.scoring
    folder = evaluate(workspace, plans["lal"], "validation", section)
    lines = (folder / "predictions.jsonl").read_text().splitlines(keepends=True)
    (folder / "predictions.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(PalprobeError, match="predictions of other items"):
        add_attention(workspace, plans["lal"], "validation", section)


@pytest.mark.parametrize("name", SOURCES)
def test_the_plot_shows_the_numbers_of_the_file(runs, name):
    """Heat maps are means over items, lines their sums or the gates; the same file gives the same picture."""
    workspace, plans = runs
    asked = (workspace, plans[name], "test", workspace.recipe.scoring)
    evaluate(*asked)
    path = add_attention(*asked)
    tensors = load_tensors(path)
    source = SOURCES[name]
    axes = attention_figure(path).axes
    for axis, rows in zip(axes[:2], ("last", "prompt"), strict=True):
        drawn = axis.images[0].get_array()
        np.testing.assert_allclose(drawn, tensors[f"{rows}.{source}"].float().mean(0).numpy())
    line = axes[2].lines[0].get_xdata()
    expected = tensors["gate"].float() if name == "flamingo" else tensors["last.memory"].float().mean(0).sum(-1)
    np.testing.assert_allclose(line, expected.numpy(), rtol=1e-5)
    picture = draw_attention(path)
    assert picture == path.with_suffix(".png")
    first = picture.read_bytes()
    assert first.startswith(b"\x89PNG") and draw_attention(path).read_bytes() == first


def test_the_command_says_where_it_is(runs):
    """`eval --attention` prints the table as ever on stdout and the picture's place on stderr."""
    from typer.testing import CliRunner

    from palprobe.cli import app

    workspace, plans = runs
    words = ["eval", str(plans["lal"].run.folder), "--store", str(workspace.places.store), "--format", "csv"]
    plain, read_out = (CliRunner().invoke(app, [*words, *more]) for more in ([], ["--attention"]))
    assert (plain.exit_code, read_out.exit_code) == (0, 0)
    assert read_out.stdout == plain.stdout
    (line,) = [line for line in read_out.stderr.splitlines() if line.startswith("attention: ")]
    assert Path(line.removeprefix("attention: ")).is_file()
