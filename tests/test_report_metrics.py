"""Tasks whose headline is not accuracy: word error rates in tables, lines, aggregates and the wide CSV."""

import json

import pandas as pd
import pytest
from test_report import shown, write_result

from palprobe.errors import PalprobeError
from palprobe.report.forms import write_report
from palprobe.report.leaderboard import leaderboard
from palprobe.report.remarks import remarks
from palprobe.report.results import find_results
from palprobe.report.rows import headline_metric
from palprobe.report.standings import standings
from palprobe.report.tables import part_tables, shown_rows


def write_wer(runs, rate, texts, *, parts=(), **cell):
    """An ASR result with that rate in its result.json, over (reader, reference, answer) texts."""
    folder = write_result(runs, "1" * len(texts), task="librispeech:asr", **cell)
    content = json.loads((folder / "result.json").read_text())
    value = {"ci_low": rate - 0.1, "ci_high": rate + 0.1, "ci_method": "clustered bootstrap", "n": len(texts)}
    scores = [value | {"metric": "wer", "part": part, "score": rate} for part in (None, *parts)]
    invalid = {"metric": "invalid_rate", "part": None, "score": 0.0, "ci_low": 0.0, "ci_high": 0.0, "ci_method": "none"}
    scores.append(value | invalid)
    content |= {"scoring": "generation", "scores": [{"n_invalid": 0, "chance": None} | score for score in scores]}
    (folder / "result.json").write_text(json.dumps(content))
    lines = [
        {
            "id": f"{cell.get('fold')}-{number}", "group": reader, "part": None, "reference": reference,
            "prediction": answer, "scores": {}, "correct": reference == answer, "valid": True,
        }
        for number, (reader, reference, answer) in enumerate(texts)
    ]  # fmt: skip
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


TEXTS = [("1", "a b", "a b"), ("2", "a b c d", "a x c")]  # 0 and 2 errors in 6 words


def test_the_headline_of_a_task_is_the_first_metric_that_it_has():
    """Accuracy goes before F1 and before rates; a word error rate goes before the rate of invalid answers."""
    assert headline_metric({"macro_f1", "accuracy", "invalid_rate"}) == "accuracy"
    assert headline_metric(["invalid_rate", "wer"]) == "wer"
    assert headline_metric({"unknown", "invalid_rate"}) == "invalid_rate"


def test_a_word_error_rate_is_shown_as_one(tmp_path):
    """The head is wer, the caption says that lower is better, and the lower rate comes first."""
    write_wer(tmp_path, 0.5, TEXTS, integration="plits")
    write_wer(tmp_path, 0.3, TEXTS, integration="lal")
    results = find_results([tmp_path])
    text = shown(results, 200)
    assert "wer [95% CI]" in text and "0.300 [0.20, 0.40]" in text and "Lower is better." in text
    assert text.index("lal") < text.index("plits")


def test_folds_are_pooled_before_the_rate(tmp_path):
    """Errors of all folds over words of all folds: (2 + 1) / (6 + 1), and no mean of 2/6 and 1."""
    write_wer(tmp_path, 2 / 6, TEXTS, fold=0)
    write_wer(tmp_path, 1.0, [("3", "e", "")], fold=1)
    rows = {(row.metric, row.fold): row for row in leaderboard(find_results([tmp_path])).rows}
    assert rows["wer", "all"].score == pytest.approx(3 / 7)
    assert rows["wer", "all"].ci_method == "bootstrap"  # an utterance of each reader


def test_parts_of_a_task_are_in_its_own_metric(tmp_path):
    """Two test subsets have a column each, in word error rates."""
    write_wer(tmp_path, 0.5, TEXTS, parts=("test-clean", "test-other"))
    results = find_results([tmp_path])
    board = leaderboard(results)
    (table,) = part_tables(board, shown_rows(board, standings(board, results)), 200)
    assert table.title == "librispeech:asr, wer by question type"
    assert table.numbers == ("test-clean", "test-other")


def test_the_wide_csv_names_a_metric_that_is_not_accuracy(tmp_path):
    """Beside a column of accuracies stands one whose name ends in wer; rates of invalid answers are not in it."""
    write_wer(tmp_path / "runs", 0.5, TEXTS)
    write_result(tmp_path / "runs", "1100")
    write_report(find_results([tmp_path / "runs"]), tmp_path / "out")
    wide = pd.read_csv(tmp_path / "out" / "leaderboard_wide.csv")
    assert list(wide.columns)[-2:] == ["esc10", "librispeech:asr wer"]
    assert wide["librispeech:asr wer"].dropna().tolist() == [0.5]


def write_captions(runs, *, left_out=None, not_computed=None, **cell):
    """A captioning (or, with classes left out, a multi-label) result of two clips, with what it could not compute."""
    folder = write_wer(runs, 0.5, TEXTS, **cell)
    content = json.loads((folder / "result.json").read_text())
    content["cell"]["task"], content["scores"][0]["metric"] = "captions", "cider_d"
    content |= {"not_computed": not_computed or {}}
    if left_out is not None:
        content["classes"] = {"ranked": 3, "left_out": left_out}
    (folder / "result.json").write_text(json.dumps(content))
    return folder


def test_a_table_of_cider_d_says_what_its_weights_are_of(tmp_path):
    """The headline is CIDEr-D, and beside it stands that its weights come from the items of the row."""
    write_captions(tmp_path)
    text = shown(find_results([tmp_path]), 200)
    assert "cider_d [95% CI]" in text
    assert "weighs words by the references of the very items that a row is about" in " ".join(text.split())


def test_what_was_not_computed_is_said_once_for_a_task(tmp_path):
    """Reasons of several results stand in one sentence, and classes that were left out in another."""
    write_captions(tmp_path, not_computed={"meteor": "needs Java.", "map of x": "no classes"}, seed=0)
    write_captions(tmp_path, not_computed={"meteor": "needs Java."}, left_out=["cat", "dog"], seed=1)
    notes = leaderboard(find_results([tmp_path])).notes
    assert "captions: not computed: meteor (needs Java), map of x (no classes)." in notes
    assert [note for note in notes if "classes" in note and "up to 2" in note]


def test_results_of_before_say_nothing_of_what_they_lack(tmp_path):
    """A result without these entries is read as it is."""
    write_wer(tmp_path, 0.5, TEXTS)
    (result,) = find_results([tmp_path])
    assert (dict(result.not_computed), result.classes_left_out, remarks([result])) == ({}, 0, [])


def test_a_damaged_list_of_reasons_is_named(tmp_path):
    """Something else than texts by name is no reason."""
    write_captions(tmp_path, not_computed=["meteor"])
    with pytest.raises(PalprobeError, match="not_computed"):
        find_results([tmp_path])
