"""Training resumes exactly, its seed fixes everything, and it stops with step and items when it cannot go on."""

import json
import math
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import get_linear_schedule_with_warmup

from palprobe.errors import PalprobeError, TrainingError, WeightsError
from palprobe.features.extraction import extract
from palprobe.features.pooling import Pooling
from palprobe.files import load_tensors
from palprobe.llm import find_llm, load_llm
from palprobe.llm.tokenizer import Question
from palprobe.recipe import load_recipe
from palprobe.recipe.training import TrainSection
from palprobe.runs import Cell, Places, Run
from palprobe.specs import parse_encoder
from palprobe.training.checkpoint import checkpoint_path
from palprobe.training.examples import TrainingSet
from palprobe.training.lesson import Lesson, learning_rate
from palprobe.training.loop import train
from palprobe.training.probe import Branch, Probe
from palprobe.training.train_cell import train_cell
from palprobe.training.workspace import Workspace
from palprobe.types import AudioContext

SECTION = TrainSection(steps=8, batch_size=4, checkpoint_steps=3, time_mask=0.3, feature_mask=0.3)


class Prefix(nn.Module):
    """The smallest integration: one linear map."""

    buckets_by = "audio and text"

    def __init__(self, dim, hidden):
        super().__init__()
        self.map = nn.Linear(dim, hidden)

    def forward(self, features, mask):
        return AudioContext(prefix=self.map(features), prefix_mask=mask)

    def num_tokens(self, num_features):
        return num_features

    def num_positions(self, num_features):
        return num_features


def make_probe(integration=None, seed=0):
    llm = load_llm(find_llm("tiny"), seed=seed)
    torch.manual_seed(seed)
    made = integration or Prefix(5, llm.shape.hidden_size)
    return Probe([Branch(made, dim=5, num_layers=1, pooling=Pooling(grid=1))], llm)


def make_data(count=10, answer=(7, 256)):
    generator = torch.Generator().manual_seed(0)
    clips = [torch.randn(3 + number % 4, 5, generator=generator) for number in range(count)]
    return TrainingSet(
        ids=[f"item-{number}" for number in range(count)],
        questions=[Question((1, 2, 3), answer) for _ in range(count)],
        num_features=np.array([[len(clip)] for clip in clips]),
        readers=[lambda numbers: [clips[number] for number in numbers]],
    )


def run_in(folder):
    return Run(Path(folder), {"folder": str(folder)})


def go(folder, *, seed=0, probe=None, section=SECTION, data=None, lessons=None, progress=lambda _: None):
    lessons = lessons or [Lesson(data or make_data(), section)]
    return train(probe or make_probe(), lessons, run_in(folder), seed=seed, device="cpu", progress=progress)


def log_of(folder):
    """The log without its times."""
    lines = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def tensors_of(folder):
    return load_tensors(Path(folder) / "probe.safetensors")


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


class PowerCutError(Exception):
    pass


@pytest.mark.parametrize("step", [1, 3, 4, 7])
def test_a_run_that_was_cut_off_resumes_exactly(step):
    """Cut after any step and begun anew from what is on disk: the same tensors bit for bit, the same log."""
    go("whole")

    def cut(report):
        if report.step == step:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        go("cut", progress=cut)
    go("cut")
    assert same(tensors_of("whole"), tensors_of("cut"))
    assert log_of("whole") == log_of("cut")


def test_a_parameter_that_no_gradient_reaches_is_saved_and_resumed():
    """A layer that is trainable and unused has no optimiser state; checkpoints work without it."""

    def with_spare():
        probe = make_probe()
        probe.branches[0].integration.spare = nn.Parameter(torch.ones(2, 2))
        return probe

    go("cut", probe=with_spare(), section=SECTION)
    go("again", probe=with_spare(), section=SECTION)
    shutil.copytree(checkpoint_path(Path("cut")).parent, checkpoint_path(Path("half")).parent)
    go("half", probe=with_spare())
    assert same(tensors_of("half"), tensors_of("again"))
    with pytest.raises(WeightsError, match=r"integration\.spare is missing, unknown or of another shape"):
        make_probe().load_trained_state(tensors_of("cut"))


def test_interruption_finishes_the_step_and_saves_it():
    """Ctrl-C during step 2 leaves a checkpoint of two whole steps, from which the same run comes out."""

    def interrupt(report):
        if report.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        go("cut", progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    assert int(load_tensors(checkpoint_path(Path("cut")))["progress.step"]) in (2, 3)
    go("cut")
    go("whole")
    assert same(tensors_of("whole"), tensors_of("cut"))


def test_the_seed_fixes_everything_and_another_seed_changes_it():
    """Two runs of one seed are equal bit for bit, whatever the global generator did before; another seed differs."""
    go("a")
    torch.rand(17)
    go("b")
    go("c", seed=1)
    assert same(tensors_of("a"), tensors_of("b"))
    assert not same(tensors_of("a"), tensors_of("c"))


def test_a_diverging_run_stops_with_step_and_items():
    """A loss that is not finite stops training at once; step and item ids are in the message, no probe is written."""
    probe = make_probe()
    with torch.no_grad():
        probe.branches[0].integration.map.weight.fill_(float("inf"))
    with pytest.raises(TrainingError, match=r"step 1: a loss of nan\. Items of that step: 'item-\d"):
        go("run", probe=probe)
    assert not (Path("run") / "probe.safetensors").exists()


class Deaf(Prefix):
    """Shows nothing of its audio."""

    def forward(self, features, mask):
        return AudioContext(prefix=self.map(features) * 0, prefix_mask=mask)


def test_no_gradient_stops_training():
    """A connector that cannot learn is told, not trained for hours: zero gradient, or none at all."""
    probe = make_probe(Deaf(5, 128))
    probe.llm.requires_grad_(False)
    with pytest.raises(TrainingError, match=r"step 1: a gradient norm of 0\.0"):
        go("zero", probe=probe)
    probe.branches[0].integration.requires_grad_(False)
    probe.branches[0].integration.scale = nn.Parameter(torch.ones(2, 2))  # trainable, and used by nothing
    with pytest.raises(TrainingError, match="depends on nothing trainable"):
        go("none", probe=probe)


def test_a_batch_without_an_answer_stops_training():
    """Nothing to supervise is an error that names the items, not a step without effect."""
    with pytest.raises(TrainingError, match=r"step 1: no answer token to learn from\. Items of that step: 'item-"):
        go("run", data=make_data(answer=()))


def test_learning_rate_warms_up_and_falls_to_nothing():
    """Ten warm-up steps of a hundred in equal rises to the peak, then half a cosine, by hand at four places."""
    section = TrainSection(steps=100, learning_rate=2.0, warmup_fraction=0.1)
    assert learning_rate(0, section) == pytest.approx(0.2)
    assert learning_rate(9, section) == pytest.approx(2.0)
    assert learning_rate(54, section) == pytest.approx(1 + math.cos(math.pi * 45 / 91))
    assert learning_rate(99, section) == pytest.approx(1 + math.cos(math.pi * 90 / 91))


def test_a_linear_schedule_is_that_of_transformers():
    """Step for step, one step ahead of its own, so that no step has a rate of nothing."""
    section = TrainSection(steps=50, learning_rate=3.0, warmup_fraction=0.2, schedule="linear")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=3.0)
    schedule = get_linear_schedule_with_warmup(optimizer, 10, 51)
    for step in range(50):
        optimizer.step()
        schedule.step()
        assert learning_rate(step, section) == pytest.approx(schedule.get_last_lr()[0])


def test_beta2_is_the_optimisers(monkeypatch):
    """AdamW is made with the section's beta2; the default is what it always was."""
    seen = []
    make = torch.optim.AdamW

    def spy(*arguments, **given):
        seen.append(given["betas"])
        return make(*arguments, **given)

    monkeypatch.setattr(torch.optim, "AdamW", spy)
    go("usual", section=SECTION.model_copy(update={"steps": 1}))
    go("peer", section=SECTION.model_copy(update={"steps": 1, "beta2": 0.999}))
    assert seen == [(0.9, 0.98), (0.9, 0.999)]


def test_several_launched_processes_are_refused(monkeypatch):
    """Until sharding is built, a launcher of several processes is refused instead of repeating the work."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(PalprobeError, match="one process"):
        go("run")


@pytest.mark.parametrize("integration", ["plits", "lal"])
@pytest.mark.parametrize("trainable", ["full", "lora", "lora-attention", "connector"])
def test_every_trainable_set_learns_three_tones(tones, integration, trainable):
    """Each integration lowers the loss with each trainable set, and trains what that set says and nothing else."""
    settings = ["train.steps=40", "train.batch_size=8", "train.learning_rate=0.003", f"train.trainable={trainable}"]
    recipe = load_recipe(settings=settings, flags={"tasks": [str(tones)], "integrations": [integration]})
    workspace = Workspace(recipe, Places())
    plan = workspace.plan(Cell("logmel", integration, "tiny", str(tones), 0, 0))
    extract([parse_encoder("logmel")], workspace.task(str(tones)).examples, recipe, Path("features"))
    run = train_cell(workspace, plan, lambda _: None)
    losses = [line["loss"] for line in log_of(run.folder)]
    # With the LLM frozen at random weights, little but the label prior can be learned.
    assert np.mean(losses[-5:]) < (0.5 if trainable != "connector" else 0.995) * np.mean(losses[:5])
    kinds = {name.split(".")[0] for name in tensors_of(run.folder)}
    assert kinds == {"branches"} | (set() if trainable == "connector" else {"llm"})
    adapters = [name for name in tensors_of(run.folder) if "lora" in name]
    assert bool(adapters) == (trainable in ("lora", "lora-attention"))
    again = replace(plan, run=run)
    assert train_cell(workspace, again, lambda _: pytest.fail("trained again")).finished


def test_an_example_longer_than_the_llm_is_refused_before_training():
    """The first one is named with its counts; no feature is read and nothing is written."""
    probe, data = make_probe(), make_data()
    probe.llm.max_positions = 9  # 6 frames, 3 tokens of the prompt and 1 of the answer are 10

    def read(numbers):
        raise AssertionError("features were read")

    with pytest.raises(PalprobeError, match=r"has 9 positions, .* 'item-3' take 10 \(6 of audio, 4 of prompt"):
        go("long", probe=probe, data=replace(data, readers=[read]))
    assert not Path("long").exists()
