"""A part of results/statistics/simulate.py: tests and intervals on data whose truth is known keep what they promise.

The whole, 2000 trials of each, is committed there. Here are 400, and a bound has room for what chance does to those:
three standard deviations.
"""

import csv
import math
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "results" / "statistics"
TRIALS = 400


@pytest.fixture(scope="module")
def simulate():
    """The script, as a module."""
    sys.path.insert(0, str(FOLDER))
    import simulate

    yield simulate
    sys.path.remove(str(FOLDER))


def checked(lines) -> None:
    for line in lines:
        if line.promised_low is None:
            continue
        room = 3 * math.sqrt(0.05 * 0.95 / line.trials)
        assert line.promised_low - room <= line.rate <= line.promised_high + room, line


@pytest.mark.parametrize("name", ["mcnemar", "family", "flips", "ranking_flips", "seeds"])
def test_what_is_promised_is_kept(simulate, name):
    """Equal probes are told apart, and the truth is missed, about as seldom as is said."""
    chosen = [study for study in simulate.studies() if study.trial.__name__ == name]
    study = next(study for study in chosen if study.setting.seeds >= 5 or name != "seeds")
    trials = TRIALS // 4 if name == "ranking_flips" else TRIALS
    checked(simulate.run(study, trials))


def test_clustered_data_break_the_naive_interval_and_not_ours(simulate):
    """Items of one recording taken for independent: the interval misses the truth, and equal probes are told apart."""
    (covers,) = (study for study in simulate.studies() if study.trial.__name__ == "one_seed")
    lines = {line.of: line for line in simulate.run(covers, TRIALS)}
    checked(lines.values())
    assert lines["accuracy, Wilson's, as if items were independent"].rate < 0.9
    (flips, *_) = (study for study in simulate.studies() if study.trial.__name__ == "flips")
    rates = {line.of: line.rate for line in simulate.run(flips, TRIALS)}
    assert rates["accuracy, the same of items, as if independent"] > 0.08


def test_luck_of_seeds_is_no_finding(simulate):
    """Where seeds vary by 3 points, equal probes are called different half as often by the rule with the interval as
    by test and seeds alone."""
    chosen = [study for study in simulate.studies() if study.trial.__name__ == "claims"]
    study = next(study for study in chosen if study.setting.points == 3 and study.setting.seeds == 3)
    rates = {line.of: line.rate for line in simulate.run(study, TRIALS)}
    assert rates["test, every seed and the interval agree"] < 0.1
    assert rates["test and every seed agree"] > 1.5 * rates["test, every seed and the interval agree"]


def test_the_committed_run_kept_every_promise():
    """2000 trials a line, and no line that says no; the promises are those of the script's head."""
    with (FOLDER / "simulations.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["trials"] for line in lines} == {"2000"} and {line["kept"] for line in lines} == {"yes", ""}
    for line in lines:
        if line["kept"]:
            low, high = (float(line[f"promised_{end}"]) for end in ("low", "high"))
            assert low <= float(line["rate"]) <= high and (low, high) in {(0.03, 0.07), (0.0, 0.06), (0.93, 0.97)}
    assert {line["of"] for line in lines if line["what"] == "covers" and line["kept"] == ""} >= {"accuracy"}  # of three
