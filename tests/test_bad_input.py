"""What people do wrong, through the command line: one line that says what was found and what to do; nothing is lost."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from conftest import PLAIN, SAMPLE_RATE, write_tone

from palprobe.cli import main
from palprobe.files import save_tensors

QUICK = [*PLAIN, "--set", "train.steps=2", "--set", "train.batch_size=4", "--set", "data.validation_fraction=0.2"]


@pytest.fixture
def palprobe(capsys, monkeypatch):
    """Calls the command in this process; returns its exit code and what it printed."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["palprobe", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def refused(palprobe):
    """Calls the command, expects one line on stderr that holds all given texts, and returns that line."""

    def call(*words, code, texts):
        found, out, err = palprobe(*words)
        lines = [line for line in err.splitlines() if line.startswith("palprobe: ")]
        assert found == code, err
        assert out == ""
        assert len(lines) == 1, err
        assert "Traceback" not in err
        for text in texts:
            assert text in lines[0]
        return lines[0]

    return call


def manifest(rows, name="rows.csv", columns="id,audio,label,split,group"):
    """A manifest of (id, audio, label, split, group) rows beside its audio."""
    path = Path(name)
    path.write_text("\n".join([columns, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def plain_rows(count=12):
    """Rows of two labels, whose audio is written; the last third tests."""
    rows = []
    for number in range(count):
        label = ("low", "high")[number % 2]
        write_tone(Path(f"{number}.wav"), 300 if label == "low" else 2000, seconds=0.3, seed=number)
        rows.append(
            (f"r{number}", f"{number}.wav", label, "test" if number >= 2 * count // 3 else "train", f"g{number}")
        )
    return rows


def test_unknown_names_name_the_nearest(refused):
    """A mistyped encoder, integration, task, recipe, metric kind or format is answered with the right one."""
    for words, near in (
        (["compare", "--encoders", "logmell"], "Did you mean 'logmel'?"),
        (["compare", "--integrations", "plit"], "Did you mean 'plits'?"),
        (["compare", "--tasks", "diagnostic"], "Did you mean 'diagnostics'?"),
        (["compare", "--tasks", "diagnostics:onsett"], "no variant 'onsett'"),
        (["list", "encoder"], "Did you mean 'encoders'?"),
        (["compare", "--format", "xlsx"], "choose one of table, csv, json, markdown"),
        (["compare", "--device", "gpu"], "choose one of auto, cpu, cuda, mps"),
        (["compare", "--device", "cuda:first"], "choose one of auto, cpu, cuda, mps"),
        (["compare", "--seeds", "0;1"], "--seeds 0,1,2"),
        (["validate", "demo", "--recipe", "smoke"], "give one"),
        (["compare", "--plan=trian"], "choose one of extract, train, eval"),
        (["extract", "--encoder", "logmel@6", "--data", "diagnostics"], "layers"),
    ):
        refused(*words, code=2, texts=[near])


def test_weights_that_are_not_there(refused):
    """Offline, one message names every absent encoder, its hub id, the download command and the control."""
    line = refused("compare", "--encoders", "whisper:tiny,whisper:base", code=1, texts=["random:whisper:tiny"])
    assert "hf download openai/whisper-tiny" in line and "hf download openai/whisper-base" in line
    line = refused("compare", "--encoders", "beats,whisper", code=1, texts=["The weights of 2 encoders are not here"])
    for text in (
        "BEATs_iter3_plus_AS2M.pt", "lpepino/beats_ckpts", "hf download lpepino/beats_ckpts", "random:beats",
        "model.safetensors", "hf download openai/whisper-small", "the control random:whisper",
    ):  # fmt: skip
        assert text in line
    refused("compare", "--llm", "some-org/some-llm", code=1, texts=["hf download some-org/some-llm", "--llm tiny"])
    refused("compare", "--llm", "no such/thing", code=1, texts=["is no hub id", "--llm tiny"])
    assert not list(Path.cwd().glob("runs*")) and not list(Path.cwd().glob("results*"))


def test_llms_that_cannot_be_served(refused, palprobe):
    """No chat template, and a family that cannot hear: refused before any work; `list` tells which can."""
    refused("compare", "--set", "prompt.template=chat", code=1, texts=["tiny reads bytes and has no chat template"])
    refused("compare", "--set", "prompt.template=chatml", code=1, texts=["prompt.template = 'chatml'"])
    Path("mamba").mkdir()
    Path("mamba/config.json").write_text('{"model_type": "mamba"}')
    Path("mamba/model.safetensors").write_bytes(b"")
    refused("compare", "--llm", "mamba", code=1, texts=["holds mamba", "it has no attention"])
    assert not list(Path.cwd().glob("runs*"))
    code, out, err = palprobe("list", "llms")
    assert code == 0, err
    assert all(f"{family}" in out for family in ("tiny", "Qwen2.5", "SmolLM3", "OLMo 2", "GPT-NeoX", "Cohere2"))


def test_wrong_recipe_key_and_file(refused):
    """The nearest key is named; a recipe that is not there is told from a shipped one."""
    Path("r.yaml").write_text("train: {stepz: 3}\n")
    refused("compare", "--recipe", "r.yaml", code=1, texts=["r.yaml", "'train.stepz'", "Did you mean 'train.steps'?"])
    layers = ["--integrations", "plits,lal", "--set", "integration.layers=[5]"]
    refused("compare", *layers, code=1, texts=["the LLM has layers 0 to 1"])
    assert not list(Path.cwd().rglob("*.safetensors"))  # refused before any work
    refused("compare", "--recipe", "demoo", code=1, texts=["Did you mean 'demo'?"])
    refused("compare", "--set", "integration.connector=mpl", code=1, texts=["plits has mlp, linear"])


def test_the_same_thing_twice(refused):
    """An encoder under two spellings, or two manifests of one name, are refused before any work."""
    path = manifest(plain_rows())
    Path("other").mkdir()
    other = shutil.copy(path, "other")
    for wav in Path.cwd().glob("*.wav"):
        shutil.copy(wav, "other")
    refused("compare", "--tasks", f"{path},{other}", code=2, texts=["both called 'rows.csv'"])
    refused("compare", "--tasks", path, "--encoders", "logmel,logmel@last", code=2, texts=["are the same one"])
    refused("compare", "--tasks", path, "--folds", "1,1", code=1, texts=["the same entry stands there twice"])
    assert not Path("runs").exists()


def test_places_that_cannot_be_written_to(refused):
    """A file where a folder is to be made is told before the work, or in one line when it is met."""
    path = manifest(plain_rows())
    refused("compare", "--tasks", path, "--out", "0.wav", code=2, texts=["--out '0.wav'", "is a file"])
    refused("compare", "--tasks", path, "--runs", "0.wav/runs", code=2, texts=["0.wav is a file"])
    refused("compare", "--tasks", path, "--store", "0.wav", code=1, texts=["0.wav", "Check paths, permissions"])


def test_open_questions_are_not_trained_for_likelihood(refused):
    """Questions without choices are told from the start how they are scored."""
    columns = "id,audio,answer,split,group"
    path = manifest(plain_rows(), columns=columns)
    asked = ["--tasks", path, *QUICK, "--set", "scoring.method=likelihood"]
    refused("compare", *asked, code=1, texts=["'r0' is an open question", "scoring.method=generation"])


def test_missing_audio_file(refused, palprobe):
    """A manifest that names a file which is not there is refused, and goes on when told to."""
    rows = plain_rows()
    Path("3.wav").unlink()
    path = manifest(rows)
    refused("compare", "--tasks", path, *QUICK, code=1, texts=["3.wav", "--allow-missing"])
    code, out, err = palprobe("compare", "--tasks", path, "--allow-missing", *QUICK)
    assert code == 0, err
    assert ",1,0,0," in out  # n_missing, n_dropped, n_invalid


def test_undecodable_audio_is_counted_and_limited(refused, palprobe):
    """Bad files are dropped with their reason while they are few; above the limit extraction stops and says so."""
    rows = plain_rows()
    Path("1.wav").write_bytes(b"RIFF, but nothing else")
    soundfile.write("2.wav", np.full(4000, np.nan), SAMPLE_RATE, subtype="FLOAT")
    soundfile.write("8.wav", np.zeros(0), SAMPLE_RATE)
    path = manifest(rows)
    code, out, err = palprobe("compare", "--tasks", path, *QUICK)
    assert code == 1 and "of 12 clips cannot be decoded" in err and "data.max_dropped" in err and out == ""
    code, out, err = palprobe("compare", "--tasks", path, "--set", "data.max_dropped=0.5", *QUICK)
    assert code == 0, err
    assert "3 dropped (r1: " in err and " clips/s)" in err
    failures = [
        json.loads(line) for path in Path("features").rglob("failed*.jsonl") for line in path.read_text().splitlines()
    ]
    assert {Path(failure["path"]).name for failure in failures} == {"1.wav", "2.wav", "8.wav"}
    assert all(failure["reason"] for failure in failures)
    header, first = out.splitlines()[:2]
    row = dict(zip(header.split(","), first.split(","), strict=True))
    assert (row["n"], row["n_found"], row["n_dropped"]) == ("3", "4", "1")  # test split: 8.wav is dropped


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        (lambda rows: [(*row[:3], "train", row[4]) for row in rows], ["test split is empty"]),
        (lambda rows: [*rows[:-1], (*rows[-1][:2], "never", *rows[-1][3:])], ["never", "train"]),
        (lambda rows: [*rows[:-1], (rows[0][0], *rows[-1][1:])], ["r0", "line"]),
        (lambda rows: [*rows[:-1], (*rows[-1][:4], rows[0][4])], ["g0", "train", "test"]),
        (lambda rows: [(*row[:3], row[3].replace("train", "trian"), row[4]) for row in rows], ["'train'"]),
        (lambda rows: [(*row[:2], "low", *row[3:]) for row in rows], ["low"]),
        (lambda rows: [(*row[:2], "", *row[3:]) for row in rows], ["label"]),
    ],
    ids=["empty split", "unseen label", "duplicate id", "shared group", "split name", "one label", "no label"],
)
def test_manifests_that_would_mislead(refused, change, texts):
    """Splits and labels with which a score would mean something else are refused by name."""
    refused("compare", "--tasks", manifest(change(plain_rows())), *QUICK, code=1, texts=texts)


def test_a_task_without_a_folder(refused, monkeypatch):
    """Both ways to give a folder are shown; a folder that is not there is named."""
    monkeypatch.delenv("PALPROBE_DATA", raising=False)
    refused("compare", "--tasks", "esc50", code=2, texts=["--tasks esc50=FOLDER", "PALPROBE_DATA"])
    refused("compare", "--tasks", "esc50=nowhere", code=1, texts=["nowhere"])
    refused("compare", "--folds", "9", code=2, texts=["folds"])


@pytest.fixture
def trained(palprobe):
    """A finished run on a small manifest: (manifest, run folder)."""
    path = manifest(plain_rows())
    assert palprobe("extract", "--encoder", "logmel", "--data", path)[0] == 0
    code, out, err = palprobe("train", "--encoder", "logmel", "--task", path, *QUICK)
    assert code == 0, err
    return path, Path(out.strip())


def test_train_and_eval_without_features_give_the_command(refused, palprobe, trained):
    """The error holds the exact extract line, which then mends it."""
    path, run = trained
    shutil.rmtree("features")
    cell = ["--encoder", "logmel", "--task", path, "--seed", "1", *QUICK]
    line = refused("train", *cell, code=1, texts=["palprobe extract --encoder logmel --data rows.csv"])
    refused("eval", run, code=1, texts=["palprobe extract --encoder logmel --data rows.csv"])
    assert palprobe(*line.split("Run: palprobe ")[1].split())[0] == 0
    assert palprobe("eval", run)[0] == 0
    Path("mine.py").write_text("class Mine:\n    pass\n")
    mine = ["--encoder", "mine.py:Mine", "--task", path]
    refused("train", *mine, code=1, texts=["Run: palprobe extract --encoder mine.py:Mine --data rows.csv"])


def test_a_run_that_is_not_finished(refused, trained):
    """A run without its last file is not scored, and the message says how to finish it."""
    _, run = trained
    (run / "train.json").unlink()
    refused("eval", run, code=1, texts=["not finished", "palprobe train"])
    refused("report", "runs", code=1, texts=["runs"])
    refused("eval", "no-such-run", code=1, texts=["no run folder"])


def test_a_run_by_any_path(palprobe, trained, monkeypatch):
    """A run is found as `.`, with a slash behind it, and once where it is named twice."""
    path, run = trained
    code, rows, err = palprobe("eval", f"{run}/", run, run.resolve())
    assert code == 0, err
    for name in (path, *Path().glob("*.wav"), "features"):
        (run / name).symlink_to(Path(name).resolve())  # the recipe's paths count from the working directory
    monkeypatch.chdir(run)
    code, out, err = palprobe("eval", ".")
    assert code == 0, err
    assert out == rows


def test_several_runs_of_which_one_fails(palprobe, trained):
    """The others are printed; the failure is told, and exit code 3 says so."""
    _, run = trained
    code, out, err = palprobe("eval", run, "no-such-run")
    assert code == 3
    assert out.count("\n") > 1 and "palprobe: no-such-run is no run folder" in err


def test_damaged_results_and_probes(refused, palprobe, trained):
    """A result, a probe file or a recipe that is cut, empty or gone is named, with what to do."""
    _, run = trained
    assert palprobe("eval", run)[0] == 0
    result = run / "eval" / "test-likelihood" / "result.json"
    result.write_text("{}")
    refused("eval", run, code=1, texts=["result.json is damaged", "Delete it"])
    result.unlink()
    content = (run / "probe.safetensors").read_bytes()
    (run / "probe.safetensors").write_bytes(content[:-100])
    refused("eval", run, code=1, texts=["probe.safetensors is damaged", "train again"])
    save_tensors(run / "probe.safetensors", {"standardise.mean": torch.zeros(3)})
    refused("eval", run, code=1, texts=["does not fit its model", "train again"])
    (run / "probe.safetensors").unlink()
    refused("eval", run, code=1, texts=["probe.safetensors is not there", "train again"])
    (run / "recipe.yaml").write_text("train: [\n")
    refused("eval", run, code=1, texts=["recipe.yaml is no valid YAML"])


def test_train_keeps_what_the_recipe_says(refused, palprobe):
    """Flags that are not given leave the recipe's integration and seed alone; several of them are not chosen from."""
    path = manifest(plain_rows())
    assert palprobe("extract", "--encoder", "logmel", "--data", path)[0] == 0
    cell = ["--encoder", "logmel", "--task", path, *QUICK]
    code, out, err = palprobe("train", *cell, "--set", "integrations=[lal]", "--set", "seeds=[3]")
    assert code == 0, err
    identity = json.loads((Path(out.strip()) / "identity.json").read_text())
    assert (identity["integration"]["name"], identity["seed"]) == ("lal", 3)
    refused("train", *cell, "--set", "seeds=[1,2]", code=2, texts=["choose one with --seed"])
    assert not (Path(out.strip()) / "resume" / "state.safetensors").exists()


def test_interruption_is_told(palprobe, monkeypatch):
    """Ctrl-C ends with a sentence and the exit code that shells know, without a traceback."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("palprobe.grid.work.run_grid", interrupt)
    code, out, err = palprobe("compare")
    assert (code, out) == (130, "")
    assert err.startswith("palprobe: interrupted; what is finished is kept") and err.count("\n") == 1


def test_an_output_folder_of_another_identity(refused, trained):
    """A run folder that holds another run is neither overwritten nor scored; the differing field is named."""
    path, run = trained
    identity = json.loads((run / "identity.json").read_text())
    (run / "identity.json").write_text(json.dumps(identity | {"seed": 7}))
    (run / "train.json").unlink()
    cell = ["--encoder", "logmel", "--task", path, *QUICK]
    refused("train", *cell, code=1, texts=["holds another run", "seed: 7 there, 0 here"])
    refused("eval", run, code=1, texts=["seed: 7 there, 0 here"])


def test_features_of_another_identity(refused, trained):
    """A feature folder made from something else is refused with the field that differs."""
    path, _ = trained
    store = next(Path("features").glob("*/store.json"))
    content = json.loads(store.read_text())
    content["identity"]["dtype"] = "float32"
    store.write_text(json.dumps(content))
    cell = ["--encoder", "logmel", "--task", path, "--seed", "1", *QUICK]
    refused("train", *cell, code=1, texts=["dtype: float32 there, float16 here"])


def test_data_that_changed_after_training(refused, trained):
    """A run is not scored on audio or labels that are not those it was trained with."""
    _, run = trained
    write_tone(Path("0.wav"), 1234, seconds=0.3, seed=99)
    refused("eval", run, code=1, texts=["task:", "Train it again"])


def test_settings_that_a_finished_run_does_not_take(refused, trained):
    """Training keys are refused at evaluation instead of having no effect."""
    _, run = trained
    refused("eval", run, "--set", "train.steps=9", code=2, texts=["train again"])
    refused("eval", run, "--split", "train", code=2, texts=["choose test, validation or block"])
    refused("eval", run, "--scoring", "guess", code=1, texts=["scoring.method"])


def test_names_from_strangers_reach_the_screen_harmless(palprobe):
    """Control characters in ids and file names do not reach the terminal raw."""
    rows = plain_rows()
    rows[0] = ("\x1b[31mred", "\x1b]0;title\x07.wav", *rows[0][2:])
    code, out, err = palprobe("compare", "--tasks", manifest(rows), *QUICK)
    assert code == 1
    assert "\x1b" not in out + err and "\x07" not in out + err
    Path("1.wav").write_bytes(b"no audio")
    rows[0] = (rows[0][0], "1.wav", *rows[0][2:])
    code, out, err = palprobe("compare", "--tasks", manifest(rows), "--set", "data.max_dropped=0", *QUICK)
    assert code == 1 and "cannot be decoded" in err
    assert "\x1b" not in out + err and "\x07" not in out + err


def test_a_recipe_with_every_key_is_valid(palprobe):
    """What `validate` prints is itself a recipe."""
    code, out, err = palprobe("validate", "--set", "train.steps=9")
    assert code == 0, err
    printed = yaml.safe_load(out)
    assert printed["train"]["steps"] == 9 and printed["integration"]["layers"] == "all"
    assert "tokens of the answer" in out


def test_one_cell_with_two_settings(refused, palprobe, trained):
    """Rows of both runs can be appended to a board; a report that could only mix them is refused."""
    path, run = trained
    code, out, err = palprobe("train", "--encoder", "logmel", "--task", path, *QUICK, "--set", "train.steps=3")
    assert code == 0, err
    other = out.strip()
    code, out, err = palprobe("eval", run, other, "--no-header")
    assert code == 0, err
    assert sorted({line.split(",")[-1] for line in out.splitlines()}) == sorted([run.name, Path(other).name])
    refused("report", "runs", code=1, texts=["trained with other settings", "palprobe eval"])
