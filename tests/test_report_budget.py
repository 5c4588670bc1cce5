"""Budgets: whatever differs between rows that are set beside one another is said, and nothing else is."""

import json

import pytest
from told_results import change, write_told

from palprobe.errors import PalprobeError
from palprobe.report.budget import budget_notes
from palprobe.report.leaderboard import leaderboard
from palprobe.report.results import find_results
from palprobe.report.sides import sides_of


def identity(**changes):
    """Of a run, as its folder says it."""
    features = {"encoder": {"name": "logmel"}, "layer": 0, "dtype": "float16", "channels": "mean"}
    what = {"features": [features], "integration": {"name": "lal", "connector": "mlp"}, "llm": {"name": "tiny"}}
    return what | {"train": {"steps": 100}, "task": "abc", "seed": 0, "fold": None, "version": 1} | changes


def notes(tmp_path) -> list[str]:
    results = find_results([tmp_path])
    return budget_notes(sides_of(leaderboard(results, draws=100), results))


def test_rows_of_one_budget_need_no_note(tmp_path):
    """Another encoder, layer, seed and integration is what is compared; a result without its run says less."""
    write_told(tmp_path, "10", encoder="a", integration="lal", identity=identity())
    other = {"encoder": {"name": "beats"}, "layer": 4, "dtype": "float16", "channels": "mean"}
    plits = {"name": "plits", "connector": "linear"}
    write_told(tmp_path, "10", encoder="b", integration="plits", identity=identity(features=[other], integration=plits))
    write_told(tmp_path, "10", encoder="c", integration="lal")
    assert notes(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (
            {"train": {"steps": 400}},
            "not the same budget: train.steps 100 (logmel, lal) and 400 (mfcc, lal)",
        ),
        (
            {"train": {"steps": 100, "precision": "bfloat16"}},
            "not the same budget: train.precision default (logmel, lal) and bfloat16 (mfcc, lal)",
        ),
        (
            {"llm": {"name": "tiny", "sha256": "ff"}},
            "not the same settings: llm.sha256 default (logmel, lal) and ff (mfcc, lal)",
        ),
        (
            {"integration": {"name": "lal", "connector": "qformer"}},
            "not the same settings: lal: connector mlp (logmel, lal) and qformer (mfcc, lal)",
        ),
        (
            {"features": [{"dtype": "float32", "channels": "mean"}]},
            "not the same settings: features.dtype float16 (logmel, lal) and float32 (mfcc, lal)",
        ),
        (
            {"task": "def"},
            "not the same examples: the data, their split or their prompts changed between the runs of these rows",
        ),
    ],
)
def test_a_difference_is_said_with_both_values(tmp_path, changes, note):
    """Steps, a key of later versions, the LLM's file, a connector, how features were kept, and the training data."""
    write_told(tmp_path, "10", integration="lal", identity=identity())
    write_told(tmp_path, "10", encoder="mfcc", integration="lal", identity=identity(**changes))
    assert notes(tmp_path) == [note]


def test_seeds_of_one_row_may_differ_too(tmp_path):
    """A row that was trained under two budgets is named with both."""
    for seed, steps in ((0, 100), (1, 400)):
        write_told(tmp_path, "10", integration="lal", seed=seed, identity=identity(train={"steps": steps}))
    write_told(tmp_path, "10", encoder="mfcc", integration="lal", identity=identity())
    assert "not the same budget: train.steps 100 or 400 (logmel, lal) and 100 (mfcc, lal)" in notes(tmp_path)


def test_only_a_few_rows_are_named_for_each_value(tmp_path):
    """Five rows with one value: three of them and an ellipsis."""
    for name in "abcde":
        write_told(tmp_path, "10", encoder=name, integration="lal", identity=identity())
    write_told(tmp_path, "10", encoder="z", integration="lal", identity=identity(train={"steps": 9}))
    assert notes(tmp_path) == ["not the same budget: train.steps 100 (a, lal; b, lal; c, lal; …) and 9 (z, lal)"]


def test_how_they_were_tested_is_part_of_it(tmp_path):
    """Longer answers or another scorer under one name; the resamples of an interval do not matter."""
    tested = {"scorer": 1, "run": "a", "bootstrap_draws": 100, "max_new_tokens": 24}
    change(write_told(tmp_path, "10", integration="lal"), identity=tested)
    other = tested | {"run": "b", "bootstrap_draws": 2000, "max_new_tokens": 64}
    change(write_told(tmp_path, "10", encoder="mfcc", integration="lal"), identity=other)
    assert notes(tmp_path) == ["not the same settings: max_new_tokens 24 (logmel, lal) and 64 (mfcc, lal)"]


def test_other_items_are_counted(tmp_path):
    """Four items here and two of them there."""
    write_told(tmp_path, "1010")
    write_told(tmp_path, "10", encoder="mfcc")
    assert notes(tmp_path) == [
        "not the same items: 2 of 4 are in every row; pairs are tested on those of both",
    ]


def test_a_damaged_identity_is_named(tmp_path):
    """A list in place of keys and values: one line with the file, before anything is compared."""
    folder = write_told(tmp_path, "10", identity={})
    path = folder.parent.parent / "identity.json"
    path.write_text(json.dumps([1]))
    with pytest.raises(PalprobeError, match=f"{path} holds list"):
        notes(tmp_path)
