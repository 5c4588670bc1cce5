"""Layers against each other: validation chooses, test scores, and no choice is made of what is reported."""

import csv
import io
import json

import pytest
from rich.console import Console
from statsmodels.stats.proportion import proportion_confint
from test_report import write_result

from palprobe.report.forms import render, write_report
from palprobe.report.layer_sweep import chosen_rows, layer_sweeps, sweep_lines, sweep_tables
from palprobe.report.leaderboard import leaderboard
from palprobe.report.results import find_results
from palprobe.report.terminal import drawn


def write_layer(runs, layer, *, validation, test, **cell):
    """One run of a layer: its hits on either split."""
    name = f"run-{layer}-{cell.get('fold')}-{cell.get('seed', 0)}-{cell.get('task', 'esc10')}"
    cell = {"encoder": f"whisper@{layer}", "layer": str(layer), "run_id": name} | cell
    write_result(runs, test, **cell)
    if validation is not None:
        write_result(runs, validation, split="validation", **cell)


def sweep_of(runs):
    (sweep,) = layer_sweeps(find_results([runs]))
    return sweep


def test_the_best_layer_on_validation_is_scored_on_test(tmp_path):
    """Layer 1 wins validation with 3 of 4 and is reported with its 5 of 8 on test, although layer 2 has 6 there."""
    write_layer(tmp_path, 0, validation="1000", test="11000000")
    write_layer(tmp_path, 1, validation="1110", test="11111000")
    write_layer(tmp_path, 2, validation="1100", test="11111100")
    sweep = sweep_of(tmp_path)
    row = sweep.chosen["esc10"]
    assert (row.encoder, row.layer, row.score) == ("whisper@best", "best", 5 / 8)
    assert (row.ci_low, row.ci_high) == pytest.approx(proportion_confint(5, 8, method="wilson"))
    assert sweep.picks == {"esc10": {"1": 1}}
    assert [sweep.scores[layer, "esc10"].score for layer in "012"] == [2 / 8, 5 / 8, 6 / 8]


def test_each_fold_chooses_for_itself(tmp_path):
    """Fold 1 takes layer 0 (2 of 4) and fold 2 layer 1 (3 of 4): 5 of the 8 items that both folds test, pooled."""
    write_layer(tmp_path, 0, validation="11", test="1100", fold=1)
    write_layer(tmp_path, 1, validation="10", test="1111", fold=1)
    write_layer(tmp_path, 0, validation="10", test="1111", fold=2)
    write_layer(tmp_path, 1, validation="11", test="1110", fold=2)
    sweep = sweep_of(tmp_path)
    assert sweep.chosen["esc10"].score == 5 / 8
    assert sweep.picks["esc10"] == {"0": 1, "1": 1}
    assert "layer 0 in 1, layer 1 in 1 of 2 folds" in sweep_lines(sweep)[0]


def test_seeds_vote_by_their_mean(tmp_path):
    """Layer 0 has 1.0 and 0.0 on validation, layer 1 0.75 twice: the mean of layer 1 is higher."""
    write_layer(tmp_path, 0, validation="1111", test="0000", seed=0)
    write_layer(tmp_path, 0, validation="0000", test="0000", seed=1)
    write_layer(tmp_path, 1, validation="1110", test="1110", seed=0)
    write_layer(tmp_path, 1, validation="1110", test="1100", seed=1)
    row = sweep_of(tmp_path).chosen["esc10"]
    assert row.score == (0.75 + 0.5) / 2 and row.seed == "all"


@pytest.mark.parametrize("missing", [0, 1])
def test_nothing_is_chosen_where_a_layer_was_not_validated(tmp_path, missing):
    """A choice among some of the layers would look like one among all of them."""
    for layer in (0, 1):
        write_layer(tmp_path, layer, validation=None if layer == missing else "11", test="10")
    sweep = sweep_of(tmp_path)
    assert sweep.chosen == {} and sweep_lines(sweep) == []
    assert sweep.scores["1", "esc10"].score == 0.5


def test_layers_stand_in_numeric_order_and_ties_go_to_the_earliest(tmp_path):
    """Layer 10 comes after 2, and of two equal layers the one with less of the network before it is taken."""
    for layer in (10, 2, 1):
        write_layer(tmp_path, layer, validation="10", test="10")
    sweep = sweep_of(tmp_path)
    assert sweep.layers == ("1", "2", "10") and sweep.picks["esc10"] == {"1": 1}


def test_the_table_has_a_column_for_each_task_and_marks_the_choice(tmp_path):
    """Two tasks with different best layers are marked each in its own row; the last row has the interval."""
    for task, better in (("esc10", 0), ("fsdd:digit", 1)):
        for layer in (0, 1):
            hits = "1110" if layer == better else "1000"
            write_layer(tmp_path, layer, validation=hits, test=hits, task=task)
    (table,) = sweep_tables(sweep_of(tmp_path))
    assert table.numbers == ("esc10", "fsdd:digit")
    assert table.rows[0] == ("0", "0.750*", "0.250 ") and table.rows[1] == ("1", "0.250 ", "0.750*")
    low, high = proportion_confint(3, 4, method="wilson")
    assert table.rows[2][1] == f"0.750 [{low:.2f}, {high:.2f}]"


def test_one_layer_and_mixes_are_no_sweep(tmp_path):
    """A single layer, a mean of layers, and encoders heard together compare no layers."""
    write_layer(tmp_path, 3, validation="10", test="10")
    write_result(tmp_path, "10", encoder="whisper@mean:1-2", layer="mean:1-2")
    write_result(tmp_path, "10", encoder="logmel+whisper@1", layer="last+1")
    assert layer_sweeps(find_results([tmp_path])) == ()


def test_validation_has_rows_but_no_place_in_tables(tmp_path):
    """Items that two folds validate on are no error, and only test scores are summarised."""
    for fold in (1, 2):
        write_layer(tmp_path, 0, validation="11", test="10", fold=fold)
        shared = tmp_path / f"run-0-{fold}-0-esc10" / "eval" / "validation-likelihood" / "predictions.jsonl"
        lines = [json.loads(line) | {"id": f"shared-{i}"} for i, line in enumerate(shared.read_text().splitlines())]
        shared.write_text("".join(json.dumps(line) + "\n" for line in lines))
    board = leaderboard(find_results([tmp_path]))
    assert [row.split for row in board.rows].count("validation") == 2
    assert {summary.row.split for summary in board.summaries} == {"test"} and board.notes == ()


def test_a_chosen_row_can_be_told_from_the_layers(tmp_path):
    """`whisper@best` is no encoder that can be named, so the CSV cannot be misread."""
    for layer in (0, 1):
        write_layer(tmp_path, layer, validation="10", test="10")
    assert [row.encoder for row in chosen_rows([sweep_of(tmp_path)])] == ["whisper@best"]


def test_tables_of_many_tasks_fit_the_terminal(tmp_path):
    """Five tasks take two tables of 80 columns, and no task is lost or twice."""
    for layer in (0, 1):
        for task in "abcde":
            write_layer(tmp_path, layer, validation="10", test="10", task=task)
    tables = sweep_tables(sweep_of(tmp_path), 80)
    assert [table.numbers for table in tables] == [("a", "b", "c"), ("d", "e")]
    file = io.StringIO()
    for table in tables:
        Console(file=file, width=80).print(drawn(table))
    assert max(map(len, file.getvalue().splitlines())) <= 80 and file.getvalue().count("0.500 [0.09, 0.91]") == 5


def test_every_form_of_a_report_shows_the_sweep(tmp_path):
    """The terminal, Markdown and LaTeX have its table, and leaderboard.csv the chosen layer's row."""
    for layer, hits in enumerate(("1000", "1110")):
        write_layer(tmp_path / "runs", layer, validation=hits, test=hits)
    results = find_results([tmp_path / "runs"])
    file = io.StringIO()
    Console(file=file, width=80).print(render(results, "table", width=80))
    write_report(results, tmp_path / "out")
    said = "validation chooses layer 1"
    assert said in " ".join(file.getvalue().split()) and said in (tmp_path / "out" / "report.md").read_text()
    assert "layer by layer" in (tmp_path / "out" / "report.tex").read_text()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "leaderboard.csv").read_text())))
    assert [row["score"] for row in rows if row["encoder"] == "whisper@best"] == ["0.75"]
