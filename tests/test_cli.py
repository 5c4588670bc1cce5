"""The command line as a person or a pipeline meets it: real processes, real files, real exit codes."""

import csv
import io
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from palprobe.recipe import load_recipe
from palprobe.runs import Cell, Places, extract_command, section_flags, train_command
from palprobe.specs import split_list

SMALL = ("rigor=quick", "controls=[]", "train.steps=12", "train.batch_size=8", "data.validation_fraction=0.2")


def palprobe(*words, check=True, stdin=None, **environment):
    """Runs the command in a process of its own; returns it with stdout and stderr as text."""
    done = subprocess.run(
        [sys.executable, "-m", "palprobe", *map(str, words)],
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


def settings(*lines):
    return [word for line in (*SMALL, *lines) for word in ("--set", line)]


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def scores_of(text):
    """(encoder, integration, fold, metric) → score, of a CSV leaderboard."""
    return {
        (row["encoder"], row["integration"], row["fold"], row["metric"]): float(row["score"]) for row in rows_of(text)
    }


@pytest.mark.slow
def test_all_commands_one_after_the_other(tones, tmp_path):
    """extract, train, eval, compare, report, list, validate and doctor work together on one manifest."""
    store = palprobe("extract", "--encoder", "logmel", "--data", tones).stdout.strip()
    assert len(list(Path(store).glob("*.safetensors"))) == 1
    run = palprobe(
        "train", "--encoder", "logmel", "--task", tones, "--integration", "lal", "--fold", "0", *settings()
    ).stdout.strip()
    assert json.loads((Path(run) / "train.json").read_text())["steps"] == 12
    head = palprobe("eval", run).stdout
    row = rows_of(head)[0]
    assert (row["encoder"], row["integration"], row["fold"], row["n"]) == ("logmel", "lal", "0", "12")
    assert float(row["ci_low"]) <= float(row["score"]) <= float(row["ci_high"])
    bare = palprobe("eval", run, "--no-header").stdout
    assert head.split("\n", 1)[1] == bare  # `>> board.csv` appends rows alone
    asked = ["compare", "--encoders", "logmel,mfcc", "--tasks", tones, *settings()]
    first = palprobe(*asked)
    assert len([key for key in scores_of(first.stdout) if key[3] == "accuracy"]) == 4 * 3 + 4  # cells and aggregates
    assert "train" in first.stderr
    report = Path("results/compare")
    assert (report / "leaderboard.csv").read_text() == first.stdout
    assert "| logmel" in (report / "report.md").read_text()
    again = palprobe(*asked)
    assert again.stdout == first.stdout
    assert "train" not in again.stderr and "extract" not in again.stderr  # nothing was done again
    assert scores_of(palprobe("report", "runs").stdout) == scores_of(first.stdout)
    assert palprobe("report", "runs", "--format", "markdown").stdout.startswith("#")
    assert json.loads(palprobe("report", "runs", "--format", "json").stdout)
    assert "logmel" in palprobe("list", "encoders").stdout
    both = settings(f"tasks=[{tones}]", "encoders=[logmel,mfcc]")
    assert "12 cells" in palprobe("validate", *both).stdout
    assert "torch" in palprobe("doctor").stdout


@pytest.mark.slow
def test_planned_lines_in_any_order_then_compare(tones):
    """Lines of each stage run in reverse give the scores of a plain compare, which then has nothing to do."""
    asked = ["compare", "--encoders", "logmel", "--integrations", "lal,plits", "--folds", "0,1", "--tasks", tones]
    asked += settings("scoring.bootstrap_draws=300")
    whole = palprobe(*asked, "--store", "whole/features", "--runs", "whole/runs", "--out", "whole/results").stdout
    for stage in ("extract", "train", "eval"):
        lines = palprobe(*asked, f"--plan={stage}").stdout.splitlines()
        assert len(lines) == {"extract": 1, "train": 4, "eval": 4}[stage]
        for line in reversed(lines):
            palprobe(*shlex.split(line)[1:])
    after = palprobe(*asked)
    assert "train" not in after.stderr
    assert scores_of(after.stdout) == scores_of(whole)
    assert len(palprobe(*asked, "--plan").stdout.splitlines()) == 9


@pytest.mark.slow
def test_a_failing_cell_leaves_the_others_and_exit_code_3(tones):
    """One encoder breaks in the middle; the other's cells are reported, and the exit code says some failed."""
    Path("mine.py").write_text(
        "import torch\n"
        "class Mine:\n"
        "    sample_rate, frame_rate, dim = 16000, 10.0, 4\n"
        "    def encode(self, waveform):\n"
        "        if waveform.abs().max() > 0: raise ValueError('no luck today')\n"
    )
    done = palprobe(
        "compare", "--encoders", "logmel,mine.py:Mine", "--folds", "0", "--tasks", tones, *settings(), check=False
    )
    assert done.returncode == 3
    assert {row["encoder"] for row in rows_of(done.stdout)} == {"logmel"}
    assert "no luck today" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_user_encoder_is_trained_without_being_loaded(tones):
    """After extraction, train and eval run although the user's class can no longer be built."""
    code = (
        "import os, torch\n"
        "class Mine(torch.nn.Module):\n"
        "    sample_rate, frame_rate, dim = 16000, 50.0, 8\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        assert 'CLOSED' not in os.environ, 'the encoder was loaded'\n"
        "        torch.manual_seed(0)\n"
        "        self.map = torch.nn.Conv1d(1, 8, 320, 320)\n"
        "    def forward(self, waveform):\n"
        "        return self.map(waveform[None, None])[0].T\n"
    )
    Path("mine.py").write_text(code)
    palprobe("extract", "--encoder", "mine.py:Mine", "--data", tones)
    cell = ["--encoder", "mine.py:Mine", "--task", tones, "--fold", "1", *settings()]
    run = palprobe("train", *cell, CLOSED="1").stdout.strip()
    assert rows_of(palprobe("eval", run, CLOSED="1").stdout)[0]["encoder"] == "mine.py:Mine"


def test_planned_lines_hold_every_setting():
    """What is not at its default is in the lines, scoring too; a name with a comma stays one name."""
    recipe = load_recipe(settings=["scoring.bootstrap_draws=300", "train.steps=7", "data.limit=4"])
    cell = Cell("logmel", "lal", "tiny", "esc50=/a,b", 0, 1)
    line = shlex.split(extract_command("logmel", cell.task, recipe, Places()))
    assert split_list(line[line.index("--data") + 1]) == ["esc50=/a,b"]
    assert "data.limit=4" in line and "train.steps=7" not in line
    assert "train.steps=7" in shlex.split(train_command(cell, recipe, Places()))
    assert section_flags(recipe, "scoring") == ["--set", "scoring.bootstrap_draws=300"]


def test_help_is_quick_and_shows_every_command():
    """`palprobe --help` takes under 0.4 s (best of five) and names all commands."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        text = palprobe("--help").stdout
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.4
    for command in ("compare", "extract", "train", "eval", "report", "bench", "list", "validate", "doctor"):
        assert f"  {command} " in text


def test_options_are_the_agreed_ones():
    """The commands' options are frozen here, so that a new one is a decision."""
    from typer.main import get_command

    from palprobe.cli import app

    found = {
        name: sorted(option for parameter in command.params for option in parameter.opts)
        for name, command in get_command(app).commands.items()
    }
    shared = ["--recipe", "--set", "--device", "--store", "--data-root"]
    table = ["--format", "--header"]
    read = ["--set", "--device", "--store", "--data-root"]
    grid = [
        "--encoders",
        "--integrations",
        "--tasks",
        "--llm",
        "--seeds",
        "--folds",
        "--rigor",
        "--limit",
        "--plan",
        "--out",
    ]
    cell = ["--encoder", "--task", "--llm", "--integration", "--seed", "--fold", "--control"]
    sizes = ["--llm", "--audio-tokens", "--text-tokens", "--batch", "--integrations", "--trainable", "--encoder"]
    assert found == {
        "compare": sorted([*shared, *table, *grid, "--sweep", "--train-on", "--runs", "--allow-missing"]),
        "extract": sorted([*shared, "--encoder", "--data", "--retry-failed", "--allow-missing"]),
        "train": sorted([*shared, *cell, "--train-on", "--runs", "--allow-missing"]),
        "eval": sorted(
            [*read, "run", "--split", "--scoring", "--rescore", "--hard", "--drop", "--control", "--attention", *table]
        ),
        "report": sorted(["results", "--out", *table]),
        "bench": sorted([*sizes, "--quick", "--time-limit", "--out", "--format", "--device"]),
        "list": ["--format", "kind"],
        "validate": sorted([*shared, "source"]),
        "doctor": ["--store"],
    }
    examined = get_command(app).commands["doctor"].commands["encoder"].params
    options = sorted(option for parameter in examined for option in parameter.opts)
    assert options == ["--device", "--format", "--recipe", "--set", "spec"]


def test_a_task_on_stdin(tones):
    """JSON lines on stdin are a task; audio paths count from the working directory."""
    lines = [
        json.dumps({"id": row["id"], "audio": str(tones.parent / row["audio"]), "label": row["label"], "split": split})
        for row in rows_of(tones.read_text())
        for split in ["test" if row["fold"] == "0" else "train"]
    ]
    done = palprobe("compare", "--tasks", "-", "--integrations", "lal", *settings(), stdin="\n".join(lines) + "\n")
    assert rows_of(done.stdout)[0]["n"] == "12"


def test_a_closed_pipe_is_no_error(tones):
    """`palprobe list | head -1` ends quietly."""
    command = f"{sys.executable} -m palprobe list | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr
