"""Contests: which rows are compared, what may be said of each pair, and which controls stand beside a row."""

import pytest
from told_results import change, right, write_told

from palprobe.report.contest import Contest, Gap
from palprobe.report.contests import contests_of
from palprobe.report.leaderboard import leaderboard
from palprobe.report.results import find_results, read_result
from palprobe.report.sides import sides_of


def contests(results) -> tuple[Contest, ...]:
    return contests_of(sides_of(leaderboard(results, draws=200), results), draws=500)


def only(tmp_path) -> Contest:
    (contest,) = contests(find_results([tmp_path]))
    return contest


def pairs(contest: Contest, axis: str) -> dict[tuple[str, str], Gap]:
    """Gaps of an axis by the names of both sides, the better first."""
    return {(getattr(gap.better, axis), getattr(gap.worse, axis)): gap for gap in contest.gaps if gap.axis == axis}


def write_seeds(runs, hits, *, n=40, seeds=(0, 1, 2), **cell):
    for seed in seeds:
        write_told(runs, right(hits, n), seed=seed, run_id=f"{cell}-{seed}".replace("/", "_"), **cell)


def test_a_clear_difference_is_better_with_the_exact_p_of_its_groups(tmp_path):
    """20 items to none under three seeds: p is 2 / 2^20 as each item has its own group, the value half of 40."""
    write_seeds(tmp_path, 40, encoder="beats")
    write_seeds(tmp_path, 20, encoder="mfcc")
    gap = pairs(only(tmp_path), "encoder")["beats", "mfcc"]
    assert (gap.verdict, gap.reason) == ("better", "")
    assert gap.difference.value == pytest.approx(0.5)
    assert gap.difference.p == pytest.approx(2 / 2**20)
    assert gap.difference.low > 0.2 and gap.difference.high < 0.8
    assert only(tmp_path).letters == {("beats", "plits"): "a", ("mfcc", "plits"): "b"}


def test_one_seed_is_no_claim_and_has_no_letters(tmp_path):
    """The same difference under one seed: tested and told, but no verdict and no groups."""
    write_told(tmp_path, right(40, 40), encoder="beats")
    write_told(tmp_path, right(20, 40), encoder="mfcc")
    contest = only(tmp_path)
    gap = pairs(contest, "encoder")["beats", "mfcc"]
    assert (gap.verdict, gap.difference.p < 0.001, contest.letters) == ("one seed", True, {})


def test_seeds_must_agree(tmp_path):
    """Far better under two seeds and a little worse under the third: a small p, and still tied."""
    for seed, (one, other) in enumerate([(40, 10), (40, 10), (38, 40)]):
        write_told(tmp_path, right(one, 40), encoder="beats", seed=seed)
        write_told(tmp_path, right(other, 40), encoder="mfcc", seed=seed)
    gap = pairs(only(tmp_path), "encoder")["beats", "mfcc"]
    assert (gap.verdict, gap.reason) == ("tied", "the seeds disagree")
    assert gap.p_adjusted < 0.001


def test_holm_counts_every_pair_of_the_axis_in_the_task(tmp_path):
    """Six items to none is p 2 / 64 alone, and 3 · 2 / 64 as the first of three equal pairs."""
    for encoder, hits in (("beats", 40), ("mfcc", 34), ("eat", 34)):
        write_seeds(tmp_path, hits, encoder=encoder)
    found = pairs(only(tmp_path), "encoder")
    assert found["beats", "mfcc"].difference.p == pytest.approx(2 / 64)
    assert found["beats", "mfcc"].p_adjusted == pytest.approx(3 * 2 / 64)
    assert found["beats", "mfcc"].reason == "it may be chance"
    assert found["eat", "mfcc"].reason == "they answer every item alike"  # zero variance
    assert found["eat", "mfcc"].p_adjusted == 1.0
    assert set(only(tmp_path).letters.values()) == {"a"}  # ties everywhere


def test_few_groups_can_show_nothing(tmp_path):
    """All 40 items of five recordings differ: the smallest p there is, 2 / 32, is above 0.05."""
    for seed in (0, 1):
        write_told(tmp_path, right(40, 40), encoder="beats", seed=seed, group_size=8)
        write_told(tmp_path, right(0, 40), encoder="mfcc", seed=seed, group_size=8)
    gap = pairs(only(tmp_path), "encoder")["beats", "mfcc"]
    assert gap.reason == "5 recordings or speakers are too few to show any difference"


def test_encoders_are_compared_within_an_integration_and_integrations_within_an_encoder(tmp_path):
    """Two by two: two pairs on each axis and none across; small letters for encoders, capitals for integrations."""
    for encoder, integration, hits in (("a", "lal", 40), ("a", "plits", 39), ("b", "lal", 20), ("b", "plits", 5)):
        write_seeds(tmp_path, hits, encoder=encoder, integration=integration)
    contest = only(tmp_path)
    assert [(gap.axis, gap.better.encoder, gap.better.integration, gap.worse.encoder, gap.worse.integration)
            for gap in contest.gaps] == [
        ("encoder", "a", "lal", "b", "lal"),
        ("encoder", "a", "plits", "b", "plits"),
        ("integration", "a", "lal", "a", "plits"),
        ("integration", "b", "lal", "b", "plits"),
    ]  # fmt: skip
    assert contest.letters == {("a", "lal"): "a A", ("a", "plits"): "a A", ("b", "lal"): "b A", ("b", "plits"): "b B"}


def test_rows_of_other_models_splits_and_scorings_are_apart(tmp_path):
    """Nothing is tested across LLMs, trained parts, splits or ways of scoring; each is a contest of its own."""
    write_told(tmp_path, right(4, 8))
    write_told(tmp_path, right(5, 8), llm="other")
    write_told(tmp_path, right(6, 8), trainable="lora")
    change(write_told(tmp_path, right(7, 8), encoder="other"), split="validation")
    change(write_told(tmp_path, right(7, 8)), scoring="generation")
    found = contests(find_results([tmp_path]))
    assert [(one.split, one.scoring, one.llm, one.trainable, len(one.rows), len(one.gaps)) for one in found] == [
        ("test", "generation", "tiny", "full", 1, 0),
        ("test", "likelihood", "other", "full", 1, 0),
        ("test", "likelihood", "tiny", "full", 1, 0),
        ("test", "likelihood", "tiny", "lora", 1, 0),
        ("validation", "likelihood", "tiny", "full", 1, 0),
    ]


def test_a_run_under_two_names_is_tested_once(tmp_path):
    """`pal (= lal)` is the run of `lal`: both are rows with the same letters, and only one is in a pair."""
    for seed in (0, 1):
        write_told(tmp_path, right(40, 40), integration="lal", seed=seed, run_id=f"lal{seed}")
        write_told(tmp_path, right(0, 40), seed=seed)
    results = find_results([tmp_path])
    twins = [
        read_result(result.path, integration="pal (= lal)") for result in results if result.cell.integration == "lal"
    ]
    (contest,) = contests([*results, *twins])
    assert [row.integration for row in contest.rows] == ["lal", "pal (= lal)", "plits"]
    assert len(contest.gaps) == 1
    letters = {place[1]: letter for place, letter in contest.letters.items()}
    assert letters == {"lal": "A", "pal (= lal)": "A", "plits": "B"}


def test_missing_items_are_left_out_and_counted(tmp_path):
    """Two folds here, one there, and a seed that only one has: the six items of the common fold and seed count."""
    write_told(tmp_path, "111111", fold=1, integration="lal")
    write_told(tmp_path, "1111", fold=2, integration="lal")
    write_told(tmp_path, "000000", fold=1)
    write_told(tmp_path, "111111", fold=1, seed=1)
    contest = only(tmp_path)
    gap = pairs(contest, "integration")["lal", "plits"]
    assert (gap.difference.n, gap.difference.left_out, gap.verdict) == (6, 4, "one seed")
    assert gap.difference.p == pytest.approx(2 / 2**6)
    assert "not the same items: 6 of 10 are in every row; pairs are tested on those of both" in contest.notes


def test_what_cannot_be_compared_says_why(tmp_path):
    """No seed in common, and all items of one recording: no difference, no p, and a reason."""
    write_told(tmp_path / "seeds", "10", seed=0)
    write_told(tmp_path / "seeds", "11", seed=1, integration="lal")
    (gap,) = only(tmp_path / "seeds").gaps
    assert (gap.verdict, gap.difference, gap.p_adjusted) == ("not compared", None, None)
    assert gap.reason == "They have no seed in common."
    for name in ("plits", "lal"):
        write_told(tmp_path / "groups", "1101", integration=name, group_size=4)
    (gap,) = only(tmp_path / "groups").gaps
    assert "needs 2 or more groups" in gap.reason


def test_lower_rates_are_better(tmp_path):
    """Of rates of invalid answers the lower row is first, and the difference keeps the metric's sign."""
    for encoder, hits in (("beats", "1" * 40), ("mfcc", "1" * 20 + "x" * 20)):
        for seed in (0, 1):
            folder = write_told(tmp_path, hits, encoder=encoder, seed=seed)
            score = {
                "metric": "invalid_rate",
                "part": None,
                "score": hits.count("x") / 40,
                "ci_low": 0.0,
                "ci_high": 1.0,
            }
            change(folder, scores=[score | {"ci_method": "none", "n": 40, "n_invalid": 0, "chance": None}])
    contest = only(tmp_path)
    gap = pairs(contest, "encoder")["beats", "mfcc"]
    assert [row.encoder for row in contest.rows] == ["beats", "mfcc"]
    assert (gap.verdict, gap.difference.value) == ("better", pytest.approx(-0.5))


def test_controls_stand_beside_their_rows(tmp_path):
    """A blind probe beside every encoder of its integration, evaluations beside their own run, the rest by name."""
    for encoder in ("beats", "logmel", "random1:beats", "random2:beats"):
        write_told(tmp_path, right(30, 40), encoder=encoder, integration="lal")
    write_told(tmp_path, right(10, 40), encoder="blind", layer="-", integration="lal", control="blind")
    write_told(tmp_path, right(11, 40), encoder="blind", layer="-", integration="plits", control="blind")
    write_told(tmp_path, right(12, 40), encoder="beats", integration="lal", control="shuffled")
    write_told(tmp_path, right(13, 40), encoder="beats", integration="lal", control="portion 0.1")
    write_told(tmp_path, right(35, 40), encoder="beats", integration="linear", llm="none", trainable="linear")
    through, without = contests(find_results([tmp_path]))
    beside = {name: {place[0]: row.score for place, row in by.items()} for name, by in through.beside.items()}
    assert beside == {
        "blind": dict.fromkeys(("beats", "logmel", "random1:beats", "random2:beats"), 0.25),
        "shuffled": {"beats": 0.3},
        "floor": dict.fromkeys(("beats", "random1:beats", "random2:beats"), 0.75),
        "random1": {"beats": 0.75},
        "random2": {"beats": 0.75},
        "linear": {"beats": 0.875},
    }
    assert [row.integration for row in without.rows] == ["linear"]
    controls = [(gap.better.encoder, gap.worse.control) for gap in through.gaps if gap.axis == "control"]
    assert len(controls) == 4 + 1 + 1  # blind, shuffled, linear
    assert ("beats", "shuffled") in controls


def test_costs_have_frontiers_where_they_were_measured_in_one_way(tmp_path):
    """By hand: the better one costs more seconds, so both are on that frontier; times of two machines have none."""
    change(write_told(tmp_path, right(40, 40), encoder="beats"), cost={"train_seconds": 90.0, "machine": "box"})
    folder = write_told(tmp_path, right(20, 40), encoder="mfcc")
    change(folder, cost={"train_seconds": 30.0, "machine": "box", "audio_tokens": 200.0})
    contest = only(tmp_path)
    assert contest.frontier["train_seconds"] == (("beats", "plits"), ("mfcc", "plits"))
    assert contest.frontier["audio_tokens"] == (("beats", "plits"),)
    change(folder, cost={"machine": "other box"})
    contest = only(tmp_path)
    assert "train_seconds" not in contest.frontier
    assert "times of several machines are not compared: box; other box" in contest.notes


def test_a_task_with_one_class_is_known(tmp_path):
    """Where every item has the same answer that is kept; with two answers nothing is."""
    folder = write_told(tmp_path, "1010")
    assert only(tmp_path).one_answer is None
    text = (folder / "predictions.jsonl").read_text()
    (folder / "predictions.jsonl").write_text(text.replace('"reference": "cat"', '"reference": "dog"'))
    assert only(tmp_path).one_answer == "dog"
