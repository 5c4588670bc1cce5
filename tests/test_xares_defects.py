"""What goes wrong in xares-llm, and does not here, where no other test of this suite holds it already."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel
from tar_shards import samples, write_shard
from test_bad_input import palprobe  # noqa: F401 - a fixture
from test_tasks_xares import eval_file, train_file

from palprobe.files import load_tensors
from palprobe.recipe import Recipe, known_keys, load_recipe
from palprobe.runs import Cell, Places
from palprobe.training.workspace import Workspace

SECONDS = 0.2137  # 3419 samples, a length that no examination of an encoder has
ENCODER = f"""
import torch
from torch import nn

class ToyEncoder(nn.Module):
    def __init__(self, output_dim=4):
        super().__init__()
        torch.manual_seed(0)
        self.output_dim = output_dim
        self.net = nn.Linear(320, output_dim)

    def forward(self, audio, audio_attention_mask):
        if audio.shape[1] == {round(SECONDS * 16_000)}:
            with open({{calls!r}}, "a") as file:
                file.write("call\\n")
        return self.net(audio.unfold(1, 320, 320)), None
"""


@pytest.fixture
def cell():
    """The peer's encoder and files: eight clips to train on, two of them asked twice, and six to be tested."""
    write_shard(Path("t.tar"), samples([{"label": "dog"}, {"label": ["cat", "a cat"]}] * 4, seconds=SECONDS, start=50))
    write_shard(Path("x.tar"), samples([{"label": "dog"}, {"label": "cat"}] * 3, seconds=SECONDS))
    train = train_file(toy={"prompt": "Which?", "data": "t.tar", "key": "label"})
    tested = eval_file()
    Path("toy.py").write_text(ENCODER.format(calls=str(Path("calls.txt").absolute())))
    here = Path.cwd()
    tested, train = (f"xares:{here / spec.removeprefix('xares:')}" for spec in (tested, train))
    return {"encoder": f"xares:{here / 'toy.py'}", "task": tested, "on": train, "folder": here}


QUICK = ["--set", "train.steps=3", "--set", "train.batch_size=4", "--set", "scoring.method=generation"]


def num_calls():
    return len(Path("calls.txt").read_text().splitlines())


@pytest.mark.slow
def test_an_encoder_runs_once_for_each_clip_and_a_run_is_small_and_portable(cell, palprobe, monkeypatch):  # noqa: F811
    """Defects 1, 9 and 11: 14 forward passes for 14 clips and none later; only what was trained is saved, and scored
    from another working directory; predictions of two encoders have the same ids."""
    data = ["--task", cell["task"], "--train-on", cell["on"], *QUICK]
    runs = []
    for encoder in (cell["encoder"], "logmel"):
        for task in (cell["task"], cell["on"]):
            code, _, err = palprobe("extract", "--encoder", encoder, "--data", task)
            assert code == 0, err
        assert num_calls() == 14
        code, out, err = palprobe("train", "--encoder", encoder, "--set", "train.trainable=lora", *data)
        assert code == 0, err
        runs.append(cell["folder"] / out.strip())
    tensors = load_tensors(runs[0] / "probe.safetensors")
    assert all(".lora_" in name or name.startswith("branches.") for name in tensors)
    assert not any("ToyEncoder" in name or ".net." in name for name in tensors)
    (cell["folder"] / "elsewhere").mkdir()
    monkeypatch.chdir(cell["folder"] / "elsewhere")
    code, _, err = palprobe("eval", *runs, "--store", "../features", "--set", "scoring.method=generation")
    assert code == 0, err
    monkeypatch.chdir(cell["folder"])
    assert num_calls() == 14
    lines = [next(run.rglob("predictions.jsonl")).read_text().splitlines() for run in runs]
    ids = [[json.loads(line)["id"] for line in of_run] for of_run in lines]
    assert ids[0] == ids[1] == [f"toy/x/s{number}" for number in range(6)]


CHANGES = {
    "seed": ([], {"seed": 1}),
    "learning rate": (["train.learning_rate=0.01"], {}),
    "prompt form": (["prompt.template=xares"], {}),
    "steps": (["train.steps=5"], {}),
    "lora alpha": (["train.lora_alpha=32"], {}),
    "lora dropout": (["train.lora_dropout=0.1"], {}),
    "schedule": (["train.schedule=linear"], {}),
    "beta2": (["train.beta2=0.999"], {}),
    "training data": (["train.tasks=[xares:OTHER.yaml]"], {}),
}


def test_every_setting_that_matters_is_another_folder(cell):
    """Defect 4: seed, rate, prompt, data and each new key give a run of their own; the same settings find the same."""
    other = Path("TRAIN.yaml").read_text().replace("Which?", "What?")
    Path("OTHER.yaml").write_text(other)

    def run_id(settings=(), seed=0):
        base = [f"train.tasks=[{cell['on']}]", "train.trainable=lora", "scoring.method=generation"]
        recipe = load_recipe(settings=[*base, *settings], flags={"tasks": [cell["task"]]})
        workspace = Workspace(recipe, Places(), encoders_checked=True)
        return workspace.plan(Cell("logmel", "plits", "tiny", cell["task"], seed)).run.id

    ids = {name: run_id(settings, **others) for name, (settings, others) in CHANGES.items()}
    assert len({run_id(), *ids.values()}) == 1 + len(CHANGES)
    assert run_id() == run_id()


def test_options_of_an_encoder_are_other_features(cell):
    """Defect 4: the arguments that a class is made with stand in the identity of what it computes."""
    from palprobe.features.identity import feature_identities
    from palprobe.specs import parse_encoder

    specs = [cell["encoder"], cell["encoder"] + '={"output_dim": 5}']
    first, other = (feature_identities(parse_encoder(spec), Recipe())[0].fields for spec in specs)
    assert first != other


def booleans(model: type[BaseModel], prefix=""):
    for name, field in model.model_fields.items():
        if field.annotation is bool:
            yield prefix + name
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from booleans(field.annotation, f"{prefix}{name}.")


def test_every_boolean_can_be_switched_off():
    """Defect 12: each one of a recipe both ways, and no flag of a command that is on and cannot be turned off."""
    from typer.main import get_command

    from palprobe.cli import app

    keys = list(booleans(Recipe))
    assert set(keys) <= set(known_keys(Recipe)) and len(keys) >= 3
    for key in keys:
        for value in (True, False):
            held = load_recipe(settings=[f"{key}={str(value).lower()}"])
            for part in key.split("."):
                held = getattr(held, part)
            assert held is value
    for command in get_command(app).commands.values():
        for option in command.params:
            if getattr(option, "is_flag", False) and option.default:
                assert option.secondary_opts, f"{command.name} {option.name}"
