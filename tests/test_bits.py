"""Code length, V-information and the learning curve through the command line, from runs that were trained for them."""

import csv
import json
import math
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from palprobe.cli import app
from palprobe.errors import DataError, UsageError
from palprobe.files import read_json

SMALL = ["--encoders", "logmel", "--integrations", "lal", "--tasks", "diagnostics:higher", "--seeds", "0"]
SMALL += ["--set", "controls=[blind,portions]", "--set", "train.steps=2", "--set", "train.batch_size=8"]
SMALL += ["--limit", "16"]
TEMPERATURES = (1, math.sqrt(2), 2, 2 * math.sqrt(2), 4, 8, 16, float("inf"))


def palprobe(*words):
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def runs_of() -> dict[str, Path]:
    """The run folders by their control."""
    return {
        read_json(path / "eval" / "test-likelihood" / "result.json")["control"]: path for path in Path("runs").iterdir()
    }


def items_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def chance_of(item: dict, temperature: float) -> float:
    powers = {answer: math.exp(score / temperature) for answer, score in item["scores"].items()}
    return powers[item["reference"]] / sum(powers.values())


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A comparison on sixteen items of two answers, with the blind run and the portions of one, two, four and eight."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("compared"))
        done = palprobe("compare", *SMALL, "--format", "csv")
        yield Path.cwd(), done


@pytest.fixture
def there(compared, monkeypatch):
    monkeypatch.chdir(compared[0])
    return compared[1]


def test_portions_are_trained_on_nested_parts_and_scored_on_what_comes_next(there):
    """1, 2, 4 and 8 of 16 items; each block has as many, and a block is in no portion that is not larger."""
    runs = runs_of()
    assert sorted(runs) == ["blind", "none", "portion 0.0625", "portion 0.125", "portion 0.25", "portion 0.5"]
    later: set[str] = set()
    for share, count in ((0.5, 8), (0.25, 4), (0.125, 2), (0.0625, 1)):
        folder = runs[f"portion {share:g}"] / "eval" / "block-likelihood"
        result = read_json(folder / "result.json")
        assert result["portion"] == {"examples": count, "whole": 16, "guess_bits": count}
        block = {item["id"] for item in items_of(folder)}
        assert len(block) == count and not block & later
        later |= block
    tested = {item["id"] for item in items_of(runs["none"] / "eval" / "test-likelihood")}
    assert not later & tested


def test_bits_are_those_of_the_predictions(there):
    """The rows of leaderboard.csv equal loops over predictions.jsonl: chances multiplied, logarithms last."""
    table = csv.DictReader(there.stdout.splitlines())
    rows = {row["metric"]: row for row in table if (row["task"], row["control"]) == ("diagnostics:higher", "none")}
    runs, bits = runs_of(), 1.0  # the first item, guessed among two
    for share in (0.0625, 0.125, 0.25, 0.5):
        block = items_of(runs[f"portion {share:g}"] / "eval" / "block-likelihood")
        chances = [math.prod(chance_of(item, temperature) for item in block) for temperature in TEMPERATURES]
        bits -= math.log2(sum(chances) / 8)
    assert float(rows["code_length_bits"]["score"]) == pytest.approx(bits)
    assert float(rows["compression"]["score"]) == pytest.approx(16 / bits)
    heard, blind = (items_of(runs[control] / "eval" / "test-likelihood") for control in ("none", "blind"))
    told = [math.log2(chance_of(one, 1) / chance_of(other, 1)) for one, other in zip(heard, blind, strict=True)]
    assert float(rows["v_information_bits"]["score"]) == pytest.approx(sum(told) / len(told))


def test_the_report_has_both_tables(there):
    """report.md, and `palprobe report` from the runs alone, show code lengths and the curve over 1 to 16 examples."""
    page = next(Path("results").glob("*/report.md")).read_text()
    assert page == palprobe("report", "runs", "--format", "markdown").stdout
    assert "## diagnostics:higher: bits" in page
    assert "| encoder | integration | 1 | 2 | 4 | 8 | 16 | area | 90% at |" in page


def test_a_second_time_nothing_is_done(there):
    """Portions and their blocks are found again."""
    again = palprobe("compare", *SMALL, "--format", "csv")
    assert again.stdout == there.stdout
    assert "train" not in again.stderr and "eval" not in again.stderr


def test_planned_lines_make_the_same_runs(there):
    """Every train line finds the run that compare made; there is a line for each block, and it leaves nothing to do."""
    trains = palprobe("compare", *SMALL, "--plan=train").stdout.splitlines()
    assert sum("portion" in line for line in trains) == 4
    made = {palprobe(*shlex.split(line)[1:]).stdout.strip() for line in trains}
    assert {Path(name).name for name in made} == {path.name for path in Path("runs").iterdir()}
    lines = palprobe("compare", *SMALL, "--plan=eval").stdout.splitlines()
    blocks = [line for line in lines if "--split block" in line]
    assert len(blocks) == 4
    folder = Path(shlex.split(blocks[0])[2]) / "eval" / "block-likelihood"
    before = (folder / "result.json").stat().st_mtime_ns
    palprobe(*shlex.split(blocks[0])[1:])
    assert (folder / "result.json").stat().st_mtime_ns == before


def test_only_a_portion_has_a_block(there):
    """A run that was trained on all of its split leaves nothing to score, and that is said."""
    with pytest.raises(DataError, match="block split is empty"):
        palprobe("eval", runs_of()["none"], "--split", "block")
    with pytest.raises(UsageError, match="what was trained on is not scored"):
        palprobe("eval", runs_of()["none"], "--split", "train")


def test_a_portion_that_leaves_nothing_is_refused():
    """All but none of sixteen items is no part of them."""
    words = [
        "--encoder",
        "logmel",
        "--task",
        "diagnostics:higher",
        "--control",
        "portion 0.99",
        "--set",
        "data.limit=16",
    ]
    with pytest.raises(UsageError, match="leaves none for later"):
        palprobe("train", *words)


def test_open_questions_have_a_curve_and_no_blocks(tones):
    """Text cannot be guessed among choices: its portions are scored on the test set alone."""
    folder = Path("captions")
    folder.mkdir()
    rows = ["id,audio,answer,split"]
    for number in range(12):
        split = "test" if number % 3 == 0 else "train"
        rows.append(f"{number},{tones.parent / f'{number}.wav'},tone {number % 2},{split}")
    (folder / "open.csv").write_text("\n".join(rows) + "\n")
    words = [folder / "open.csv", "--encoders", "logmel", "--integrations", "lal", "--seeds", "0"]
    words += ["--set", "controls=[portions]", "--set", "train.steps=1", "--set", "scoring.max_new_tokens=2"]
    palprobe("compare", "--tasks", *words)
    folders = {path.name for run in Path("runs").iterdir() for path in (run / "eval").iterdir()}
    assert folders == {"test-generation"}
    page = next(Path("results").glob("*/report.md")).read_text()
    assert "by training examples" in page and ": bits" not in page
