import csv
import io
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from sklearn.metrics import f1_score
from statsmodels.stats.proportion import proportion_confint

from palprobe.errors import PalprobeError, UnfinishedError
from palprobe.report.forms import as_frame, csv_text, render, write_report
from palprobe.report.layers import layer_lines
from palprobe.report.leaderboard import leaderboard
from palprobe.report.results import EvalResult, find_results, read_result
from palprobe.report.rows import Row
from palprobe.report.standings import standings
from palprobe.report.tables import part_tables, shown_rows
from palprobe.report.text import count_text, duration_text, markdown_text, number_text, visible

COLUMNS = [
    "encoder",
    "layer",
    "integration",
    "llm",
    "trainable",
    "task",
    "split",
    "fold",
    "seed",
    "scoring",
    "control",
    "metric",
    "score",
    "ci_low",
    "ci_high",
    "ci_method",
    "n",
    "n_found",
    "n_missing",
    "n_dropped",
    "n_invalid",
    "chance",
    "blind",
    "audio_tokens",
    "tokens_per_second",
    "trainable_parameters",
    "train_seconds",
    "peak_memory_bytes",
    "run_id",
]
CONTROL_CHARACTERS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


def score_of(hits: int, n: int, *, part: str | None = None, chance: float | None = 0.5) -> dict[str, Any]:
    low, high = proportion_confint(hits, n, method="wilson")
    values = {"metric": "accuracy", "part": part, "score": hits / n, "ci_low": low, "ci_high": high}
    return values | {"ci_method": "wilson", "n": n, "n_invalid": 0, "chance": chance}


def write_result(runs: Path, hits: str, *, parts: dict[str, str] | None = None, **cell: Any) -> Path:
    """An evaluation folder as `eval` writes it; `hits` has a 1 for each right answer, `parts` such a text per type."""
    cell = {
        "encoder": "logmel", "layer": "last", "integration": "plits", "llm": "tiny", "trainable": "full",
        "task": "esc10", "fold": None, "seed": 0,
    } | cell  # fmt: skip
    control, split = cell.pop("control", "none"), cell.pop("split", "test")
    layer_weights = cell.pop("layer_weights", None)
    run_id = cell.pop("run_id", f"run-{len(list(runs.glob('*')))}")
    items = [(None, i, hit) for i, hit in enumerate(hits)]
    items += [(part, f"{part}{i}", hit) for part, text in (parts or {}).items() for i, hit in enumerate(text)]
    lines = [
        {
            "id": f"fold{cell['fold']}-{i}", "group": f"fold{cell['fold']}-{i}", "part": part, "reference": "dog",
            "prediction": "dog" if hit == "1" else "cat", "scores": {"dog": -1.0, "cat": -1.5},
            "correct": hit == "1", "valid": hit != "x",
        }
        for part, i, hit in items
    ]  # fmt: skip
    all_hits = [hit == "1" for _, _, hit in items]
    scores = [score_of(sum(all_hits), len(items))]
    scores += [score_of(text.count("1"), len(text), part=part) for part, text in (parts or {}).items()]
    result = {
        "cell": cell, "run_id": run_id, "split": split, "scoring": "likelihood", "control": control,
        "licence": "CC BY 3.0", "citation": "Piczak (2015)", "versions": {"torch": "2.11.0"}, "commit": None,
        "device": "cpu", "prompt": "Which sound?",
        "counts": {"found": len(items) + 1, "missing": 2, "dropped": 1, "used": len(items), "padded": 0},
        "cost": {
            "audio_tokens": 125.0, "tokens_per_second": 25.0, "trainable_parameters": 1_234_567,
            "train_seconds": 41.2 + cell["seed"], "eval_seconds": 1.2, "peak_memory_bytes": 800_000_000 + cell["seed"],
            "peak_memory_method": "VmHWM reset by clear_refs",
        },
        "layer_weights": layer_weights, "scores": scores,
    }  # fmt: skip
    folder = runs / run_id / "eval" / (f"{split}-likelihood" if control == "none" else f"{split}-likelihood-{control}")
    folder.mkdir(parents=True)
    (runs / run_id / "recipe.yaml").write_text("name: compare\n")
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def shown(results: list[EvalResult], width: int) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(render(results, "table", width=width))
    return file.getvalue()


def test_a_result_is_read_as_written(tmp_path):
    """Values of result.json and of predictions.jsonl arrive unchanged."""
    result = read_result(write_result(tmp_path, "110", seed=3))
    assert (result.cell.encoder, result.cell.seed, result.cell.fold) == ("logmel", 3, None)
    assert (result.counts.used, result.cost.trainable_parameters, result.commit) == (3, 1_234_567, None)
    assert result.scores[0].interval.value == pytest.approx(2 / 3)
    assert [item.correct for item in result.predictions] == [True, True, False]
    assert result.predictions[0].scores == {"dog": -1.0, "cat": -1.5}


def test_results_are_found_from_any_level_once(tmp_path):
    """A runs folder, a run, an eval folder, or all of them at once lead to the same results."""
    first, second = write_result(tmp_path, "1"), write_result(tmp_path, "0", seed=1)
    assert [result.path for result in find_results([tmp_path])] == [first, second]
    assert [result.path for result in find_results([first.parent.parent])] == [first]
    assert [result.path for result in find_results([second, tmp_path])] == [second, first]


def test_unfinished_runs_are_named(tmp_path):
    """Nothing finished is an error with the folder; something unfinished beside results is told, not skipped."""
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UnfinishedError, match=re.escape(str(path))):
            find_results([path])
    write_result(tmp_path, "1")
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "recipe.yaml").touch()
    torn = write_result(tmp_path, "1", run_id="torn", seed=1)
    (torn / "result.json").unlink()
    told: list[str] = []
    assert len(find_results([tmp_path], on_unfinished=told.append)) == 1
    assert [str(tmp_path / "torn") in told[0], str(tmp_path / "training") in told[1]] == [True, True]
    with pytest.warns(UserWarning, match="is not finished and is left out"):
        find_results([tmp_path])
    with pytest.raises(UnfinishedError, match="torn"):
        read_result(torn)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-20], "not JSON"),
        (lambda text: "[]", "holds list"),
        (lambda text: text.replace('"seed"', '"sead"'), "cell: 'seed' is missing"),
        (lambda text: text.replace('"score": 0.5', '"score": NaN'), "score 1: score = nan"),
        (lambda text: text.replace('"score": 0.5', '"score": true'), "score 1: score = True"),
        (lambda text: text.replace('"n": 2', '"n": "2"'), "n = '2', expected int"),
        (lambda text: text.replace('"logmel"', '"\\ud800"'), "encoder = "),
    ],
)
def test_a_damaged_result_is_named(tmp_path, change, message):
    """Half a file, another shape, a missing key, NaN, a wrong type or half a character: one line with the file."""
    path = write_result(tmp_path, "10") / "result.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(PalprobeError, match=message) as caught:
        find_results([tmp_path])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-9], "holds 1 items, result.json says 2"),  # the last line is torn
        (lambda text: text.replace("{", "", 1), "line 1: not JSON"),
        (lambda text: text.replace('"correct": true', '"correct": 1'), "item 1: correct = 1, expected bool"),
        (lambda text: text.replace("-1.5", "NaN", 1), "item 1: cat = nan"),
    ],
)
def test_damaged_predictions_are_named(tmp_path, change, message):
    """Predictions that were cut or changed are refused when they are needed, with the file and the line."""
    path = write_result(tmp_path, "10") / "predictions.jsonl"
    path.write_text(change(path.read_text()))
    result = read_result(path.parent)  # predictions are read on demand
    with pytest.raises(PalprobeError, match=message):
        result.predictions  # noqa: B018
    path.unlink()
    with pytest.raises(PalprobeError, match="is not there"):
        read_result(path.parent).predictions  # noqa: B018


def test_one_result_is_its_own_aggregate(tmp_path):
    """A single run gives one row a score, with the values of its file and the columns of the design."""
    write_result(tmp_path, "1110", parts={"onset": "10"}, task="diagnostics")
    text = csv_text(leaderboard(find_results([tmp_path])).rows)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == COLUMNS
    assert [(row["task"], row["score"], row["n"]) for row in rows] == [
        ("diagnostics", repr(4 / 6), "6"),
        ("diagnostics:onset", "0.5", "2"),
    ]
    assert (rows[0]["fold"], rows[0]["seed"], rows[0]["blind"], rows[0]["run_id"]) == ("", "0", "", "run-0")
    assert float(rows[0]["ci_low"]) == proportion_confint(4, 6, method="wilson")[0]  # exact: floats are written whole


def test_folds_are_pooled_and_seeds_averaged(tmp_path):
    """By hand: folds of 4 and 2 items under two seeds; 6 items with the means 1, 1, .5, 0, .5, 1 average 4 / 6."""
    for seed, (one, two) in enumerate([("1110", "01"), ("1100", "11")]):
        write_result(tmp_path, one, fold=1, seed=seed)
        write_result(tmp_path, two, fold=2, seed=seed)
    board = leaderboard(find_results([tmp_path]))
    by_place = {(row.fold, row.seed): row for row in board.rows}
    assert list(by_place) == [(1, 0), (2, 0), ("all", 0), (1, 1), (2, 1), ("all", 1), ("all", "all")]
    total = by_place["all", "all"]
    assert (total.score, total.n, by_place["all", 0].score) == (pytest.approx(4 / 6), 6, pytest.approx(4 / 6))
    assert (total.n_found, total.n_missing, total.n_dropped) == (8, 2, 2)  # of one seed; missing: of the task
    assert (total.train_seconds, total.peak_memory_bytes) == (pytest.approx(41.7), 800_000_001)
    assert (total.ci_method, total.run_id, total.chance) == ("wilson over seeds and groups", "", 0.5)
    assert by_place["all", 0].ci_method == "wilson"  # one seed: the items are independent and right or wrong
    assert [(summary.row, summary.seeds, summary.folds) for summary in board.summaries] == [(total, (0, 1), (1, 2))]


def test_aggregated_macro_f1_is_that_of_the_pooled_items(tmp_path):
    """Folds are pooled before F1 is computed: scikit-learn's value over all items, not the mean of folds."""
    for fold, hits in ((1, "1110"), (2, "10")):
        path = write_result(tmp_path, hits, fold=fold) / "result.json"
        content = json.loads(path.read_text())
        content["scores"].append({**content["scores"][0], "metric": "macro_f1", "chance": None})
        path.write_text(json.dumps(content))
    rows = [row for row in leaderboard(find_results([tmp_path])).rows if row.metric == "macro_f1" and row.fold == "all"]
    truth, answers = ["dog"] * 6, ["dog", "dog", "dog", "cat", "dog", "cat"]
    assert rows[0].score == pytest.approx(f1_score(truth, answers, labels=["dog"], average="macro"))


def test_runs_that_lack_items_are_told(tmp_path):
    """A seed without fold 2: only shared items are averaged, and a note says how many."""
    write_result(tmp_path, "1110", fold=1, seed=0)
    write_result(tmp_path, "11", fold=2, seed=0)
    write_result(tmp_path, "1000", fold=1, seed=1)
    board = leaderboard(find_results([tmp_path]))
    assert board.summaries[0].row.n == 4
    assert board.summaries[0].row.score == pytest.approx(0.5)
    assert "over the 4 of 6 items that every seed has" in board.notes[0]
    assert board.notes[0] in shown(find_results([tmp_path]), 200)


def test_an_item_in_two_folds_gives_no_aggregate(tmp_path):
    """Pooling would count it twice: no row, and a note instead."""
    for fold in (1, 2):
        folder = write_result(tmp_path, "10", fold=fold)
        text = (folder / "predictions.jsonl").read_text()
        (folder / "predictions.jsonl").write_text(text.replace("fold2-", "fold1-"))
    board = leaderboard(find_results([tmp_path]))
    assert [row.fold for row in board.rows] == [1, 2]
    assert "in the test sets of two folds" in board.notes[0]


def test_two_results_for_one_cell_are_refused(tmp_path):
    """The same cell under other settings cannot be told apart in a row: both folders are named."""
    first, second = write_result(tmp_path, "10"), write_result(tmp_path, "11")
    with pytest.raises(PalprobeError, match="same encoder") as caught:
        leaderboard(find_results([tmp_path]))
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)
    with pytest.raises(UnfinishedError, match="no results"):
        leaderboard([])


def test_the_setting_that_differs_is_named(tmp_path):
    """Two runs whose folders say what they are: the message has each key and both values, unless they are long."""
    for steps, hits in ((100, "10"), (200, "11")):
        run = write_result(tmp_path, hits).parent.parent
        identity = {"train": {"steps": steps, "seed": 0}, "features": [{"encoder": "x" * 99, "number": steps}]}
        (run / "identity.json").write_text(json.dumps(identity))
    with pytest.raises(PalprobeError, match=r"other settings: features; train\.steps: 100 there, 200 here\. Name one"):
        leaderboard(find_results([tmp_path]))


def test_reports_do_not_depend_on_the_order_of_results(tmp_path):
    """The same results in another order give the same bytes in every file."""
    for number, integration in enumerate(("plits", "lal")):
        for seed in (0, 1):
            write_result(tmp_path / "runs", "1101" if number else "1100", integration=integration, seed=seed)
    results = find_results([tmp_path / "runs"])
    write_report(results, tmp_path / "a")
    write_report(results[::-1], tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    tables = ["differences.csv", "leaderboard.csv", "leaderboard_wide.csv", "overall.csv"]
    assert names == [*tables, "report.html", "report.md", "report.tex"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert b"\r" not in (tmp_path / "a" / "leaderboard.csv").read_bytes()


def test_wide_has_a_row_per_cell_and_a_column_per_task(tmp_path):
    """Accuracies by hand; a task that was not run is empty, and controls are left out."""
    write_result(tmp_path / "runs", "1110", task="esc10")
    write_result(tmp_path / "runs", "10", task="fsdd:digit")
    write_result(tmp_path / "runs", "1000", task="esc10", integration="lal")
    write_result(tmp_path / "runs", "0000", task="esc10", control="shuffled")
    write_report(find_results([tmp_path / "runs"]), tmp_path)
    wide = pd.read_csv(tmp_path / "leaderboard_wide.csv")
    assert list(wide.columns) == [
        "encoder",
        "layer",
        "integration",
        "llm",
        "trainable",
        "split",
        "scoring",
        "esc10",
        "fsdd:digit",
    ]
    assert wide["integration"].tolist() == ["lal", "plits"]
    assert wide["esc10"].tolist() == [0.25, 0.75]
    assert wide["fsdd:digit"].isna().tolist() == [True, False]


def test_csv_keeps_any_name(tmp_path):
    """Quotes, commas, line ends and formula signs come back exactly from a CSV reader."""
    name = 'a,"b"\nc\rd\r\ne =1+1 é🔊'
    write_result(tmp_path, "10", encoder=name, task="=cmd()")
    text = csv_text(leaderboard(find_results([tmp_path])).rows)
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["encoder"], row["task"]) == (name, "=cmd()")


def test_forms(tmp_path):
    """CSV without its head is the lines after the first; JSON and the frame hold the same rows."""
    write_result(tmp_path, "1101")
    results = find_results([tmp_path])
    with_head, without = str(render(results, "csv")), str(render(results, "csv", header=False))
    assert with_head.split("\n", 1)[1] == without
    (row,) = json.loads(str(render(results, "json")))
    assert list(row) == COLUMNS
    assert (row["score"], row["fold"], row["seed"]) == (0.75, None, 0)
    assert list(as_frame(leaderboard(results).rows).columns) == COLUMNS
    assert str(render(results, "markdown")).startswith("# palprobe results\n")


@pytest.fixture
def grid(tmp_path: Path) -> list[EvalResult]:
    """Two encoders, one with a long name, through both integrations on a plain and on a mixed task."""
    parts = {name: "1" * hits + "0" * (30 - hits) for name, hits in
             {"class": 30, "count": 15, "direction": 2, "first": 20, "higher": 25, "loudness": 16, "onset": 14,
              "order": 15, "tempo": 15}.items()}  # fmt: skip
    for encoder in ("logmel", "random:whisper:small@mean:4-8"):
        for integration, hits in (("plits", "1" * 60 + "0" * 20), ("lal", "1" * 57 + "0" * 23)):
            write_result(tmp_path, hits, encoder=encoder, integration=integration)
            write_result(tmp_path, "", parts=parts, encoder=encoder, integration=integration, task="diagnostics")
    return find_results([tmp_path])


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_terminal_and_numbers_stay_whole(grid, width):
    """No line is wider, and score, interval and costs of a row stand unbroken; a narrow one goes without `params`."""
    text = shown(grid, width)
    assert max(map(len, text.splitlines())) <= width
    params = r"" if width == 80 else r" +1\.23M"
    assert len(re.findall(rf"0\.750 \[0\.65, 0\.83\]{params} +125 +41s +763", text)) == 2
    assert "random:whisper:small@mea" in text  # a name is folded at 24 columns at the earliest
    assert "esc10 (n 80, chance 0.5)" in text
    assert text.count("One seed: no claim of a difference.") >= 3


def test_question_types_are_marked_against_chance(grid):
    """30 of 30 is above chance 0.5, 15 of 30 is not, 2 of 30 is below; narrow terminals get two tables."""
    board = leaderboard(grid)
    rows = shown_rows(board, standings(board, grid))
    (wide,) = part_tables(board, rows, 200)
    cells = dict(zip((*wide.names, *wide.numbers), wide.rows[0], strict=True))
    assert (cells["class"], cells["count"], cells["direction"]) == ("1.00*", "0.50", "0.07!")
    assert wide.rows[-1][:3] == ("chance", "", "0.50")
    narrow = part_tables(board, rows, 80)
    assert len(narrow) == 2
    assert sum((table.numbers for table in narrow), ()) == wide.numbers


def test_settings_that_differ_become_columns(tmp_path):
    """Rows of two LLMs can be told apart; a shared setting is written once."""
    write_result(tmp_path, "10", llm="tiny")
    write_result(tmp_path, "11", llm="some/model")
    text = shown(find_results([tmp_path]), 80)
    assert "some/model" in text
    assert "llm tiny" not in text.split("In words")[0]
    assert text.count("trainable full") == 1


def test_each_control_has_its_own_table(tmp_path):
    """A score on shuffled audio never stands among the real ones, and is not set beside them as LAL or PLITS."""
    write_result(tmp_path, "10", control="shuffled")
    write_result(tmp_path, "11", integration="lal")
    text = shown(find_results([tmp_path]), 80)
    assert "esc10, control none (n 2" in text
    assert "esc10, control shuffled (n 2" in text
    assert "points" not in text.split("Points:")[0]


def test_one_group_has_no_interval(tmp_path):
    """Items of one recording: 'no CI' and an unsure mark, for a run and for the average of two seeds."""
    for seed in (0, 1):
        folder = write_result(tmp_path, "", parts={"onset": "1101"}, seed=seed, task="diagnostics")
        lines = (folder / "predictions.jsonl").read_text()
        (folder / "predictions.jsonl").write_text(re.sub(r'"group": "[^"]*"', '"group": "g"', lines))
        result = (folder / "result.json").read_text()
        (folder / "result.json").write_text(result.replace('"wilson"', '"none"'))
    board = leaderboard(find_results([tmp_path]))
    assert {(row.score, row.ci_low, row.ci_high, row.ci_method) for row in board.rows} == {(0.75, None, None, "none")}
    text = shown(find_results([tmp_path]), 80)
    assert "0.750 [no CI]" in text
    assert "0.75?" in text


def test_strings_from_strangers_are_harmless(tmp_path):
    """Terminal escapes, rich markup, Markdown and HTML in a name are shown and never obeyed."""
    name = "[red]x[/red]\x1b[31m\u202e|<img src=x>`*[a](http://b)\n# h"
    write_result(tmp_path, "10", parts={"p|\x1b]0;t": "10"}, encoder=name, task=name)
    results = find_results([tmp_path])
    text = shown(results, 200)
    assert not CONTROL_CHARACTERS.search(text)
    assert "[red]x[/red]\\x1b[31m\\u202e" in text
    page = str(render(results, "markdown"))
    assert not CONTROL_CHARACTERS.search(page)
    assert "<img" not in page
    assert "](" not in page.replace("\\](", "")
    rows = [line for line in page.splitlines() if line.startswith("| \\[red") or line.startswith("| [red")]
    heads = [line for line in page.splitlines() if line.startswith("| encoder")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [len(re.findall(r"(?<!\\)\|", h)) for h in heads]
    assert "\n# h" not in page


def test_markdown_names_data_memory_and_software(grid):
    """Licence, source, peak-memory method and versions are in the report."""
    page = str(render(grid, "markdown"))
    for words in ("Licence: CC BY 3.0. Piczak (2015)", "VmHWM reset by clear_refs", "torch 2.11.0", "Device: cpu"):
        assert words in page


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (visible("a\tb\x00é\u2028\x9b"), "a\\tb\\x00é\\u2028\\x9b"),
        (markdown_text("a|b<c>&[d]"), "a\\|b&lt;c&gt;&amp;[d]"),
        (count_text(950), "950"),
        (count_text(123_456), "123k"),
        (count_text(999_600), "1M"),
        (count_text(7_100_000_000), "7.1B"),
        (count_text(None), "-"),
        (duration_text(4.13), "4.1s"),
        (duration_text(119.4), "119s"),
        (duration_text(720), "12min"),
        (duration_text(11_520), "3.2h"),
        (number_text(1 / 3), "0.333"),
        (number_text(1500.2), "1500"),
    ],
)
def test_names_and_numbers_by_hand(text, expected):
    """What people read, case by case."""
    assert text == expected


def test_every_column_is_explained():
    """results/README.md has a table row for each column of the leaderboard."""
    readme = (Path(__file__).parent.parent / "results" / "README.md").read_text()
    explained = set(re.findall(r"^\| `(\w+)`", readme, re.MULTILINE))
    assert explained >= set(COLUMNS)
    assert {field.name for field in fields(Row)} - {"part"} == set(COLUMNS)


def test_weights_of_mixed_layers_are_told(tmp_path):
    """Two folds are averaged by hand; a cell without a mix is not mentioned; Markdown and terminal both say it."""
    write_result(tmp_path, "10", encoder="whisper@weighted", layer="weighted", fold=1, layer_weights=[0.2, 0.3, 0.5])
    write_result(tmp_path, "11", encoder="whisper@weighted", layer="weighted", fold=2, layer_weights=[0.4, 0.1, 0.5])
    write_result(tmp_path, "11", fold=1)
    results = find_results([tmp_path])
    expected = (
        "whisper@weighted, plits, tiny, esc10: layers 0 to 2 weigh 0.30 0.20 0.50 ▅▄█, mean of 2 runs"  # 4.8, 3.2 of 8
    )
    assert layer_lines(results) == [expected]
    assert expected in render(results, "markdown").replace("\\", "")
    assert "weigh 0.30 0.20 0.50" in shown(results, 200)


def test_damaged_layer_weights_are_refused(tmp_path):
    """A weight that is no number is named."""
    folder = write_result(tmp_path, "1", layer_weights=[0.5, "much"])
    with pytest.raises(PalprobeError, match="1 = 'much', expected int or float"):
        read_result(folder)


def test_the_token_rate_of_each_encoder_is_told(tmp_path):
    """One number where all are alike, else one for each encoder."""
    folder = write_result(tmp_path, "1")
    assert "Audio tokens per second: 25." in shown(find_results([tmp_path]), 120)
    content = json.loads((folder / "result.json").read_text())
    content["cell"]["encoder"], content["cost"]["tokens_per_second"] = "beats", 6.25
    other = tmp_path / "other" / "eval" / "test-likelihood"
    other.mkdir(parents=True)
    (other / "result.json").write_text(json.dumps(content | {"run_id": "other"}))
    (other / "predictions.jsonl").write_text((folder / "predictions.jsonl").read_text())
    assert "Audio tokens per second: beats 6.25, logmel 25." in shown(find_results([tmp_path]), 120)
