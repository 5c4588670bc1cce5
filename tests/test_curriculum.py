"""Training in stages: each trains what it says on what it says, resumes exactly, and never hears the test."""

import json
import os
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from conftest import PLAIN, write_tone
from test_bad_input import palprobe, refused  # noqa: F401 - fixtures
from test_training import PowerCutError, go, log_of, make_data, make_probe, same, tensors_of

from palprobe.errors import DataError
from palprobe.llm.adapters import Lora, make_all_trainable
from palprobe.recipe import load_recipe
from palprobe.recipe.training import StageSection, TrainSection
from palprobe.runs import Cell, Places, trainable_label, trainable_of
from palprobe.training.curriculum import Material, _check_unheard, train_fields
from palprobe.training.lesson import Lesson
from palprobe.training.workspace import Workspace
from palprobe.types import Example

BASE = TrainSection(batch_size=4, checkpoint_steps=2, time_mask=0.3, feature_mask=0.3)
SETS = ("connector", "lora-attention", "full")
STEPS = (3, 4, 3)


def lessons(sets=SETS, steps=STEPS):
    """Stages on sets of other sizes."""
    return [
        Lesson(make_data(count=6 + 2 * number), BASE.model_copy(update={"steps": count}), trainable)
        for number, (trainable, count) in enumerate(zip(sets, steps, strict=True))
    ]


def staged_probe(sets=SETS):
    """As a cell builds it: whatever a stage trains is there, and marked."""
    probe = make_probe()
    make_all_trainable(probe.llm, sets, lora=Lora(2), seed=0)
    return probe


@pytest.mark.parametrize("step", range(1, sum(STEPS)))
def test_a_curriculum_that_was_cut_off_resumes_exactly(step):
    """Cut after any step of any stage, at its borders too: the same tensors bit for bit, and the same log."""
    go("whole", probe=staged_probe(), lessons=lessons())

    def cut(report):
        if report.step == step:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        go("cut", probe=staged_probe(), lessons=lessons(), progress=cut)
    go("cut", probe=staged_probe(), lessons=lessons())
    assert same(tensors_of("whole"), tensors_of("cut"))
    assert log_of("whole") == log_of("cut")


def test_each_stage_trains_its_set_and_nothing_else():
    """After each stage, what moved since the one before is its set: connector, attention's adapters, everything."""
    states = [{name: value.detach().clone() for name, value in staged_probe().named_parameters()}]
    for count in (1, 2, 3):
        probe = staged_probe()
        go(f"run-{count}", probe=probe, lessons=lessons()[:count])
        states.append({name: value.detach().clone() for name, value in probe.named_parameters()})
    moved = [
        {name for name in after if not torch.equal(before[name], after[name])} for before, after in pairwise(states)
    ]
    connector = {name for name in states[0] if name.startswith("branches.")}
    attention = {name for name in states[0] if ".self_attn." in name and "lora_" in name}
    assert moved == [connector, connector | attention, set(states[0])]


@pytest.mark.parametrize("sets", [("lora", "full"), ("lora-attention", "lora"), ("full", "lora-attention")])
def test_adapters_are_there_from_the_first_stage_that_trains_them(sets):
    """Whichever set is the widest, a stage with adapters has them, moves them, and they are saved."""
    go("run", probe=staged_probe(sets), lessons=lessons(sets, (2, 2)))
    found = tensors_of("run")
    adapters = {name for name in found if "lora_B" in name}
    assert len(adapters) == (7 if "lora" in sets else 4) * 2
    moved = {name for name in adapters if found[name].abs().max() > 0}
    assert moved == adapters
    assert ("llm.model.lm_head.weight" in found) == ("full" in sets)


def test_the_log_says_the_stage_and_each_has_its_own_course():
    """Steps count through; every stage warms up again and ends near nothing; one stage alone is not numbered."""
    go("run", probe=staged_probe(), lessons=lessons())
    log = log_of("run")
    assert [line["stage"] for line in log] == [1] * 3 + [2] * 4 + [3] * 3
    assert [line["step"] for line in log] == list(range(1, 11))
    peaks = [max(line["learning_rate"] for line in log if line["stage"] == stage) for stage in (1, 2, 3)]
    assert peaks == [BASE.learning_rate] * 3
    assert all(log[last - 1]["learning_rate"] < 0.5 * BASE.learning_rate for last in (3, 7, 10))
    go("plain")
    assert "stage" not in log_of("plain")[0]


# --- recipes


def staged(*stages, **others):
    return TrainSection(stages=[StageSection(**stage) for stage in stages], **others)


FIRST = {"trainable": "connector", "steps": 3, "learning_rate": 1e-2}
SECOND = {"trainable": "lora-attention", "steps": 5, "learning_rate": 1e-3, "batch_size": 8, "tasks": ["a.csv"]}


def test_a_course_by_hand():
    """What a stage says is its own; what it does not say is that of the section."""
    section = staged(FIRST, SECOND, batch_size=16, weight_decay=0.5)
    first, second = section.course
    assert (first.trainable, first.steps, first.learning_rate, first.batch_size) == ("connector", 3, 1e-2, 16)
    assert (second.trainable, second.steps, second.learning_rate, second.batch_size) == ("lora-attention", 5, 1e-3, 8)
    assert first.weight_decay == second.weight_decay == 0.5
    assert section.named_tasks == ["a.csv"]
    assert BASE.course == [BASE]
    recipe = load_recipe().model_copy(update={"train": section})
    assert trainable_of(recipe) == "lora-attention"
    assert trainable_label(recipe) == "connector>lora-attention"


OLD_KEYS = {  # of a run's identity before there were pieces, precisions and stages
    "trainable", "steps", "batch_size", "learning_rate", "weight_decay", "warmup_fraction", "gradient_clip",
    "label_smoothing", "time_mask", "feature_mask", "lora_rank",
}  # fmt: skip


def test_runs_from_before_stay_valid():
    """At their defaults, the new keys are in no identity; elsewhere they are, but for what changes no result."""
    assert train_fields(TrainSection(), []).keys() == OLD_KEYS
    assert train_fields(TrainSection(checkpointing=True, checkpoint_steps=7), []) == train_fields(TrainSection(), [])
    changed = train_fields(TrainSection(accumulate=2, precision="bfloat16"), [])
    assert changed.keys() == OLD_KEYS | {"accumulate", "precision"}


@pytest.mark.parametrize(
    ("settings", "texts"),
    [
        (["train.stages=[{trainable: lora, steps: 1, learning_rate: 1e-3}]", "train.steps=5"], ["its own steps"]),
        (["train.stages=[]"], ["train.stages"]),
        (["train.stages=[{trainable: lora, steps: 1}]"], ["train.stages.0.learning_rate"]),
        (["train.stages=[{trainable: all, steps: 1, learning_rate: 1e-3}]"], ["train.stages.0.trainable"]),
        (
            ["train.stages=[{trainable: lora, steps: 1, learning_rate: 1e-3, batchsize: 4}]"],
            ["Did you mean 'train.stages.0.batch_size'"],
        ),
        (["train.accumulate=9", "train.batch_size=8"], ["a batch of 8 into 9 pieces"]),
    ],
)
def test_stages_that_cannot_be_are_refused(refused, settings, texts):  # noqa: F811
    """In one line, with the key."""
    words = [word for setting in settings for word in ("--set", setting)]
    refused("compare", *words, code=1, texts=texts)


# --- tasks of stages


def tone_manifest(name, numbers, *, split):
    """A manifest of tones, low for even numbers; `split(number)` says where each goes."""
    rows = ["id,audio,label,split"]
    for number in numbers:
        path = Path(f"tone-{number}.wav")
        if not path.exists():
            write_tone(path, 300.0 if number % 2 else 2000.0, seed=number)
        rows.append(f"{name}-{number},{path},{'low' if number % 2 else 'high'},{split(number)}")
    Path(f"{name}.csv").write_text("\n".join(rows) + "\n")
    return f"{name}.csv"


def splits_of(number):
    return ("train", "train", "train", "train", "validation", "validation", "test", "test")[number % 8]


def curriculum(path, stage_task, *, task="own.csv", steps=2):
    """A recipe whose first stage trains on another task."""
    recipe = {
        "name": path.removesuffix(".yaml"),
        "integrations": ["lal"],
        "tasks": [task],
        "rigor": "quick",
        "controls": [],
        "train": {
            "batch_size": 4,
            "stages": [
                {"tasks": [stage_task], "trainable": "connector", "steps": steps, "learning_rate": 1e-3},
                {"trainable": "full", "steps": steps, "learning_rate": 1e-3},
            ],
        },
    }
    Path(path).write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture
def own():
    return tone_manifest("own", range(24), split=splits_of)


@pytest.fixture
def other():
    return tone_manifest("other", range(24, 40), split=splits_of)


def test_compare_extracts_what_its_stages_train_on(palprobe, own, other):  # noqa: F811
    """Both tasks are encoded, the run and its result say the stages, and a second call finds all of it done."""
    recipe = curriculum("course.yaml", other)
    code, out, err = palprobe("compare", "--recipe", recipe, "--format", "json")
    assert code == 0, err
    assert "24 clips encoded" in err and "8 clips encoded" in err  # of the other, its training split
    row = next(row for row in json.loads(out) if row["metric"] == "accuracy")
    assert row["trainable"] == "connector>full"
    log = log_of(Path("runs") / row["run_id"])
    assert [line["stage"] for line in log] == [1, 1, 2, 2]
    code, again, err = palprobe("compare", "--recipe", recipe, "--format", "json")
    assert again == out and "train" not in err
    code, line, _ = palprobe("compare", "--recipe", recipe, "--plan")
    assert line.count("palprobe extract") == 2
    code, planned, err = palprobe(*_train_words(line))
    assert (code, planned.strip()) == (0, f"runs/{row['run_id']}"), err
    code, scored, err = palprobe("eval", f"runs/{row['run_id']}", "--format", "json")
    assert (code, json.loads(scored)[0]["score"]) == (0, row["score"]), err


def _train_words(lines):
    return shlex.split(next(line for line in lines.splitlines() if line.startswith("palprobe train")))[1:]


def test_a_task_for_testing_only_is_tested_with_a_probe_of_others(palprobe, refused, other):  # noqa: F811
    """Trained on 8 clips of one manifest, scored on another that has no training rows; by plan lines, too."""
    exam = tone_manifest("exam", range(40, 46), split=lambda _: "test")
    refused("compare", "--tasks", exam, code=1, texts=["'exam.csv': the train split is empty", "--train-on TASK"])
    asked = ("--tasks", exam, "--train-on", other, "--integrations", "lal", *PLAIN, "--set", "train.steps=2")
    code, out, err = palprobe("compare", *asked, "--format", "json")
    assert code == 0, err
    assert "6 clips encoded" in err and "8 clips encoded" in err  # of the other, its training split
    row = next(row for row in json.loads(out) if row["metric"] == "accuracy")
    assert (row["task"], row["n"], row["trainable"]) == ("exam.csv", 6, "full on other.csv")
    code, lines, _ = palprobe("compare", *asked, "--plan")
    for line in lines.splitlines():
        code, printed, err = palprobe(*shlex.split(line)[1:])
        assert code == 0, err
    assert printed.count(row["run_id"]) and "was trained already" not in printed
    assert len(list(Path("runs").iterdir())) == 1


def test_what_is_trained_on_is_of_the_run(palprobe, own, other):  # noqa: F811
    """The same test set with its own training rows, those of another task, and both: three runs; the first as ever."""
    third = ("--train-on", f"{own},{other}")
    found = []
    for words in ((), ("--train-on", own), ("--train-on", other), third):
        code, out, err = palprobe(
            "compare",
            "--tasks",
            own,
            "--integrations",
            "lal",
            *PLAIN,
            "--set",
            "train.steps=1",
            *words,
            "--format",
            "json",
        )
        assert code == 0, err
        found.append(json.loads(out)[0]["trainable"])
    assert found == ["full", "full on own.csv", "full on other.csv", "full on own.csv+other.csv"]
    examples = sorted(json.loads(path.read_text())["examples"] for path in Path("runs").glob("*/train.json"))
    assert examples == [8, 12, 12, 20]


def test_training_on_the_tested_clips_is_refused(refused, own):  # noqa: F811
    """Whatever the task they come from is called."""
    Path("leak.csv").write_text("id,audio,label,split\nx-1,tone-0.wav,low,train\nx-2,tone-6.wav,high,train\n")
    refused("compare", "--tasks", own, "--train-on", "leak.csv", code=1, texts=["about audio that the test of"])
    refused("compare", "--tasks", own, "--train-on", "-", code=2, texts=["- is stdin, which is read once"])
    refused("compare", "--tasks", own, "--train-on", "nowhere.csv", code=1, texts=["nowhere.csv"])


def test_features_of_a_stage_that_are_missing_are_named(refused, palprobe, own, other):  # noqa: F811
    """`train` says which task lacks them, with the line that makes them; that line is enough."""
    recipe = curriculum("course.yaml", other)
    palprobe("extract", "--encoder", "logmel", "--data", own)
    line = refused("train", "--recipe", recipe, "--encoder", "logmel", "--task", own, code=1, texts=[
        "logmel on other.csv: no features of 8 of 8 train items",
        "Run: palprobe extract --encoder logmel --data other.csv",
    ])  # fmt: skip
    code, _, err = palprobe(*line.partition("Run: palprobe ")[2].split())
    assert code == 0, err
    code, _, err = palprobe("train", "--recipe", recipe, "--encoder", "logmel", "--task", own)
    assert code == 0, err


def test_a_stage_that_trains_on_the_test_is_refused(refused, own):  # noqa: F811
    """The same bytes under another name and in another task, too; nothing is extracted for it."""
    os.link("tone-6.wav", "innocent.wav")
    rows = [
        "id,audio,label,split",
        "x-1,tone-0.wav,low,train",
        "x-2,innocent.wav,high,train",
        "x-3,tone-1.wav,low,test",
    ]
    rows += ["x-4,tone-2.wav,low,validation", "x-5,tone-3.wav,high,train"]
    Path("leak.csv").write_text("\n".join(rows) + "\n")
    refused("compare", "--recipe", curriculum("course.yaml", "leak.csv"), code=1, texts=[
        "1 training examples of 'leak.csv' are about audio that the test of 'own.csv' asks about",
        "first: 'x-2'",
    ])  # fmt: skip
    assert not list(Path("features").glob("logmel*"))


@pytest.mark.parametrize(
    ("trained", "tested", "leaks"),
    [
        ("aa:0-end", "aa:0-end", True),
        ("aa:0-100", "aa:50-150", True),
        ("aa:0-end", "aa:900-1000", True),
        ("aa:0-100", "aa:100-200", False),
        ("aa:0-end", "bb:0-end", False),
        ("aa:0.5s-900.0s", "aa:0-end", False),
    ],
)
def test_overlapping_stretches_are_the_same_audio(trained, tested, leaks):
    """A stretch of a tested file leaks where they overlap; one beside it does not, nor one that cannot be decoded."""
    example = Example("e", "g", Path("e.wav"), "?", ("a",))
    sides = [Material(task, (example,), {"e": key}) for task, key in (("other", trained), ("own", tested))]
    if leaks:
        with pytest.raises(DataError, match="1 training examples of 'other'"):
            _check_unheard(*sides)
    else:
        _check_unheard(*sides)


def test_a_stage_of_a_fold_task_holds_out_the_cell_s_fold(tones, own):
    """Of three folds, fold 1 is held out where the cell tests fold 1, and the first where it has no folds."""
    stage = StageSection(tasks=[str(tones)], trainable="connector", steps=1, learning_rate=1e-3)
    base = load_recipe(flags={"tasks": [own], "integrations": ["lal"]})
    recipe = base.model_copy(update={"train": TrainSection(stages=[stage])})
    plan = Workspace(recipe, Places()).plan(Cell("logmel", "lal", "tiny", own, 0))
    folds = {example.fold for example in plan.course[0].materials[0].examples}
    assert folds == {1, 2}
    recipe = recipe.model_copy(update={"tasks": [str(tones)]})
    plan = Workspace(recipe, Places()).plan(Cell("logmel", "lal", "tiny", str(tones), 0, 1))
    assert {example.fold for example in plan.course[0].materials[0].examples} == {0, 2}


def test_the_data_of_a_stage_is_part_of_the_run(own, other):
    """Another label, rate or set of a stage is another run; where the files lie is not."""
    stage = StageSection(tasks=[other], trainable="connector", steps=1, learning_rate=1e-3)
    base = load_recipe(flags={"tasks": [own], "integrations": ["lal"]})

    def run_id(section=None):
        train = TrainSection(stages=[section]) if section else TrainSection()
        recipe = base.model_copy(update={"train": train})
        return Workspace(recipe, Places()).plan(Cell("logmel", "lal", "tiny", own, 0)).run.id

    ids = {run_id(), run_id(stage), run_id(stage.model_copy(update={"learning_rate": 2e-3}))}
    text = Path(other).read_text()
    Path(other).write_text(text.replace("other-24,tone-24.wav,high", "other-24,tone-24.wav,low"))
    ids.add(run_id(stage))
    assert len(ids) == 4
