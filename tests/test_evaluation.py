"""Scores follow from predictions alone, result.json says what they were made of, generated text is read strictly."""

import json
from pathlib import Path

import pytest

from palprobe.errors import PalprobeError
from palprobe.evaluation.evaluate import evaluate
from palprobe.evaluation.results import evaluation_of
from palprobe.evaluation.scores import chance, score_predictions, word_error_counts
from palprobe.features.extraction import extract
from palprobe.recipe import load_recipe
from palprobe.runs import Cell, Places
from palprobe.specs import parse_encoder
from palprobe.training.train_cell import train_cell
from palprobe.training.workspace import Workspace
from palprobe.types import Example, Prediction


def example(name, reference, choices, part=None):
    return Example(name, f"group of {name}", Path("x.wav"), "?", (reference,), choices, part=part)


def prediction(of, answer):
    return Prediction(of.id, of.group, of.part, of.references[0], answer, {}, answer == of.references[0], True)


def test_scores_by_hand():
    """Three of four right in one part and one of two in another: accuracy, its chance and its counts by hand."""
    four = [example(f"a{number}", "yes", ("yes", "no"), "ask") for number in range(4)]
    two = [example(f"b{number}", "red", ("red", "green", "blue", "grey"), "colour") for number in range(2)]
    answers = ["yes", "yes", "yes", "no", "red", "blue"]
    predictions = [prediction(of, answer) for of, answer in zip([*four, *two], answers, strict=True)]
    scores = {(s.part, s.metric): s for s in score_predictions(predictions, [*four, *two], draws=200)}
    assert scores[None, "accuracy"].interval.value == pytest.approx(4 / 6)
    assert scores["ask", "accuracy"].interval.value == pytest.approx(3 / 4)
    assert scores["colour", "accuracy"].interval.value == pytest.approx(1 / 2)
    assert scores[None, "accuracy"].chance == pytest.approx((4 * 1 / 2 + 2 * 1 / 4) / 6)
    assert scores["colour", "accuracy"].chance == pytest.approx(1 / 4)
    assert scores["ask", "accuracy"].n == 4
    assert scores[None, "invalid_rate"].interval.value == 0


def test_open_questions_have_no_chance():
    """Where there are no choices, no level of chance is claimed."""
    assert chance([example("a", "yes", ())]) is None


def test_a_task_is_scored_by_its_own_metrics():
    """Transcripts get a word error rate over readers and the share of empty answers, and no accuracy or chance."""
    asked = [Example(str(number), f"reader {number}", Path("x.wav"), "?", ("a b",)) for number in range(3)]
    answers = [prediction(of, answer) for of, answer in zip(asked, ["a b", "a", "x"], strict=True)]
    scores = score_predictions(answers, asked, draws=200, metrics=("wer", "invalid_rate"))
    assert [(score.metric, score.chance) for score in scores] == [("wer", None), ("invalid_rate", None)]
    assert scores[0].interval.value == pytest.approx((0 + 1 + 2) / 6)
    assert word_error_counts(answers) == {"substitutions": 1, "deletions": 2, "insertions": 0, "words": 6}


@pytest.fixture(scope="module")
def trained(tones, tmp_path_factory):
    """A probe that has learned three tones: (workspace, plan)."""
    folder = tmp_path_factory.mktemp("trained")
    settings = ["train.steps=60", "train.batch_size=8", "train.learning_rate=0.003"]
    recipe = load_recipe(settings=settings, flags={"tasks": [str(tones)]})
    places = Places(store=folder / "features", runs=folder / "runs")
    extract([parse_encoder("logmel")], Workspace(recipe, places).task(str(tones)).examples, recipe, places.store)
    workspace = Workspace(recipe, places)
    plan = workspace.plan(Cell("logmel", "lal", "tiny", str(tones), 0, 0))
    train_cell(workspace, plan, lambda _: None)
    return workspace, plan


def read(folder):
    result = json.loads((folder / "result.json").read_text())
    return result, [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def test_a_trained_probe_hears_the_tones_and_says_what_it_did(trained):
    """The test fold is answered rightly, and result.json counts, costs and scores agree with the predictions."""
    workspace, plan = trained
    result, predictions = read(evaluate(workspace, plan, "test", workspace.recipe.scoring))
    accuracy = sum(line["correct"] for line in predictions) / len(predictions)
    assert accuracy > 0.9
    assert result["scores"][0]["metric"] == "accuracy" and result["scores"][0]["score"] == pytest.approx(accuracy)
    assert result["counts"] == {"found": 12, "missing": 0, "dropped": 0, "used": 12, "padded": 0}
    assert result["cost"]["audio_tokens"] == 15  # 0.6 s at 25 Hz
    assert result["cost"]["tokens_per_second"] == 25
    assert result["cost"]["train_seconds"] > 0 and result["cost"]["peak_memory_bytes"] > 10**7
    assert result["cell"]["fold"] == 0 and result["cell"]["trainable"] == "full"
    for line in predictions:
        assert line["prediction"] == max(line["scores"], key=line["scores"].get)
        assert set(line["scores"]) == {"low", "middle", "high"}


def test_generation_agrees_with_likelihood_where_the_probe_is_sure(trained):
    """Greedy text of a well-trained probe names the same labels, and every answer is a valid one."""
    workspace, plan = trained
    generation = workspace.recipe.scoring.model_copy(update={"method": "generation"})
    _, likely = read(evaluate(workspace, plan, "test", workspace.recipe.scoring))
    result, written = read(evaluate(workspace, plan, "test", generation))
    assert [line["prediction"] for line in written] == [line["prediction"] for line in likely]
    assert all(line["valid"] and line["scores"] == {} for line in written)
    assert result["scoring"] == "generation"


def test_generation_cut_short_is_invalid_and_wrong(trained):
    """Two tokens are no label: every answer is counted as invalid and as wrong."""
    workspace, plan = trained
    short = workspace.recipe.scoring.model_copy(update={"method": "generation", "max_new_tokens": 2})
    result, written = read(evaluate(workspace, plan, "test", short))
    assert not any(line["valid"] or line["correct"] for line in written)
    assert result["scores"][0]["n_invalid"] == 12 and result["scores"][0]["score"] == 0


def test_beams_are_another_evaluation_and_greedy_is_the_old_one(trained):
    """One beam leaves the identity as it was before there were beams; several stand in it and in the result."""
    workspace, plan = trained
    greedy = workspace.recipe.scoring.model_copy(update={"method": "generation"})
    beams = greedy.model_copy(update={"beams": 3})
    identity = evaluation_of(plan, "test", greedy).identity
    assert "beams" not in identity
    assert evaluation_of(plan, "test", beams).identity == identity | {"beams": 3}
    likelihood = beams.model_copy(update={"method": "likelihood"})
    assert (
        evaluation_of(plan, "test", likelihood).identity
        == evaluation_of(plan, "test", workspace.recipe.scoring).identity
    )
    result, written = read(evaluate(workspace, plan, "test", beams))
    assert result["decoding"].startswith("3 beams, mean log probability")
    assert sum(line["correct"] for line in written) >= 11


def test_more_audio_than_positions_is_refused_before_scoring(trained, monkeypatch):
    """The item is named with its counts, and no result is written."""
    workspace, plan = trained
    monkeypatch.setattr("palprobe.llm.tiny.MAX_POSITIONS", 20)
    section = workspace.recipe.scoring.model_copy(update={"bootstrap_draws": 200})
    with pytest.raises(PalprobeError, match=r"has 20 positions, and audio and text of .clip-\d+. take"):
        evaluate(workspace, plan, "validation", section)


def test_the_prompts_template_is_told_by_chat_runs_alone(trained):
    """A raw run has the identity that it had before there were templates."""
    _, plan = trained
    told = {"version", "features", "task", "llm", "integration", "train", "seed", "fold"}
    assert plan.run.identity.keys() == told


def test_an_evaluation_is_not_repeated_but_another_one_is(trained):
    """The same question finds its result; other bootstrap draws are another evaluation."""
    workspace, plan = trained
    section = workspace.recipe.scoring
    path = evaluate(workspace, plan, "validation", section) / "result.json"
    before = path.stat().st_mtime_ns
    evaluate(workspace, plan, "validation", section)
    assert path.stat().st_mtime_ns == before
    evaluate(workspace, plan, "validation", section.model_copy(update={"bootstrap_draws": 300}))
    assert path.stat().st_mtime_ns > before


def test_a_metric_that_cannot_be_computed_is_told_and_the_others_are_there():
    """One class in a part: its mAP has no row there but a reason, while the whole task is scored."""
    asked = [
        Example(str(number), f"g{number}", Path("x.wav"), "?", (label,), ("cat", "dog"), part=part)
        for number, (label, part) in enumerate([("cat", "one"), ("cat", "one"), ("dog", "two"), ("cat", "two")])
    ]
    scores = {"cat": -1.0, "dog": -2.0}
    answers = [Prediction(e.id, e.group, e.part, e.references[0], "cat", scores, True, True) for e in asked]
    told: dict[str, str] = {}
    found = score_predictions(answers, asked, draws=50, metrics=("map", "accuracy"), on_absent=told.__setitem__)
    assert {(score.metric, score.part) for score in found} == {
        *((metric, part) for metric in ("map", "accuracy") for part in (None, "two")),
        ("accuracy", "one"),
    }
    assert list(told) == ["map of one"] and "some clips have and some lack" in told["map of one"]
    with pytest.warns(UserWarning, match="map of one: Ranking needs"):
        score_predictions(answers, asked, draws=50, metrics=("map",))


def test_chance_of_several_labels():
    """A guess among four labels is right for a clip with two of them in half of all cases; balanced needs one size."""
    two = Example("1", "g", Path("x.wav"), "?", ("a", "b"), ("a", "b", "c", "d"))
    one = Example("2", "h", Path("x.wav"), "?", ("c",), ("a", "b", "c", "d"))
    assert chance([two, one]) == pytest.approx((2 / 4 + 1 / 4) / 2)


def test_balanced_accuracy_has_chance_where_questions_are_alike():
    """One in K where all have K choices; none is claimed where they differ."""
    alike = [example(name, name, ("a", "b")) for name in "ab"]
    unlike = [alike[0], example("c", "c", ("a", "b", "c"))]
    for asked, level in ((alike, 1 / 2), (unlike, None)):
        answers = [prediction(each, "a") for each in asked]
        (score,) = score_predictions(answers, asked, draws=50, metrics=("balanced_accuracy",))
        assert score.chance == level
