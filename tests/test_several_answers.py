"""Clips with several right answers, from a manifest to scores: all are learnt, and the run says so in its identity."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import SAMPLE_RATE, TONES

from palprobe.evaluation.evaluate import evaluate
from palprobe.features.extraction import extract
from palprobe.recipe import load_recipe
from palprobe.recipe.training import TrainSection
from palprobe.runs import Cell, Places
from palprobe.specs import parse_encoder
from palprobe.training.curriculum import Material, Stage, train_fields
from palprobe.training.train_cell import _training_set, build_probe, train_cell
from palprobe.training.workspace import Workspace
from palprobe.types import Example

SETTINGS = ["train.steps=80", "train.batch_size=12", "train.learning_rate=0.003"]


def write_chord(path: Path, names: list[str], seed: int) -> None:
    """Some of the three tones at once, in a little noise."""
    times = np.arange(round(0.6 * SAMPLE_RATE)) / SAMPLE_RATE
    tones = sum(0.25 * np.sin(2 * np.pi * TONES[name] * (1 + 0.002 * seed) * times) for name in names)
    noise = 0.01 * np.random.default_rng(seed).normal(size=len(times))
    soundfile.write(path, tones + noise, SAMPLE_RATE, subtype="PCM_16")


@pytest.fixture(scope="module")
def chords(tmp_path_factory) -> Path:
    """36 clips with one or two of three tones in three folds, as labels and as captions."""
    folder = tmp_path_factory.mktemp("chords")
    labels, captions = ["id,audio,labels,fold"], ["id,audio,captions,fold"]
    pairs = [["low"], ["middle"], ["high"], ["low", "middle"], ["middle", "high"], ["low", "high"]]
    for number in range(36):
        names = pairs[number % 6]
        write_chord(folder / f"{number}.wav", names, number)
        labels.append(f"clip-{number},{number}.wav,{'|'.join(names)},{number // 12}")
        told = f"a {' and a '.join(names)} tone|{names[-1]} tones sound"
        captions.append(f"clip-{number},{number}.wav,{told},{number // 12}")
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    (folder / "captions.csv").write_text("\n".join(captions) + "\n")
    return folder


def planned(manifest: Path, folder: Path):
    """(workspace, plan) of a cell on its first fold, with features."""
    recipe = load_recipe(settings=SETTINGS, flags={"tasks": [str(manifest)]})
    places = Places(store=folder / "features", runs=folder / "runs")
    extract([parse_encoder("logmel")], Workspace(recipe, places).task(str(manifest)).examples, recipe, places.store)
    workspace = Workspace(recipe, places)
    return workspace, workspace.plan(Cell("logmel", "lal", "tiny", str(manifest), 0, 0))


def read(folder: Path):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize("name", ["labels", "captions"])
def test_every_answer_of_a_clip_is_a_question(name, chords, tmp_path):
    """Each label or caption of a training clip stands in the training set once, and those of a clip share its audio."""
    workspace, plan = planned(chords / f"{name}.csv", tmp_path)
    sources, usable = workspace.sources(plan), workspace.usable(plan, "train")
    probe = build_probe(plan, sources, device="cpu")
    found = _training_set(probe, sources, plan.course[0], [usable])
    answers = [probe.llm.tokenizer.decode(question.answer) for question in found.questions]
    assert list(zip(found.ids, answers, strict=True)) == [
        (example.id, answer) for example in usable.examples for answer in example.references
    ]
    assert len(answers) > len(usable.examples) == found.clips.max() + 1
    assert plan.run.identity["train"]["answers"] == "all"


def test_a_probe_of_labels_ranks_clips(chords, tmp_path):
    """Trained on all labels of a clip, it puts clips with a tone before those without, and the result says of what."""
    workspace, plan = planned(chords / "labels.csv", tmp_path)
    train_cell(workspace, plan, lambda _: None)
    result = read(evaluate(workspace, plan, "test", workspace.recipe.scoring))
    scores = {score["metric"]: score["score"] for score in result["scores"]}
    assert result["scores"][0]["metric"] == "map" and scores["map"] > 0.8
    assert result["classes"] == {"ranked": 3, "left_out": []}
    assert {"map", "d_prime", "accuracy", "invalid_rate"} == set(scores) | set(result["not_computed"])


def test_captions_are_scored_as_captions(chords, tmp_path):
    """The result holds CIDEr-D and its company, how they were computed, and what was not computed and why."""
    workspace, plan = planned(chords / "captions.csv", tmp_path)
    train_cell(workspace, plan, lambda _: None)
    section = workspace.recipe.scoring.model_copy(update={"method": "generation", "bootstrap_draws": 200})
    result = read(evaluate(workspace, plan, "test", section))
    scores = {score["metric"]: score for score in result["scores"]}
    assert scores["cider_d"]["score"] > 0 and scores["cider_d"]["ci_method"] == "bootstrap"
    assert 0 < scores["bleu"]["score"] <= 1 and 0 < scores["chrf"]["score"] <= 1
    assert (
        result["cider_d"]["weights"] == "references of these 12 items"
        and "lower case" in result["cider_d"]["tokeniser"]
    )
    assert "nrefs:2" in result["bleu"]["signature"] and "version:" in result["chrf"]["signature"]
    assert {"meteor", "spice", "fense", "bertscore"} <= set(result["not_computed"])
    assert "bits_per_byte" in scores or "bits_per_byte" in result["not_computed"]


def fields(kind, *references):
    """What of training stands in an identity, for a stage on one clip with those answers."""
    example = Example("e", "g", Path("e.wav"), "?", references)
    return train_fields(TrainSection(), [Stage(TrainSection(), (Material("t", (example,), {"e": "key"}, kind),))])


def test_runs_that_learn_one_answer_keep_their_identity():
    """Only where a second answer is learnt does the identity say so: not for one caption, nor for accepted wordings."""
    plain = fields("classification", "a")
    assert "answers" not in plain
    for kind, references in (("captioning", ("a",)), ("multi-label", ("a",)), ("open", ("a", "b"))):
        assert fields(kind, *references) == plain
    for kind in ("captioning", "multi-label"):
        assert fields(kind, "a", "b") == plain | {"answers": "all"}
