"""From results on disk to bits: code lengths of portions, V-information against the blind run, and learning curves."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from palprobe.report.bits import bits_tables, curves
from palprobe.report.forms import csv_text, render, write_report
from palprobe.report.leaderboard import leaderboard
from palprobe.report.results import EvalResult, Portion, find_results, read_result

FOUR = "abcd"
# n items that a probe is sure of at seven of eight temperatures; guessing, the eighth, has 1/4 for each item.
SURE_4, SURE_8 = -math.log2((7 + 4**-4) / 8), -math.log2((7 + 4**-8) / 8)
CODE = 8 + SURE_4 + 16


def line(name: str, bits: float, *, correct: bool = True, text: str | None = None) -> dict[str, Any]:
    """An item whose right answer, one of four, costs so many bits."""
    chance = 2.0**-bits
    rest = max((1 - chance) / 3, 1e-300)
    scores = {answer: math.log(chance if answer == "a" else rest) for answer in FOUR}
    if text is not None:
        scores = {"a": math.log(chance)}
    base = {"id": name, "group": name, "part": None, "reference": "a", "prediction": "a" if correct else "b"}
    return base | {"scores": scores, "correct": correct, "valid": True} | ({} if text is None else {"text": text})


def write(
    runs: Path, control: str, lines, *, split="test", metric="accuracy", score=None, portion=None, **cell
) -> Path:
    """An evaluation folder as `eval` writes it."""
    scoring = cell.pop("scoring", "likelihood")
    cell = {
        "encoder": "logmel", "layer": "last", "integration": "lal", "llm": "tiny", "trainable": "full",
        "task": "fsdd:digit", "fold": None, "seed": 0,
    } | cell  # fmt: skip
    value = sum(one["correct"] for one in lines) / len(lines) if score is None else score
    run_id = "-".join([control.replace(" ", "-"), *(str(cell[key]) for key in ("encoder", "integration", "seed"))])
    result = {
        "cell": cell, "run_id": run_id, "split": split, "scoring": scoring, "control": control,
        "licence": "", "citation": "", "versions": {}, "commit": None, "device": "cpu", "prompt": "Which?",
        "counts": {"found": len(lines), "missing": 0, "dropped": 0, "used": len(lines), "padded": 0},
        "cost": {
            "audio_tokens": 9.0, "tokens_per_second": 25.0, "trainable_parameters": 12, "train_seconds": 4.0,
            "eval_seconds": 1.0, "peak_memory_bytes": 8, "peak_memory_method": "",
        },
        "layer_weights": None,
        "scores": [{
            "metric": metric, "part": None, "score": value, "ci_low": 0.0, "ci_high": 1.0, "ci_method": "wilson",
            "n": len(lines), "n_invalid": 0, "chance": 0.25 if metric == "accuracy" else None,
        }],
    }  # fmt: skip
    folder = runs / run_id / "eval" / f"{split}-{scoring}"
    folder.mkdir(parents=True)
    (folder / "predictions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    (folder / "result.json").write_text(json.dumps(result | ({} if portion is None else {"portion": portion})))
    return folder


def write_portion(runs: Path, share: float, trained: int, block: int, bits: float, right: int, **cell) -> None:
    """A run on so many of 16 examples: right on so many of four test items, and its block at so many bits each."""
    control, about = f"portion {share:g}", {"examples": trained, "whole": 16, "guess_bits": trained * 2.0}
    tested = [line(f"t{number}", 1, correct=number < right) for number in range(4)]
    told = [line(f"train{trained + number}", bits) for number in range(block)]
    write(runs, control, tested, portion=about, **cell)
    write(runs, control, told, split="block", portion=about, **cell)


def write_all(runs: Path, **cell) -> None:
    """One cell by hand: four guessed answers of 2 bits, a block of four that are sure, and one of eight as guessed.

    With audio the answers of the test cost 1/2 bit each, for the blind probe 2 bits: 1.5 bits of V-information.
    """
    write_portion(runs, 0.25, 4, 4, 0, 1, **cell)
    write_portion(runs, 0.5, 8, 8, 2, 3, **cell)
    write(runs, "none", [line(f"t{number}", 0.5) for number in range(4)], **cell)


def write_blind(runs: Path, **cell) -> None:
    names = {"encoder": "blind", "layer": "-"}
    write(runs, "blind", [line(f"t{number}", 2, correct=number == 0) for number in range(4)], **names, **cell)


def rows_of(results: list[EvalResult]) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of leaderboard.csv that bits are in, by metric and seed."""
    table = csv.DictReader(io.StringIO(csv_text(leaderboard(results).rows)))
    bits = ("code_length_bits", "compression", "v_information_bits")
    return {(row["metric"], row["seed"]): row for row in table if row["metric"] in bits}


def test_bits_of_one_run_by_hand(tmp_path):
    """Code length 8 + 0.19 + 16 bits, guessing 32, V-information 1.5 bits; of training items and of test items."""
    write_all(tmp_path)
    write_blind(tmp_path)
    rows = rows_of(find_results([tmp_path]))
    assert float(rows["code_length_bits", "0"]["score"]) == pytest.approx(CODE)
    assert float(rows["compression", "0"]["score"]) == pytest.approx(32 / CODE)
    assert float(rows["v_information_bits", "0"]["score"]) == pytest.approx(1.5)
    code, told = rows["code_length_bits", "0"], rows["v_information_bits", "0"]
    assert (code["n"], code["split"], code["control"], code["encoder"]) == ("16", "train", "none", "logmel")
    assert (told["n"], told["split"], told["control"], told["integration"]) == ("4", "test", "none", "lal")
    assert 8 < float(code["ci_low"]) < CODE < float(code["ci_high"]) <= 32


def test_seeds_are_averaged(tmp_path):
    """A second seed is sure of both blocks: the mean of both code lengths, 32 bits over it, and a row for each seed."""
    write_all(tmp_path)
    write_portion(tmp_path, 0.25, 4, 4, 0, 1, seed=1)
    write_portion(tmp_path, 0.5, 8, 8, 0, 3, seed=1)
    write(tmp_path, "none", [line(f"t{number}", 1) for number in range(4)], seed=1)
    write_blind(tmp_path)
    write_blind(tmp_path, seed=1)
    rows = rows_of(find_results([tmp_path]))
    assert {key[1] for key in rows} == {"0", "1", "all"}
    mean = (CODE + 8 + SURE_4 + SURE_8) / 2
    assert float(rows["code_length_bits", "all"]["score"]) == pytest.approx(mean)
    assert float(rows["compression", "all"]["score"]) == pytest.approx(32 / mean)
    assert float(rows["v_information_bits", "all"]["score"]) == pytest.approx((1.5 + 1) / 2)


def test_a_seed_without_a_blind_run_is_left_out(tmp_path):
    """V-information pairs runs of the same seed: the second seed has none to be set against."""
    write_all(tmp_path)
    write_all(tmp_path, seed=1)
    write_blind(tmp_path)
    assert {key[1] for key in rows_of(find_results([tmp_path])) if key[0] == "v_information_bits"} == {"0"}


def test_parts_have_v_information_of_their_own(tmp_path):
    """Question types of 1 and 0 bits: a row each beside the whole, and one table row for all."""
    heard = [line("t0", 1) | {"part": "onset"}, line("t1", 2) | {"part": "pitch"}]
    write(tmp_path, "none", heard)
    write(tmp_path, "blind", [one | line(one["id"], 2) | {"part": one["part"]} for one in heard], encoder="blind")
    results = find_results([tmp_path])
    found = {row.part: row.score for row in leaderboard(results).rows if row.metric == "v_information_bits"}
    assert found == {None: pytest.approx(0.5), "onset": pytest.approx(1), "pitch": pytest.approx(0)}
    (table,) = bits_tables(leaderboard(results), results, ())
    assert [row[-1].split()[0] for row in table.rows] == ["0.500"]


def test_blind_of_another_integration_is_no_pair(tmp_path):
    """Only the blind run of the same integration counts; `pal (= lal)` is the lal cell, and has its blind run."""
    write(tmp_path, "none", [line("t0", 0.5)])
    write(tmp_path, "blind", [line("t0", 2)], encoder="blind", layer="-", integration="plits")
    assert rows_of(find_results([tmp_path])) == {}
    write_blind(tmp_path)
    renamed = [
        read_result(result.path, integration="pal (= lal)") for result in find_results([tmp_path / "none-logmel-lal-0"])
    ]
    told = rows_of([*renamed, *find_results([tmp_path / "blind-blind-lal-0"])])
    assert told["v_information_bits", "0"]["integration"] == "pal (= lal)"


def test_a_missing_portion_is_said(tmp_path):
    """Without the middle portion no code length is computed, and the note says where the blocks end."""
    write_portion(tmp_path, 0.25, 4, 4, 1, 1)
    write(tmp_path, "none", [line("t0", 0.5)])
    results = find_results([tmp_path])
    assert rows_of(results) == {}
    assert any("blocks reach 8 training examples of 16" in note for note in leaderboard(results).notes)


def test_one_class_is_said(tmp_path):
    """A task with one answer has 0 bits of V-information, and a note instead of a code length; no NaN."""
    one = {"id": "t0", "group": "t0", "part": None, "reference": "a", "prediction": "a", "scores": {"a": -0.5}}
    about = {"examples": 1, "whole": 2, "guess_bits": 0.0}
    only = [one | {"correct": True, "valid": True}]
    write(tmp_path, "none", only)
    write(tmp_path, "blind", only, encoder="blind", layer="-")
    write(tmp_path, "portion 0.5", only, portion=about)
    write(tmp_path, "portion 0.5", only, split="block", portion=about)
    results = find_results([tmp_path])
    (row,) = rows_of(results).values()
    assert (row["metric"], float(row["score"]), row["ci_method"]) == ("v_information_bits", 0, "none")
    assert any("each question has one choice" in note for note in leaderboard(results).notes)


def test_generated_answers_of_closed_questions_have_no_bits(tmp_path):
    """Without likelihoods there is nothing to take a logarithm of: no row and no failure."""
    without = [line("t0", 1) | {"scores": {}, "text": "a", "choices": list(FOUR)}]
    write(tmp_path, "none", without, scoring="generation")
    write(tmp_path, "blind", without, scoring="generation", encoder="blind", layer="-")
    assert rows_of(find_results([tmp_path])) == {}


def test_blocks_are_no_rows(tmp_path):
    """Training items are not shown as a test of their own; with nothing else there they are."""
    write_all(tmp_path)
    results = find_results([tmp_path])
    assert {row.split for row in leaderboard(results).rows} == {"test", "train"}
    alone = [result for result in results if result.split == "block"]
    assert {summary.row.split for summary in leaderboard(alone).summaries} == {"block"}


def test_curve_by_hand(tmp_path):
    """Accuracies 1/4, 3/4 and 1 at 4, 8 and 16 examples: area 0.6875; 90 % of the way is 0.925, at 2^3.7 examples."""
    write_all(tmp_path)
    results = find_results([tmp_path])
    (curve,) = curves(leaderboard(results), results)
    assert [(point.examples, point.score) for point in curve.points] == [(4, 0.25), (8, 0.75), (16, 1)]
    assert curve.area == pytest.approx((0.5 + 0.875) / 2)
    assert curve.needed == pytest.approx(2**3.7)


@pytest.mark.parametrize(("metric", "area"), [("wer", (0.5 + 0.875) / 2), ("bits_per_byte", None)])
def test_curves_of_rates_where_lower_is_better(tmp_path, metric, area):
    """An error rate is counted down from 1, so the same curve turned over has the same area; bits have no top."""
    for name, examples, score in (("portion 0.25", 4, 0.75), ("portion 0.5", 8, 0.25)):
        about = {"examples": examples, "whole": 16, "guess_bits": None}
        write(tmp_path, name, [line("t0", 1, text="a")], metric=metric, score=score, portion=about)
    write(tmp_path, "none", [line("t0", 1, text="a")], metric=metric, score=0.0)
    results = find_results([tmp_path])
    (curve,) = curves(leaderboard(results), results)
    assert curve.area == (None if area is None else pytest.approx(area))


def test_tables_of_bits(tmp_path):
    """Every number is the CSV's, rounded; what is missing is a dash; without portions and blind there is no table."""
    write_all(tmp_path)
    write_blind(tmp_path)
    write(tmp_path, "none", [line(f"t{number}", 0.5) for number in range(4)], encoder="beats")
    results = find_results([tmp_path])
    codes, learning = bits_tables(leaderboard(results), results, ())
    assert codes.title == "fsdd:digit: bits"
    assert [row[:3] for row in codes.rows] == [("beats", "lal", "-"), ("logmel", "lal", "24.2")]
    assert codes.rows[0][3] == "-"
    assert codes.rows[1][3].startswith("1.323 [")
    assert codes.rows[1][4].startswith("1.500 [")
    assert codes.caption == "Guessing the 16 answers costs 32 bits."
    assert learning.numbers == ("4", "8", "16", "area", "90% at")
    assert learning.rows == (("logmel", "lal", "0.25", "0.75", "1.00", "0.69", "13"),)
    plain = [result for result in results if result.control == "none"]
    assert bits_tables(leaderboard(plain), plain, ()) == []


@pytest.mark.parametrize("width", [80, 120])
def test_the_report_shows_them(tmp_path, width):
    """In the terminal no line is too long and no number is cut; Markdown and LaTeX hold both tables."""
    write_all(tmp_path)
    write_blind(tmp_path)
    results = find_results([tmp_path])
    file = io.StringIO()
    Console(file=file, width=width).print(render(results, "table", width=width))
    assert max(map(len, file.getvalue().splitlines())) <= width
    assert "fsdd:digit: bits" in file.getvalue()
    assert "1.500 [no CI]" in file.getvalue()
    write_report(results, tmp_path / "report")
    markdown, latex = ((tmp_path / "report" / name).read_text() for name in ("report.md", "report.tex"))
    assert "## fsdd:digit: accuracy by training examples" in markdown
    assert r"\caption{fsdd:digit: accuracy by training examples}" in latex


def test_what_a_portion_was_is_read(tmp_path):
    """The counts that `eval` wrote come back; a result of before has none."""
    about = {"examples": 4, "whole": 16, "guess_bits": None}
    found = read_result(write(tmp_path, "portion 0.25", [line("t0", 1)], portion=about))
    assert found.portion == Portion(4, 16, None)
    assert read_result(write(tmp_path, "none", [line("t0", 1)])).portion is None
