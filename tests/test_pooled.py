"""Pooled probes are cells: planned, run, found again, evaluated and reported like any other."""

import json
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
from conftest import TONES, write_tone
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from palprobe.cli import app
from palprobe.controls.pooled import plan_pooled, pooled_cells, pooled_refusals
from palprobe.controls.pooled_run import run_pooled
from palprobe.controls.pooled_vectors import PooledVectors
from palprobe.errors import UnfinishedError, UsageError
from palprobe.features.extraction import extract
from palprobe.features.source import FeatureSource
from palprobe.files import read_json
from palprobe.grid.cells import examples_of
from palprobe.recipe import load_recipe
from palprobe.report.results import find_results, read_result
from palprobe.runs import Cell, Places
from palprobe.specs import parse_encoder
from palprobe.training.workspace import Workspace

BOTH = ["linear", "knn"]
DRAWS = "scoring.bootstrap_draws=100"  # of intervals that no test looks at
TINY = [
    "--set",
    DRAWS,
    "--set",
    "train.steps=2",
    "--set",
    "train.batch_size=8",
    "--seeds",
    "0",
    "--integrations",
    "lal",
]


def workspace_of(task, *, encoders=("logmel",), **settings):
    """Of a recipe whose features are made."""
    lines = [f"{key}={json.dumps(value)}" for key, value in settings.items()] + [DRAWS]
    recipe = load_recipe(settings=lines, flags={"encoders": list(encoders), "tasks": [str(task)]})
    workspace = Workspace(recipe, Places(), encoders_checked=True)
    for encoder in recipe.single_encoders:
        extract([parse_encoder(encoder)], examples_of(workspace, recipe.tasks), recipe, Path("features"), device="cpu")
    return workspace


def palprobe(*words, code=0):
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A manifest of 24 clips, some with two tones that alternate: two labels at once."""
    folder = tmp_path_factory.mktemp("labelled")
    rows = ["audio,labels,split"]
    for number in range(24):
        label = list(TONES)[number % 3]
        write_tone(folder / f"{number}.wav", TONES[label], seed=number)
        split = ("train", "train", "validation", "test")[number // 6]
        rows.append(f"{number}.wav,{label}{'|any' if number % 2 else ''},{split}")
    (folder / "labelled.csv").write_text("\n".join(rows) + "\n")
    return folder / "labelled.csv"


def test_a_linear_probe_is_a_regression_on_pooled_features(tones):
    """From the stored features, plain numpy and scikit-learn at the setting that it chose: the same probabilities."""
    workspace = workspace_of(tones)
    (cell,) = [one for one in pooled_cells(workspace, ["linear"]) if one.cell.fold == 1]
    result = read_result(run_pooled(workspace, cell, "test"))
    source = FeatureSource.open(Path("features"), workspace.features("logmel")[0])

    def pooled(split):
        clips = [source.get_many([cell.keys[example.id]])[0].double().numpy() for example in cell.examples(split)]
        return np.stack([np.concatenate([clip.mean(axis=0), clip.std(axis=0)]) for clip in clips])

    scaler = StandardScaler().fit(pooled("train"))
    model = LogisticRegression(C=read_json(cell.run.folder / "train.json")["questions"][0]["setting"], tol=1e-8)
    model.fit(scaler.transform(pooled("train")), [example.references[0] for example in cell.examples("train")])
    expected = model.predict_proba(scaler.transform(pooled("test")))
    for prediction, row in zip(result.predictions, expected, strict=True):
        found = [math.exp(prediction.scores[name]) for name in model.classes_]
        np.testing.assert_allclose(found, row, atol=5e-3)
        assert prediction.prediction == model.classes_[row.argmax()]
    assert len(result.predictions) == 12


def test_results_say_what_was_compared(tones):
    """No LLM, one seed, the probe's name as integration and as what was trained; no audio tokens are shown."""
    workspace = workspace_of(tones)
    results = {}
    for cell in pooled_cells(workspace, [*BOTH, "blind"]):
        result = read_result(run_pooled(workspace, cell, "test"))
        results[cell.kind, cell.cell.fold] = result
        named = result.cell
        assert (named.encoder, named.layer, named.llm, named.seed) == ("logmel", "last", "none", 0)
        assert named.integration == named.trainable == cell.kind
        assert (result.control, result.scoring, result.split) == ("none", "likelihood", "test")
        assert (result.cost.audio_tokens, result.cost.tokens_per_second) == (None, None)
        for prediction in result.predictions:
            assert sum(map(math.exp, prediction.scores.values())) == pytest.approx(1)
    assert results.keys() == {(kind, fold) for kind in BOTH for fold in range(3)}
    dim = 2 * 512
    assert results["linear", 0].cost.trainable_parameters == 3 * (dim + 1)
    assert results["knn", 0].cost.trainable_parameters == 0
    accuracy = [score.interval.value for score in results["linear", 0].scores if score.metric == "accuracy"]
    assert accuracy == [1.0], "three tones are easy to tell apart"


def test_nothing_is_done_twice(tones):
    """A second run reads the result that is there; one without its result is scored from the stored probe."""
    workspace = workspace_of(tones)
    cell = pooled_cells(workspace, ["linear"])[0]
    folder = run_pooled(workspace, cell, "test")
    times = {path: path.stat().st_mtime_ns for path in cell.run.folder.rglob("*") if path.is_file()}
    assert run_pooled(workspace, pooled_cells(workspace, ["linear"])[0], "test") == folder
    assert times == {path: path.stat().st_mtime_ns for path in times}
    before = (folder / "predictions.jsonl").read_bytes()
    (folder / "result.json").unlink()
    (folder / "predictions.jsonl").unlink()
    run_pooled(workspace, cell, "test")
    assert (folder / "predictions.jsonl").read_bytes() == before
    fitted = [path for path in times if "eval" not in path.parts]
    assert fitted
    assert all(times[path] == path.stat().st_mtime_ns for path in fitted)


def test_identity_is_of_what_decides_the_result(tones):
    """Encoder, fold, kind and items make another run; what only other probes read makes none."""

    def ids(**settings):
        workspace = Workspace(
            load_recipe(
                settings=[f"{key}={json.dumps(value)}" for key, value in settings.items()],
                flags={"encoders": ["logmel", "mfcc"], "tasks": [str(tones)]},
            ),
            Places(),
            encoders_checked=True,
        )
        return [cell.run.id for cell in pooled_cells(workspace, BOTH)]

    plain = ids()
    assert len(set(plain)) == 2 * 3 * 2
    assert ids(**{"train.steps": 7, "integration.pool": "time:4", "scoring.rule": "per-byte", "llm": "other"}) == plain
    assert not set(plain) & set(ids(**{"data.split_seed": 1}))


def test_mixed_layers_stand_side_by_side(tones):
    """`@weighted` pools its five layers apart, and A+B its encoders: 5 · 384 and 512 numbers, each with a deviation."""
    encoders = ("random:whisper:tiny@weighted+logmel",)
    settings = {"encoder.untrained_window_seconds": 1.0, "folds": [0], "data.limit": 6}
    workspace = workspace_of(tones, encoders=encoders, **settings)
    (cell,) = pooled_cells(workspace, ["linear"])
    result = read_result(run_pooled(workspace, cell, "test"))
    assert result.cost.trainable_parameters == 3 * (2 * (5 * 384 + 512) + 1)
    assert result.cell.layer == "weighted+last"


def test_several_labels_are_ranked(labelled):
    """Each label has a probability of its own, and mAP is computed of them."""
    workspace = workspace_of(labelled)
    for cell in pooled_cells(workspace, BOTH):
        result = read_result(run_pooled(workspace, cell, "test"))
        scores = {score.metric: score.interval.value for score in result.scores}
        assert 0.5 < scores["map"] <= 1
        sums = [sum(map(math.exp, prediction.scores.values())) for prediction in result.predictions]
        assert sum(sums) / len(sums) == pytest.approx(1.5, abs=0.3), "half of the clips have two labels"


def test_each_question_has_its_own_classifier(tones, tmp_path):
    """Two prompts about the same clips, with other answers each: two classifiers, that say nothing of the other's."""
    rows = ["id,audio,prompt,answer,choices,split"]
    for number in range(36):
        split = ("train", "validation", "test")[number // 12]
        name = list(TONES)[number % 3]
        audio = f"{tones.parent}/{number}.wav"
        rows.append(f"a{number},{audio},Is it low?,{'yes' if name == 'low' else 'no'},yes|no,{split}")
        rows.append(f"b{number},{audio},How high is it?,{name},{'|'.join(TONES)},{split}")
    (tmp_path / "two.csv").write_text("\n".join(rows) + "\n")
    workspace = workspace_of(tmp_path / "two.csv")
    for cell in pooled_cells(workspace, BOTH):
        result = read_result(run_pooled(workspace, cell, "test"))
        questions = read_json(cell.run.folder / "train.json")["questions"]
        assert {(one["prompt"], *one["choices"]) for one in questions} == {
            ("Is it low?", "no", "yes"),
            ("How high is it?", *sorted(TONES)),
        }
        assert [one.id for one in result.predictions] == [f"{kind}{n}" for n in range(24, 36) for kind in "ab"]
        assert all(len(one.scores) == (2 if one.id[0] == "a" else 3) for one in result.predictions)
        right = sum(one.correct for one in result.predictions)
        assert right == 24 or cell.kind == "knn"


def test_a_task_that_cannot_be_answered_is_named_once(tones, tmp_path):
    """Open questions leave no cell and one sentence; to plan such a cell alone is an error."""
    rows = ["audio,answer,split"] + [
        f"{tones.parent}/{n}.wav,word {n},{'train' if n < 6 else 'test'}" for n in range(9)
    ]
    open_task = tmp_path / "open.csv"
    open_task.write_text("\n".join(rows) + "\n")
    recipe = load_recipe(flags={"encoders": ["logmel"], "tasks": [str(open_task), str(tones)]})
    workspace = Workspace(recipe, Places(), encoders_checked=True)
    assert {cell.cell.task for cell in pooled_cells(workspace, BOTH)} == {str(tones)}
    (sentence,) = pooled_refusals(workspace, BOTH)
    assert sentence == f"linear and knn on {open_task}: its questions are open, and there are no classes to tell apart."
    assert pooled_refusals(workspace, ["blind"]) == []
    with pytest.raises(UsageError, match="questions are open"):
        plan_pooled(workspace, Cell("logmel", "linear", "none", str(open_task), 0), PooledVectors())


def test_without_features_the_extract_line_is_given(tones):
    """A probe never encodes: it says the command."""
    recipe = load_recipe(flags={"encoders": ["logmel"], "tasks": [str(tones)]})
    workspace = Workspace(recipe, Places(), encoders_checked=True)
    with pytest.raises(UnfinishedError, match="palprobe extract --encoder logmel"):
        run_pooled(workspace, pooled_cells(workspace, ["knn"])[0], "test")


def test_compare_fits_reports_and_finds_again(tones):
    """Beside the compared cells stand rows without LLM; the same command and the planned lines leave the same files."""
    words = ["--encoders", "logmel", "--tasks", tones, "--folds", "0", "--set", "controls=[linear, knn]", *TINY]
    rows = json.loads(palprobe("compare", *words, "--format", "json").stdout)
    named = {(row["integration"], row["llm"]) for row in rows}
    assert named == {("lal", "tiny"), ("linear", "none"), ("knn", "none")}
    kept = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*") if path.is_file()}
    palprobe("compare", *words)
    lines = palprobe("compare", *words, "--plan=all").stdout.splitlines()
    assert (
        sum("--integration linear --llm none" in line or "--integration knn --llm none" in line for line in lines) == 2
    )
    for line in lines:
        palprobe(*shlex.split(line)[1:])
    assert {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*") if path.is_file()} == kept
    assert {result.cell.integration for result in find_results([Path("runs")])} == {"lal", "linear", "knn"}


def test_the_planned_lines_alone(tones):
    """On an empty folder they do the same work: predictions are equal to the byte."""
    words = ["--encoders", "logmel", "--tasks", tones, "--folds", "2", "--set", "controls=[linear, knn]", *TINY]
    for line in palprobe("compare", *words, "--plan=all").stdout.splitlines():
        palprobe(*shlex.split(line)[1:])
    first = {path: path.read_bytes() for path in Path("runs").rglob("predictions.jsonl")}
    assert len(first) == 3
    palprobe("compare", *words)
    assert {path: path.read_bytes() for path in Path("runs").rglob("predictions.jsonl")} == first


def test_layers_are_chosen_on_validation(tones):
    """Of an encoder with several layers in the grid, each probe is scored on validation too."""
    words = [
        "--encoders",
        "random:whisper:tiny@1,random:whisper:tiny@4",
        "--tasks",
        tones,
        "--folds",
        "0",
        "--limit",
        "6",
    ]
    palprobe("compare", *words, *TINY, "--set", "encoder.untrained_window_seconds=1", "--set", "controls=[linear]")
    found = [result for result in find_results([Path("runs")]) if result.cell.integration == "linear"]
    assert {(result.cell.layer, result.split) for result in found} == {
        (layer, split) for layer in ("1", "4") for split in ("test", "validation")
    }


@pytest.fixture
def run(tones):
    """A fitted linear probe."""
    palprobe("extract", "--encoder", "logmel", "--data", tones)
    words = ["train", "--encoder", "logmel", "--task", tones, "--integration", "linear", "--fold", "0"]
    return Path(palprobe(*words).stdout.strip())


def test_train_and_eval_one_probe(run):
    """Both stages work alone; other intervals are computed from the stored answers, and validation too is scored."""
    rows = json.loads(palprobe("eval", run, "--format", "json").stdout)
    assert {row["integration"] for row in rows} == {"linear"}
    assert (run / "eval" / "test-likelihood" / "result.json").is_file()
    palprobe("eval", run, "--split", "validation", "--set", "scoring.bootstrap_draws=100")
    palprobe("eval", run, "--rescore", "--set", "scoring.bootstrap_draws=300")
    assert read_json(run / "eval" / "test-likelihood" / "result.json")["identity"]["bootstrap_draws"] == 300


@pytest.mark.parametrize(
    "words",
    [
        ["--scoring", "generation"],
        ["--set", "scoring.rule=per-byte"],
        ["--control", "shuffled"],
        ["--attention"],
        ["--hard", "hard.jsonl"],
    ],
)
def test_what_takes_an_llm_is_refused(run, words):
    """A probe without an LLM has no text, no rule, no attention and no control of its own."""
    from palprobe.errors import RecipeError

    with pytest.raises(RecipeError, match=r"linear probe|no LLM"):
        palprobe("eval", run, *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "1"], "draws nothing"),
        (["--train-on", "esc10"], "learns from the task itself"),
        (["--control", "verbaliser"], "has none"),
    ],
)
def test_options_without_effect_are_refused(tones, words, message):
    """A seed, other training tasks and controls of an LLM change nothing of a linear probe."""
    with pytest.raises(UsageError, match=message):
        palprobe("train", "--encoder", "logmel", "--task", tones, "--integration", "linear", "--fold", "0", *words)


def test_as_integration_of_a_comparison_it_is_refused(tones):
    """It is asked for as a control, beside what is compared; the message says how."""
    with pytest.raises(UsageError, match=r"--set controls=\[knn\]"):
        palprobe("compare", "--encoders", "logmel", "--tasks", tones, "--integrations", "knn")
