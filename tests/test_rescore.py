"""Reading stored answers again gives what evaluating anew gives, from the run's folder alone."""

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TONES, write_tone
from test_bad_input import palprobe, refused  # noqa: F401 - fixtures

from palprobe.errors import ScoringError
from palprobe.evaluation.evaluate import evaluate
from palprobe.evaluation.predictions import read_predictions, written
from palprobe.evaluation.rescore import rescore
from palprobe.evaluation.results import evaluation_of
from palprobe.features.extraction import extract
from palprobe.recipe import load_recipe
from palprobe.runs import Cell, Places
from palprobe.scoring.rules import RULES
from palprobe.specs import parse_encoder
from palprobe.tasks import load_task
from palprobe.tasks.manifest import load_manifest
from palprobe.training.train_cell import train_cell
from palprobe.training.workspace import Workspace
from palprobe.types import Prediction

SETTINGS = ["rigor=quick", "controls=[]", "train.steps=2", "train.batch_size=8", "scoring.bootstrap_draws=200"]
METHODS = ("likelihood", "generation")


@pytest.fixture(scope="module")
def barely(tones, tmp_path_factory):
    """A probe that has hardly learned anything, so that rules disagree: (workspace, plan)."""
    return trained(str(tones), tmp_path_factory.mktemp("barely"))


def trained(task, folder, *settings):
    recipe = load_recipe(settings=[*SETTINGS, *settings], flags={"tasks": [task]})
    places = Places(store=folder / "features", runs=folder / "runs")
    workspace = Workspace(recipe, places)
    extract([parse_encoder("logmel")], workspace.task(task).examples, recipe, places.store)
    plan = workspace.plan(Cell("logmel", "lal", "tiny", task, 0, workspace.folds(task)[0]))
    train_cell(workspace, plan, lambda _: None)
    return workspace, plan


def section_of(workspace, **changes):
    return workspace.recipe.scoring.model_copy(update=changes)


def contents(folder):
    """predictions.jsonl as bytes, and of result.json what a rescore decides."""
    result = json.loads((folder / "result.json").read_text())
    decided = ("identity", "scoring", "control", "split", "scores", "normaliser", "decoding", "rule", "counts")
    return (folder / "predictions.jsonl").read_bytes(), {key: result.get(key) for key in decided}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_applied_afterwards_is_that_rule_evaluated_anew(barely, rule):
    """To the byte: predictions, scores, intervals and identity; from whichever rule they were stored under."""
    workspace, plan = barely
    section = section_of(workspace, rule=rule)
    source = evaluate(workspace, plan, "test", section_of(workspace, rule="audio-pmi"))
    anew = evaluate(workspace, plan, "test", section)
    expected = contents(anew)
    if anew != source:
        shutil.rmtree(anew)
    (found,) = rescore(plan.run.folder, "test", [f"scoring.rule={rule}", "scoring.bootstrap_draws=200"])
    assert found == anew and contents(found) == expected
    assert evaluation_of(plan, "test", section).is_there


def test_rules_differ_here_and_raw_sums_do_not(barely):
    """Each rule has a folder and a name of its own; what it stores of the probe is the same."""
    workspace, plan = barely
    folders = {rule: evaluate(workspace, plan, "test", section_of(workspace, rule=rule)) for rule in RULES}
    stored = {rule: read_predictions(folder, 12) for rule, folder in folders.items()}
    assert {folder.name for folder in folders.values()} == {
        "test-likelihood", "test-likelihood-per-byte", "test-likelihood-audio-pmi", "test-likelihood-batch-calibrated"
    }  # fmt: skip
    assert len({tuple(one.prediction for one in items) for items in stored.values()}) > 1
    assert len({tuple(tuple(one.scores.items()) for one in items) for items in stored.values()}) == 1
    result = json.loads((folders["per-byte"] / "result.json").read_text())
    assert (result["scoring"], result["rule"]) == ("likelihood:per-byte", "per-byte")


def test_a_result_of_before_is_as_it_was(barely):
    """Identity, folder and lines of the default rule are those of before there were rules."""
    workspace, plan = barely
    evaluation = evaluation_of(plan, "test", workspace.recipe.scoring)
    identity = {"run": plan.run.id, "split": "test", "scoring": "likelihood", "control": "none", "scorer": 1}
    assert evaluation.identity == identity | {"bootstrap_draws": 200}
    generation = evaluation_of(plan, "test", section_of(workspace, method="generation"))
    assert generation.identity == identity | {
        "scoring": "generation", "bootstrap_draws": 200, "max_new_tokens": 24
    }  # fmt: skip
    assert (evaluation.folder.name, generation.folder.name) == ("test-likelihood", "test-generation")
    line = written([Prediction("i", "g", None, "a", "b", {"a": -2.5, "b": -1.0}, False, True)])
    assert line == (
        '{"id": "i", "group": "g", "part": null, "reference": "a", "prediction": "b", '
        '"scores": {"a": -2.5, "b": -1.0}, "correct": false, "valid": true}\n'
    )
    folder = evaluate(workspace, plan, "test", workspace.recipe.scoring)
    assert "rule" not in json.loads((folder / "result.json").read_text())


def test_texts_are_read_again(barely):
    """`contains` afterwards is `contains` evaluated anew, and back again; the text is kept as it was written."""
    workspace, plan = barely
    strict, contains = (section_of(workspace, method="generation", parse=parse) for parse in ("strict", "contains"))
    source = evaluate(workspace, plan, "test", strict)
    before = contents(source)
    anew = evaluate(workspace, plan, "test", contains)
    assert anew.name == "test-generation-contains"
    expected = contents(anew)
    shutil.rmtree(anew)
    settings = ["scoring.parse=contains", "scoring.bootstrap_draws=200"]
    assert contents(*rescore(plan.run.folder, "test", settings)) == expected
    assert contents(*rescore(plan.run.folder, "test", ["scoring.method=generation", settings[1]])) == before
    for line in before[0].decode().splitlines():
        stored = json.loads(line)
        assert stored["choices"] == ["high", "low", "middle"] and isinstance(stored["text"], str)


def test_only_intervals_change_where_nothing_else_is_asked(barely):
    """Without a rule all methods are read again; predictions stay the file they are."""
    workspace, plan = barely
    asked = [evaluate(workspace, plan, "validation", section_of(workspace, method=m)) for m in METHODS]
    before = [(folder / "predictions.jsonl").stat().st_mtime_ns for folder in asked]
    found = rescore(plan.run.folder, "validation", ["scoring.bootstrap_draws=300"])
    assert found == asked
    assert [(folder / "predictions.jsonl").stat().st_mtime_ns for folder in found] == before
    for folder in found:
        assert json.loads((folder / "result.json").read_text())["identity"]["bootstrap_draws"] == 300


def left_alone(plan, folder):
    """A copy of a run that holds what a rescore reads and nothing else: no probe, features or audio."""
    run = folder / plan.run.id
    shutil.copytree(plan.run.folder / "eval", run / "eval")
    for name in ("recipe.yaml", "identity.json"):
        shutil.copy(plan.run.folder / name, run)
    return run


def test_no_model_is_needed(barely, tmp_path):
    """Without features, audio, manifest and probe, in a process that never loads torch."""
    workspace, plan = barely
    evaluate(workspace, plan, "test", workspace.recipe.scoring)
    run = left_alone(plan, tmp_path)
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace(plan.cell.task, "/nowhere/tones.csv"))
    program = (
        "import sys\nfrom pathlib import Path\nfrom palprobe.evaluation.rescore import rescore\n"
        f"print(rescore(Path({str(run)!r}), 'test', ['scoring.rule=per-byte'])[0])\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(run / "eval" / "test-likelihood-per-byte")


def test_answers_that_were_not_stored_are_asked_for(barely, tmp_path):
    """Generated text of before it was kept, and null scores: one line says which command makes them."""
    workspace, plan = barely
    evaluate(workspace, plan, "test", section_of(workspace, method="generation"))
    run = left_alone(plan, tmp_path)
    for folder in (run / "eval").iterdir():
        if folder.name != "test-generation":
            shutil.rmtree(folder)
    path = run / "eval" / "test-generation" / "predictions.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({k: v for k, v in line.items() if k != "text"}) + "\n" for line in lines))
    with pytest.raises(ScoringError, match=r"before generated text was kept.*Delete the folder"):
        rescore(run, "test", ["scoring.parse=contains"])


def test_what_people_do_wrong(barely, tmp_path, refused):  # noqa: F811
    """One line each: what was found, and what to do."""
    workspace, plan = barely
    evaluate(workspace, plan, "test", workspace.recipe.scoring)
    run = left_alone(plan, tmp_path)
    for folder in (run / "eval").iterdir():
        if folder.name != "test-likelihood":
            shutil.rmtree(folder)
    again = ["eval", run, "--rescore"]
    refused(*again, "--set", "scoring.rule=median", code=1, texts=["scoring.rule = 'median'", "'per-byte'"])
    refused(*again, "--set", "scoring.parse=guess", code=1, texts=["scoring.parse = 'guess'", "'contains'"])
    refused(*again, "--scoring", "likelihood,guess", code=1, texts=["scoring.method", "likelihood, generation"])
    refused(*again, "--set", "scoring.max_new_tokens=9", code=2, texts=["scoring.rule", "Leave --rescore out"])
    refused(*again, "--attention", code=2, texts=["--attention needs the model or the data"])
    refused(*again, "--hard", "hard.jsonl", code=2, texts=["--hard needs the model or the data"])
    refused(*again, "--split", "validation", code=1, texts=["no finished evaluation", "palprobe eval", "validation"])
    refused(*again, "--set", "scoring.parse=contains", code=1, texts=["no generation evaluation"])
    refused(*again, "--set", "scoring.rule=audio-pmi", code=1, texts=["no scores under null audio"])
    refused("eval", tmp_path, "--rescore", code=1, texts=["is no run folder"])
    path = run / "eval" / "test-likelihood" / "predictions.jsonl"
    whole = path.read_text()
    path.write_text(whole[:-20])
    refused(*again, code=1, texts=["holds 11 items, result.json says 12"])
    path.write_text(whole.replace('"low": -', '"low": NaN, "lower": -', 1))
    refused(*again, code=1, texts=["predictions.jsonl, item 1", "low = nan", "damaged"])
    path.write_text(whole.replace("{", "[", 1))
    refused(*again, code=1, texts=["predictions.jsonl, line 1", "not JSON"])
    path.unlink()
    refused(*again, code=1, texts=["predictions.jsonl is not there"])


def test_settings_without_effect_are_refused(tones, refused, palprobe):  # noqa: F811
    """A rule is of likelihood, a parser of generation, --hard of null audio, and listed options of multiple choice."""
    palprobe("extract", "--encoder", "logmel", "--data", tones)
    train = ["train", "--encoder", "logmel", "--task", tones, "--fold", "0"]
    code, run, err = palprobe(*train, *(word for line in SETTINGS for word in ("--set", line)))
    assert code == 0, err
    run = run.strip()
    rule = ["--set", "scoring.rule=per-byte"]
    refused("eval", run, "--scoring", "generation", *rule, code=2, texts=["about likelihood", "--scoring likelihood"])
    refused("eval", run, "--set", "scoring.parse=contains", code=2, texts=["Add --scoring generation"])
    refused("eval", run, "--hard", "h.jsonl", code=2, texts=["scoring.rule=audio-pmi"])
    refused("compare", "--tasks", tones, "--set", "prompt.options=listed", code=2, texts=["no task here is multiple"])
    code, out, err = palprobe(
        "eval", run, "--scoring", "likelihood,generation", *rule, "--set", "scoring.parse=contains"
    )
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {row["scoring"] for row in rows} == {"likelihood:per-byte", "generation:contains"}


def test_both_scorings_stand_side_by_side(tones, palprobe):  # noqa: F811
    """compare with both writes rows of both; planned lines name both, and run alone they find everything done."""
    words = ["compare", "--tasks", tones, "--integrations", "lal", "--folds", "0"]
    words += [word for line in (*SETTINGS, "scoring.method=[likelihood, generation]") for word in ("--set", line)]
    code, out, err = palprobe(*words)
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {(row["scoring"], row["metric"]) for row in rows} >= {("likelihood", "accuracy"), ("generation", "accuracy")}
    code, lines, err = palprobe(*words, "--plan=eval")
    assert code == 0 and "--scoring likelihood,generation" in lines
    code, again, err = palprobe(*words)
    assert again == out and "eval" not in err


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    """A folder of multiple-choice questions about tones, each with a wording and options of its own."""
    folder = tmp_path_factory.mktemp("data") / "qa"
    folder.mkdir()
    rows = []
    for number in range(30):
        label = list(TONES)[number % 3]
        write_tone(folder.parent / f"{number}.wav", TONES[label], seconds=0.3, seed=number)
        options = [*TONES][: 2 + number % 2] if label != "high" else [*TONES]
        options = options[number % 2 :] + options[: number % 2]
        rows.append({
            "id": f"q{number}", "audio": f"{number}.wav", "question": f"Question {number % 7}?", "answer": label,
            "choices": options, "task": "tone", "category": ("a", "b")[number % 2],
        })  # fmt: skip
    (folder / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_listed_options_are_another_run_and_any_order_gives_its_scores(questions, tmp_path):
    """Listing is in the identity and the result; rotating every question's options in the file moves no score's bit."""
    task = f"qa={questions}"
    hidden = trained(task, tmp_path / "hidden")[1]
    workspace, plan = trained(task, tmp_path / "listed", "prompt.options=listed")
    assert plan.run.identity["options"] == {"listed": 1} and "options" not in hidden.run.identity
    assert plan.run.id != hidden.run.id
    assert all("\nOptions:\n- " in example.prompt for example in plan.splits.train)
    assert not any("Options" in example.prompt for example in plan.splits.test)
    folder = evaluate(workspace, plan, "test", workspace.recipe.scoring)
    result = json.loads((folder / "result.json").read_text())
    assert result["options"].startswith("listed") and "Options:\n- " in result["prompt"]
    before = {one.id: one for one in read_predictions(folder, result["counts"]["used"])}
    turned = tmp_path / "data" / "qa"
    shutil.copytree(questions.parent, turned.parent)
    rows = [json.loads(line) for line in (turned / "qa.jsonl").read_text().splitlines()]
    rows = [row | {"choices": row["choices"][1:] + row["choices"][:1]} for row in rows]
    (turned / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    workspace, plan = trained(f"qa={turned}", tmp_path / "turned", "prompt.options=listed")
    found = read_predictions(evaluate(workspace, plan, "test", workspace.recipe.scoring), len(before))
    for one in found:
        assert one.scores == before[one.id].scores and one.prediction == before[one.id].prediction
    written_ = evaluate(workspace, plan, "test", section_of(workspace, method="generation"))
    assert all(one.choices for one in read_predictions(written_, len(before)))


def test_questions_missed_without_audio_become_a_manifest(questions, palprobe):  # noqa: F811
    """--hard writes those whose likeliest choice under null audio is wrong, as lines that load as a task."""
    palprobe("extract", "--encoder", "logmel", "--data", f"qa={questions}")
    train = ["train", "--encoder", "logmel", "--task", f"qa={questions}", "--fold", "1"]
    code, run, err = palprobe(*train, *(word for line in SETTINGS for word in ("--set", line)))
    assert code == 0, err
    code, _, err = palprobe("eval", run.strip(), "--set", "scoring.rule=audio-pmi", "--hard", "hard.jsonl")
    assert code == 0, err
    folder = Path(run.strip()) / "eval" / "test-likelihood-audio-pmi"
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    missed = [
        line["id"]
        for line in lines
        if sorted(line["null_scores"].items(), key=lambda p: -p[1])[0][0] != line["reference"]
    ]
    assert f"hard: {len(missed)} of {len(lines)} questions" in err and 0 < len(missed) < len(lines)
    found = load_manifest("hard.jsonl").examples
    asked = {example.id: example for example in load_task_examples(questions)}
    assert [example.id for example in found] == missed
    for example in found:
        original = asked[example.id]
        for key in ("prompt", "choices", "references", "group", "fold"):
            assert getattr(example, key) == getattr(original, key)


def load_task_examples(folder):
    from palprobe.specs import parse_task

    return load_task(parse_task(f"qa={folder}"), data_root=None, cache=folder / "cache").examples


def test_captions_are_generated_unless_told_otherwise(tmp_path, palprobe, refused):  # noqa: F811
    """A captioning task needs no scoring key; each different caption's likelihood is stored; choices it has none."""
    folder = tmp_path / "captions"
    (folder / "audio").mkdir(parents=True)
    rows = ["file_name,caption_1,caption_2"]
    for number in range(20):
        label = list(TONES)[number % 3]
        write_tone(folder / "audio" / f"{number}.wav", TONES[label], seconds=0.3, seed=number)
        rows.append(f"{number}.wav,a {label} tone," + (f"a {label} tone" if number % 2 else "tone"))
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")
    words = ["compare", "--tasks", f"captions={folder}", "--integrations", "lal", "--folds", "1"]
    words += [word for line in SETTINGS for word in ("--set", line)]
    refused(*words, "--set", "scoring.method=likelihood", code=1, texts=["is an open question", "generation"])
    code, out, err = palprobe(*words, "--set", "scoring.max_new_tokens=4")
    assert code == 0, err
    assert {row["scoring"] for row in csv.DictReader(io.StringIO(out))} == {"generation"}
    (path,) = Path("runs").rglob("predictions.jsonl")
    for line in map(json.loads, path.read_text().splitlines()):
        assert set(line["scores"]) == {line["reference"], *line.get("references", [])}
        assert all(score < 0 for score in line["scores"].values()) and len(line["text"]) <= 4
