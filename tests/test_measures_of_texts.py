"""What other models make of texts, from a recipe's key to result.json, and read again from what is stored."""

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from test_bad_input import palprobe, refused  # noqa: F401 - fixtures
from test_rescore import SETTINGS, barely, contents, left_alone, section_of  # noqa: F401 - fixture
from test_several_answers import chords, planned  # noqa: F401 - fixture
from tiny_encoder import bertscore_by_hand, embedding_by_hand, write_encoder

from palprobe.errors import ScoringError
from palprobe.evaluation.evaluate import evaluate
from palprobe.evaluation.predictions import read_predictions
from palprobe.evaluation.rescore import rescore
from palprobe.evaluation.results import evaluation_of
from palprobe.llm.sentence_folder import folder_digest
from palprobe.metrics import METRICS
from palprobe.metrics.modelled import bertscore, embedding_accuracy, sbert_similarity
from palprobe.stats import clustered_bootstrap
from palprobe.stats.intervals import metric_interval
from palprobe.tasks.kinds import KINDS
from palprobe.training.train_cell import train_cell
from palprobe.types import Prediction

ONE = Prediction("1", "g", None, "a", "x", {}, False, False, nearest="a")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("other"), seed=1)


def result_of(path):
    return json.loads((path / "result.json").read_text())


def scores_of(path):
    return {score["metric"]: score for score in result_of(path)["scores"] if score["part"] is None}


def nearest_by_hand(folder, item):
    line = embedding_by_hand(folder, item.text.split("\n")[0].strip())
    return max(item.choices, key=lambda choice: float(embedding_by_hand(folder, choice) @ line))


def test_the_metrics_by_hand():
    """Two of three nearest choices are right, one of them by its second reference; the others are means."""
    items = [ONE, replace(ONE, nearest="b"), replace(ONE, nearest="b", references=("a", "b"))]
    assert embedding_accuracy(items) == pytest.approx(2 / 3)
    for function, name in ((sbert_similarity, "sbert_similarity"), (bertscore, "bertscore")):
        assert function([replace(ONE, measures={name: (value,)}) for value in (0.5, -0.1)]) == pytest.approx(0.2)
        with pytest.raises(ScoringError, match=r"scoring\.\w+=FOLDER"):
            function([ONE])
    with pytest.raises(ScoringError, match=r"scoring\.embedder=FOLDER"):
        embedding_accuracy([ONE, replace(ONE, nearest=None)])


def test_intervals_are_those_of_accuracy_and_of_means():
    """The share of nearest choices is drawn as right answers are; a mean of measures as any mean by groups."""
    rng = np.random.default_rng(0)
    values, right = rng.normal(size=30), rng.random(30) < 0.6
    items = [
        replace(ONE, id=str(n), group=f"g{n // 2}", nearest="a" if hit else "b", correct=bool(hit),
                measures={"bertscore": (float(value),)})
        for n, (value, hit) in enumerate(zip(values, right, strict=True))
    ]  # fmt: skip
    assert metric_interval("embedding_accuracy", [items]) == metric_interval("accuracy", [items])
    found = metric_interval("bertscore", [items], draws=200, seed=3)
    expected = clustered_bootstrap(values, [item.group for item in items], draws=200, seed=3)
    assert [found.value, found.low, found.high] == pytest.approx([expected.value, expected.low, expected.high])


def test_kinds_name_metrics_in_the_order_of_the_table():
    """So that a result that is read again lists its scores as it did."""
    order = {name: number for number, name in enumerate(METRICS.parts)}
    for rules in KINDS.values():
        assert list(rules.metrics) == sorted(rules.metrics, key=order.__getitem__)


def test_nearest_choices_stand_beside_strict_reading(barely, folder):  # noqa: F811
    """Each text's nearest label is that by hand; nothing that was there before changes, and nothing is said unasked."""
    workspace, plan = barely
    plain = section_of(workspace, method="generation")
    path = evaluate(workspace, plan, "validation", plain)
    before, strict = result_of(path), read_predictions(path, result_of(path)["counts"]["used"])
    assert "embedding" not in json.dumps(before)
    section = plain.model_copy(update={"embedder": str(folder)})
    identity = evaluation_of(plan, "validation", section).identity
    assert identity == before["identity"] | {"embedder": folder_digest(folder)}
    path = evaluate(workspace, plan, "validation", section)
    items = read_predictions(path, len(strict))
    assert [one.nearest for one in items] == [nearest_by_hand(folder, one) for one in items]
    assert [replace(one, nearest=None) for one in items] == list(strict)
    scores = scores_of(path)
    assert scores["embedding_accuracy"]["score"] == pytest.approx(np.mean([o.nearest == o.reference for o in items]))
    assert scores["embedding_accuracy"]["chance"] == pytest.approx(1 / 3) and next(iter(scores)) == "accuracy"
    assert [score for score in result_of(path)["scores"] if score["metric"] != "embedding_accuracy"] == before["scores"]
    assert evaluation_of(plan, "validation", section).is_there
    likelihood = section.model_copy(update={"method": "likelihood"})
    assert "embedder" not in evaluation_of(plan, "validation", likelihood).identity


def test_texts_that_are_stored_are_matched_afterwards(barely, folder, other, tmp_path):  # noqa: F811
    """A rescore gives what evaluating with the embedder gives, to the byte; later ones keep it without the folder, and
    another embedder takes its place."""
    workspace, plan = barely
    plain = section_of(workspace, method="generation")
    named = plain.model_copy(update={"embedder": str(folder)})
    expected = contents(evaluate(workspace, plan, "test", named))
    evaluate(workspace, plan, "test", plain)  # in the same folder, and so without
    run = left_alone(plan, tmp_path)
    draws = "scoring.bootstrap_draws=200"
    (found,) = rescore(run, "test", [f"scoring.embedder={folder}", draws])
    assert contents(found) == expected
    (read,) = rescore(run, "test", ["scoring.parse=contains", draws])
    assert result_of(read)["identity"]["embedder"] == folder_digest(folder)
    assert scores_of(read)["embedding_accuracy"] | {"n_invalid": 0} == scores_of(found)["embedding_accuracy"] | {
        "n_invalid": 0
    }
    (changed,) = rescore(run, "test", [f"scoring.embedder={other}", draws])
    assert result_of(changed)["identity"]["embedder"] == folder_digest(other) != folder_digest(folder)
    items = read_predictions(changed, 12)
    assert [one.nearest for one in items] == [nearest_by_hand(other, one) for one in items]


@pytest.fixture(scope="module")
def captioning(chords, tmp_path_factory):  # noqa: F811
    workspace, plan = planned(chords / "captions.csv", tmp_path_factory.mktemp("captioning"))
    train_cell(workspace, plan, lambda _: None)
    return workspace, plan


def test_captions_are_measured_by_models(captioning, folder, other, tmp_path):
    """Likeness and BERTScore of each caption are those by hand, and a rescore of plain texts gives the same bytes."""
    workspace, plan = captioning
    plain = section_of(workspace, method="generation", bootstrap_draws=200)
    path = evaluate(workspace, plan, "test", plain)
    absent = result_of(path)["not_computed"]
    assert "scoring.embedder=FOLDER" in absent["sbert_similarity"] and "no java" in absent["meteor"]
    assert "scoring.bertscore_model=FOLDER" in absent["bertscore"] and "embedding_accuracy" not in absent
    run = left_alone(plan, tmp_path)
    names = {"embedder": str(folder), "bertscore_model": str(other), "bertscore_layer": 1}
    path = evaluate(workspace, plan, "test", plain.model_copy(update=names))
    assert result_of(path)["identity"]["bertscore"] == {"model": folder_digest(other), "layer": 1}
    items = read_predictions(path, 12)
    for item in items:
        mine = embedding_by_hand(folder, item.prediction)
        likeness = [mine @ embedding_by_hand(folder, text) for text in item.all_references]
        assert item.measures["sbert_similarity"] == pytest.approx((np.mean(likeness),), abs=1e-6)
        best = max(bertscore_by_hand(other, item.prediction, text, 1) for text in item.all_references)
        assert item.measures["bertscore"] == pytest.approx((best,), abs=1e-6)
    scores = scores_of(path)
    assert scores["bertscore"]["score"] == pytest.approx(np.mean([item.measures["bertscore"][0] for item in items]))
    assert scores["bertscore"]["ci_low"] < scores["bertscore"]["score"] < scores["bertscore"]["ci_high"]
    assert not {"sbert_similarity", "bertscore"} & result_of(path)["not_computed"].keys()
    assert result_of(path)["bertscore"]["idf"] is False
    settings = [f"scoring.{key}={value}" for key, value in names.items()]
    (again,) = rescore(run, "test", [*settings, "scoring.bootstrap_draws=200"])
    assert contents(again) == contents(path)


@pytest.mark.parametrize("fails", [False, True])
def test_meteor_is_counted_once_and_kept(captioning, fails, tmp_path, monkeypatch):
    """Where Java is, texts are counted, and not again when they are read again; where it fails the reason is kept."""
    workspace, plan = captioning
    run, started = left_alone_with_texts(workspace, plan, tmp_path), []

    def matched(items):
        started.append(len(items))
        if fails:
            raise ScoringError("METEOR ran out of memory")
        return [(3.0, 3.0, 1.0, 1.0, 2.0, 2.0, 1.0, 1.0, *[0.0] * 12, 1.0, 3.0, 3.0) for _ in items]

    monkeypatch.setattr("palprobe.metrics.meteor.why_absent", lambda: None)
    monkeypatch.setattr("palprobe.metrics.meteor.matched", matched)
    for _ in range(2):
        (path,) = rescore(run, "test", ["scoring.bootstrap_draws=200"])
    assert started == ([12, 12] if fails else [12])
    if fails:
        assert result_of(path)["not_computed"]["meteor"] == "METEOR ran out of memory"
        assert "meteor" not in scores_of(path)
    else:
        assert scores_of(path)["meteor"]["score"] == pytest.approx(1.0)
        assert result_of(path)["meteor"]["version"].startswith("1.5")
        assert "meteor" not in result_of(path)["not_computed"]


def left_alone_with_texts(workspace, plan, folder):
    evaluate(workspace, plan, "test", section_of(workspace, method="generation", bootstrap_draws=200))
    run = left_alone(plan, folder)
    path = run / "eval" / "test-generation" / "predictions.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({k: v for k, v in one.items() if k != "measures"}) + "\n" for one in lines))
    return run


def test_folders_are_checked_before_any_work(tones, folder, refused):  # noqa: F811
    """A folder that is absent, a layer of no model, and a model that no task is scored by: a line each, at once."""
    words = ["compare", "--tasks", tones, "--set", "scoring.method=generation"]
    refused(*words, "--set", "scoring.embedder=nowhere", code=1, texts=["scoring.embedder: nowhere", "config.json"])
    train = ["train", "--encoder", "logmel", "--task", tones, "--fold", "0", "--set", "scoring.embedder=nowhere"]
    refused(*train, code=1, texts=["scoring.embedder: nowhere"])
    refused("validate", "--set", "scoring.embedder=nowhere", code=1, texts=["scoring.embedder: nowhere"])
    refused(*words, "--set", "scoring.bertscore_layer=3", code=1, texts=["bertscore_model names none"])
    refused(*words, "--set", f"scoring.bertscore_model={folder}", code=2, texts=["compares captions"])
    named = f"scoring.embedder={folder}"
    refused("compare", "--tasks", tones, "--set", named, code=2, texts=["add --set scoring.method=generation"])


def test_a_comparison_shows_the_column(tones, folder, palprobe):  # noqa: F811
    """Rows of the metric for each result and over the folds; planned lines name the folder, and find all done."""
    words = ["compare", "--tasks", tones, "--integrations", "lal", "--set", f"scoring.embedder={folder}"]
    words += [word for line in (*SETTINGS, "scoring.method=generation") for word in ("--set", line)]
    code, out, err = palprobe(*words)
    assert code == 0, err
    rows = [row for row in csv.DictReader(io.StringIO(out)) if row["metric"] == "embedding_accuracy"]
    assert [row["fold"] for row in rows] == ["0", "1", "2", "all"]
    assert float(rows[-1]["score"]) == pytest.approx(math.fsum(float(row["score"]) for row in rows[:-1]) / 3)
    code, lines, _ = palprobe(*words, "--plan=eval")
    assert code == 0 and "scoring.embedder=" in lines
    code, again, err = palprobe(*words)
    assert again == out and "eval" not in err
