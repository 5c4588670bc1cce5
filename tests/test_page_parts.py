"""The parts of report.html: what is drawn and listed is what was predicted and trained."""

import json
import math
import re

import pytest
from page_runs import FakeRun, contest_of, write_runs
from sklearn.metrics import confusion_matrix

from palprobe.report.contest import Contest, Gap
from palprobe.report.layer_sweep import LayerSweep
from palprobe.report.leaderboard import leaderboard
from palprobe.report.overall import Overall
from palprobe.report.page.cards import cards_of
from palprobe.report.page.confusion import confusion_of, shade
from palprobe.report.page.costs import cost_plots
from palprobe.report.page.curves import curve_panels
from palprobe.report.page.gaps import forests
from palprobe.report.page.glance import glance_at
from palprobe.report.page.items import answers_of, files_of, item_data
from palprobe.report.page.layers import heat_map
from palprobe.report.page.ranking import close_groups, rank_diagram
from palprobe.report.page.sources import Source, palette_of, sources_of
from palprobe.report.page.svg import Axis, axis_over, element, strip
from palprobe.report.results import find_results
from palprobe.report.rows import Row
from palprobe.report.sides import sides_of
from palprobe.report.standings import standings
from palprobe.stats.differences import Difference
from palprobe.types import Interval


def sources_in(runs) -> tuple[Contest, list[Source]]:
    results = find_results([runs])
    board = leaderboard(results, draws=100)
    (contest,) = standings(board, results, draws=100).contests
    return contest, sources_of(contest, {side.row: side for side in sides_of(board, results)})


def row_of(encoder="a", integration="lal", score=0.5, **changes) -> Row:
    values = dict.fromkeys(Row.__dataclass_fields__)
    values |= {"encoder": encoder, "layer": "last", "integration": integration, "llm": "tiny", "trainable": "full"}
    values |= {"task": "esc10", "split": "test", "scoring": "likelihood", "control": "none", "metric": "accuracy"}
    return Row(**(values | {"score": score, "n": 40, "run_id": ""} | changes))


# Items


def test_items_come_by_disagreement(tmp_path):
    """By hand: half right before a quarter, then what all get wrong, then what all get right."""
    answers = {"one": "1100", "two": "1000", "three": "0000", "four": "0100"}
    for encoder, hits in answers.items():
        folder = FakeRun(encoder, items=4).write(tmp_path)
        lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
        for line, hit in zip(lines, hits, strict=True):
            line |= {"correct": hit == "1", "prediction": line["reference"] if hit == "1" else "no"}
        lines[3] |= {"correct": True, "prediction": lines[3]["reference"]}
        (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, sources = sources_in(tmp_path)
    found = answers_of(sources)
    assert [one.example.id for one in found] == ["clip-0", "clip-1", "clip-2", "clip-3"]
    assert [one.disagree for one in found] == [True, True, False, False]


def test_items_tell_what_each_row_said(tmp_path):
    """Counts over seeds and the usual answer, recounted from the files themselves."""
    write_runs(tmp_path, seeds=3)
    _, sources = sources_in(tmp_path)
    answers = answers_of(sources)
    data = item_data(answers, [source.name for source in sources], judged=True)
    assert sorted(data["ids"]) == sorted(f"clip-{number}" for number in range(40))
    for row, source in zip(data["rows"], sources, strict=True):
        files = [result.path / "predictions.jsonl" for result in source.results]
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        for at, item in enumerate(data["ids"]):
            own = [line for line in lines if line["id"] == item]
            assert (row["right"][at], row["seeds"][at]) == (str(sum(line["correct"] for line in own)), "3")
            said = [line["prediction"] for line in own]
            assert said.count(data["texts"][row["answers"][at]]) == max(said.count(answer) for answer in said)
    assert files_of(sources) == "eval/test-likelihood/predictions.jsonl"


def test_an_item_that_a_row_lacks_is_no_wrong_answer(tmp_path):
    """Rows of 4 and 3 items: the fourth has an answer from one row only, and nobody disagrees about it."""
    FakeRun("one", items=4, skill=1).write(tmp_path)
    FakeRun("two", items=3, skill=1).write(tmp_path)
    _, sources = sources_in(tmp_path)
    data = item_data(answers_of(sources), [source.name for source in sources], judged=True)
    seeds = {row["name"]: row["seeds"] for row in data["rows"]}
    assert seeds == {"one": "1111", "two": "111-"}
    assert data["disagree"] == "0000"


# Confusion


def test_confusion_is_that_of_scikit_learn(tmp_path):
    """Counts over two seeds of each row; the shade is the share of the class, in tenths."""
    write_runs(tmp_path)
    _, sources = sources_in(tmp_path)
    confusion = confusion_of("accuracy", sources)
    assert confusion is not None
    assert confusion.square
    for source, counts in zip(sources, confusion.counts, strict=True):
        items = [item for run in source.runs.values() for item in run.values()]
        expected = confusion_matrix(
            [item.reference for item in items], [item.prediction for item in items], labels=confusion.classes
        )
        assert [[counts[i, j] for j in range(5)] for i in range(5)] == expected.tolist()
    assert [shade(count, 16) for count in (0, 1, 8, 15, 16)] == [0, 1, 4, 8, 9]  # by hand: nine steps of 16 / 9


def test_many_classes_are_listed(tmp_path):
    """Of more classes than a square holds, each has a line with what it is most often taken for; none for texts."""
    labels = [f"class {number:02}" for number in range(20)]
    FakeRun(items=200, classes=labels, skill=0.5).write(tmp_path)
    _, sources = sources_in(tmp_path)
    confusion = confusion_of("accuracy", sources)
    assert confusion is not None
    assert not confusion.square
    items = [item for run in sources[0].runs.values() for item in run.values()]
    for label, line in zip(labels, confusion.listed(0), strict=True):
        own = [item.prediction for item in items if item.reference == label]
        assert (line.right, line.asked) == (own.count(label), 10)
        assert [own.count(confusion.classes[answer]) for answer, _ in line.taken] == [count for _, count in line.taken]
        assert label not in {confusion.classes[answer] for answer, _ in line.taken}
    assert confusion_of("cider_d", sources) is None


def test_other_answers_are_a_class_of_their_own(tmp_path):
    """An answer that no item asks for is counted, apart, even where a real class has the name that stands for it."""
    folder = FakeRun(items=4, classes=("anything else", "dog"), skill=1).write(tmp_path)
    text = (folder / "predictions.jsonl").read_text().splitlines()
    line = json.loads(text[1]) | {"prediction": "a cat, I think", "correct": False, "valid": False}
    (folder / "predictions.jsonl").write_text("\n".join([text[0], json.dumps(line), *text[2:]]) + "\n")
    _, sources = sources_in(tmp_path)
    confusion = confusion_of("accuracy", sources)
    assert confusion is not None
    assert (confusion.classes, confusion.asked) == (("anything else", "dog", "anything else"), 2)
    assert confusion.matrix(0) == [[2, 0, 0], [0, 1, 1]]


# Drawings


def test_axes_place_numbers_in_proportion():
    """By hand, on a straight scale and on a logarithmic one; ticks are round numbers within the ends."""
    assert Axis(0.0, 10.0, 100.0, 200.0).at(2.5) == 125.0
    assert Axis(1.0, 100.0, 0.0, 100.0, logarithmic=True).at(10.0) == pytest.approx(50.0)
    assert Axis(-0.137, 0.432, 0.0, 1.0).ticks == [0.0, 0.2, 0.4]
    assert Axis(0.9, 1200.0, 0.0, 1.0, logarithmic=True).ticks == [1.0, 10.0, 100.0, 1000.0]
    assert axis_over([3.0, 90.0], 0.0, 1.0, log_from=20.0).logarithmic
    assert not axis_over([0.0, 90.0], 0.0, 1.0, log_from=20.0).logarithmic
    for single in (0.0, 5.0, -5.0):
        axis = axis_over([single], 0.0, 1.0)
        assert axis.low < single < axis.high
        assert axis.ticks


def test_a_strip_draws_value_interval_and_marks():
    """0.5 with 0.4 to 0.7 on an axis from 0 to 1: the dot at 50, the line from 40 to 70, chance at 10."""
    drawn = strip(0.5, 0.4, 0.7, Axis(0.0, 1.0, 0.0, 100.0), marks=[(0.1, "chance")], tone="c0")
    paths = re.findall(r'<path class="([\w ]+)" d="M([\d.]+) \d+(\w+)"', drawn)
    assert paths == [("mark chance", "10", "V32"), ("whisker", "40", "H70"), ("dot", "50", "h0")]
    assert "whisker" not in strip(0.5, None, None, Axis(0.0, 1.0, 0.0, 100.0))


def test_names_in_drawings_are_escaped():
    """Content and attributes alike."""
    assert element("text", "<b>&\x1b") == r"<text>&lt;b&gt;&amp;\x1b</text>"
    assert element("text", "", aria_label='"><script>') == '<text aria-label="&#34;&gt;&lt;script&gt;"></text>'


def test_curves_are_means_over_runs(tmp_path):
    """Two seeds of one log each, 100 steps in windows of three: the first point is the mean of steps 1 to 3."""
    write_runs(tmp_path)
    _, sources = sources_in(tmp_path)
    one, other = curve_panels(sources, palette_of([source.row for source in sources]))
    assert {one.title, other.title} == {"logmel", "whisper"}
    expected = sum(5 * math.exp(-step / 30) + 0.5 for step in (1, 2, 3)) / 3
    assert f"lal from {expected:.3g} to " in one.chart
    points = re.search(r'class="curve c0" d="M([^"]*)"', one.chart)
    assert points
    assert points[1].count("L") == 33  # 34 windows


def test_runs_without_a_log_have_no_curve(tmp_path):
    """Results that were copied without their runs, and a log of one torn line."""
    folder = FakeRun().write(tmp_path)
    (folder.parent.parent / "log.jsonl").unlink()
    other = FakeRun("other").write(tmp_path)
    (other.parent.parent / "log.jsonl").write_text('{"step": 1, "los')
    _, sources = sources_in(tmp_path)
    assert curve_panels(sources, palette_of([source.row for source in sources])) == []


def test_costs_fill_the_frontier():
    """Filled points are those of the frontier; what costs all the same is said, not drawn."""
    rows = [
        row_of("a", score=0.9, train_seconds=100.0, audio_tokens=50.0),
        row_of("b", score=0.5, train_seconds=50.0, audio_tokens=50.0),
        row_of("c", score=0.4, train_seconds=80.0, audio_tokens=50.0),
    ]
    frontier = {"train_seconds": (("a", "lal"), ("b", "lal")), "audio_tokens": (("a", "lal"),)}
    contest = contest_of(rows, frontier=frontier)
    time, tokens = cost_plots(contest, palette_of(rows))
    assert re.findall(r'class="point (\w+) (c\d)"', str(time.chart)) == [("on", "c0"), ("on", "c1"), ("off", "c2")]
    assert "No other row is better at no higher cost: b (50), a (100)" in str(time.chart)
    assert (tokens.chart, tokens.told) == (None, "Audio tokens per clip: 50 for all.")


# Differences


def difference_of(value, low, high, **changes) -> Difference:
    values = {"method": "t", "p": 0.01, "test": "sign flips", "by_seed": (value, value), "n": 40, "left_out": 0}
    return Difference(value=value, low=low, high=high, **(values | {"groups": 40} | changes))


def test_forests_have_one_scale_and_every_pair():
    """The ends cover all intervals and zero; what was not compared has a reason and no drawing."""
    a, b = row_of("a", score=0.9), row_of("b", score=0.6)
    c = row_of("a", "plits", score=0.8)
    gaps = [
        Gap("encoder", a, b, difference_of(0.3, 0.2, 0.4), 0.02, "better", ""),
        Gap("integration", a, c, difference_of(0.1, -0.1, 0.3), 0.0004, "tied", "the seeds disagree"),
        Gap("control", a, row_of("blind", control="blind"), None, None, "not compared", "no seed in common"),
    ]
    encoders, integrations, controls = forests(contest_of([a, c, b], gaps))
    assert (encoders.low, encoders.high) == ("−0.130", "+0.430")  # 6 % of 0.5 at each end
    (line,) = encoders.shown
    assert (line.shared, line.better, line.worse, line.verdict) == ("lal", "a", "b", "better")
    assert (line.value, line.p, line.n) == ("+0.300 [+0.200, +0.400]", "0.020", "40")
    assert (integrations.shown[0].better, integrations.shown[0].p) == ("lal", "< 0.001")
    assert integrations.shown[0].reason == "the seeds disagree"
    (control,) = controls.shown
    assert (control.shared, control.better, control.worse, control.chart) == ("a · lal", "it", "blind", None)


def test_of_many_pairs_those_of_the_best_come_first():
    """Six encoders have fifteen pairs: the best one's five are shown, ten are folded, none is lost."""
    rows = [row_of(name, score=1 - place / 10) for place, name in enumerate("abcdef")]
    gaps = [
        Gap("encoder", one, other, difference_of(0.1, 0.05, 0.15), 0.01, "better", "")
        for place, one in enumerate(rows)
        for other in rows[place + 1 :]
    ]
    (forest,) = forests(contest_of(rows, gaps))
    assert [(line.better, line.worse) for line in forest.shown] == [("a", name) for name in "bcdef"]
    assert len(forest.folded) == 10


# Ranks and layers


def test_close_groups_are_the_largest():
    """By hand: ranks 1, 1.5, 2.4, 4 with a critical difference of 1."""
    assert close_groups([1.0, 1.5, 2.4, 4.0], 1.0) == [(0, 1), (1, 2)]
    assert close_groups([1.0, 3.0, 5.0], 1.0) == []
    assert close_groups([1.0, 1.2, 1.4], 1.0) == [(0, 2)]


def overall_of(ranks, difference) -> Overall:
    names = tuple(sorted(ranks, key=ranks.__getitem__))
    return Overall(
        integration="lal", llm="tiny", trainable="full", split="test", names=names,
        headline={name: Interval(0.5, 0.4, 0.6, "bootstrap") for name in names}, rank=dict.fromkeys(names, (1, 2)),
        average_rank=ranks, strength={}, critical_difference=difference, friedman_p=0.01, pair_p={},
        tasks=("t1", "t2"), seeds=2, notes=(),
    )  # fmt: skip


def test_the_rank_diagram_joins_what_is_close():
    """Names stand with their ranks, a bar joins a and b, and without a critical difference nothing is drawn."""
    drawn = str(rank_diagram(overall_of({"a": 1.2, "b": 1.8, "c": 3.0}, 1.0)))
    assert "not told apart: a, b<" in drawn
    assert {"a 1.20", "b 1.80", "c 3.00"} <= set(re.findall(r">(\w \d\.\d\d)<", drawn))
    assert rank_diagram(overall_of({"a": 1.2, "b": 1.8}, None)) is None


def test_the_heat_map_shows_what_validation_chose():
    """Shades are of the task's own range, upside down where lower is better; the choice has its score on test."""
    scores = {("0", "esc10"): 0.2, ("1", "esc10"): 0.8, ("2", "esc10"): 0.5}
    rows = {place: row_of(score=score, layer=place[0], ci_low=0.1, ci_high=0.9) for place, score in scores.items()}
    rows |= {(layer, "asr"): row_of(metric="wer", score=0.1 * (1 + int(layer))) for layer in "01"}
    sweep = LayerSweep(
        "beats", "lal", "tiny", "full", "likelihood", ("0", "1", "2"), ("esc10", "asr"), rows,
        {"esc10": rows["1", "esc10"]}, {"esc10": {"1": 4, "2": 1}},
    )  # fmt: skip
    found = heat_map(sweep)
    assert [[cell.shade for cell in cells] for _, cells in found.lines] == [[0, 9], [9, 0], [4, 0]]
    assert [cells[0].chosen for _, cells in found.lines] == ["", "chosen in 4 of 5 folds", "chosen in 1 of 5 folds"]
    assert found.chosen == ("0.800 [0.10, 0.90]", "-")
    assert found.lines[2][1][1].told == "not run"


def test_a_glance_colours_all_tasks_alike():
    """Half of what lies above a chance of 0.2 is half the shades, whatever the others scored; no share has none."""
    a, b = row_of("a", score=0.6, chance=0.2), row_of("b", score=0.59, chance=0.2)
    gaps = [Gap("encoder", a, b, difference_of(0.01, 0.005, 0.015), 0.01, "better", "")]
    other = contest_of([row_of("a", score=0.3, metric="wer")], task="asr")
    found = glance_at([contest_of([a, b], gaps), other], ["esc10", "asr"])
    assert found is not None
    assert found.heads == (("esc10", "accuracy"), ("asr", "accuracy"))
    lines = {place[0]: cells for place, cells in found.lines}
    assert [cell and (cell.shade, cell.unbeaten) for cell in lines["a"]] == [(4, True), (0, True)]
    assert [cell and (cell.shade, cell.unbeaten) for cell in lines["b"]] == [(4, False), None]
    assert glance_at([other], ["asr"]) is None


# Run cards


def test_cards_say_whether_the_budget_was_the_same(tmp_path):
    """Runs of 100 and 200 steps are named with both; of equal ones it is said that they are."""
    FakeRun("one").write(tmp_path / "a")
    FakeRun("two").write(tmp_path / "a")
    same = cards_of(sources_in(tmp_path / "a")[1])
    assert (same.same_budget, same.budget) == (True, "All rows had the same budget.")
    assert ("train.steps", "100") in same.shared
    FakeRun("three", steps=200, skill=0.1).write(tmp_path / "a")
    other = cards_of(sources_in(tmp_path / "a")[1])
    assert other.same_budget is False
    assert re.search(r"train\.steps: 100 \((one, two|two, one)\), 200 \(three\)", other.budget)
    assert {card.name: dict(card.differing)["train.steps"] for card in other.cards} == {
        "one": "100", "two": "100", "three": "200",
    }  # fmt: skip


def test_cards_of_results_without_their_runs(tmp_path):
    """What was trained with is not known, and so not called the same."""
    folder = FakeRun().write(tmp_path)
    (folder.parent.parent / "identity.json").unlink()
    cards = cards_of(sources_in(tmp_path)[1])
    assert cards.same_budget is None
    assert cards.cards[0].runs[0].run_id == FakeRun().run_id
    assert dict(cards.cards[0].facts)["machine"] == "a machine"
