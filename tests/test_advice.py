"""Advice: which integration an encoder's own cells favour is said only as far as its items and seeds carry it."""

import json
import re
from pathlib import Path

import pytest
from test_report import shown, write_result

from palprobe.report.advice import LEGEND, advice_lines
from palprobe.report.forms import render
from palprobe.report.leaderboard import leaderboard
from palprobe.report.results import find_results, read_result


def lines_of(folder: Path) -> list[str]:
    results = find_results([folder])
    return advice_lines(leaderboard(results), results, draws=500)


def change(folder: Path, **cost) -> Path:
    """Writes other costs into a result."""
    content = json.loads((folder / "result.json").read_text())
    content["cost"] |= cost
    (folder / "result.json").write_text(json.dumps(content))
    return folder


def test_a_clear_difference_is_a_verdict_with_its_interval_and_cost(tmp_path):
    """70 against 46 of 80, 24 items to none: +30 points, an interval about 1.96 √(.3 · .7 / 80) to each side."""
    change(write_result(tmp_path, "1" * 46 + "0" * 34), train_seconds=82.4, machine="box")
    change(write_result(tmp_path, "1" * 70 + "0" * 10, integration="lal"), peak_memory_bytes=763363328, machine="box")
    (line,) = lines_of(tmp_path)
    found = re.fullmatch(
        r"logmel, esc10: lal: \+30\.0 points over plits \((\d+\.\d) to (\d+\.\d), p < 0\.001\); 2\.0x faster, "
        r"35 MiB less; one seed: no claim beyond these items",
        line,
    )
    assert found
    assert [float(end) for end in found.groups()] == pytest.approx([20.0, 40.0], abs=2.0)


def test_a_few_items_are_no_evidence_either_way(tmp_path):
    """60 against 57 of 80, three items to none: p is 2 / 8, and neither is called better; one has nothing beside it."""
    write_result(tmp_path, "1" * 60 + "0" * 20)
    assert lines_of(tmp_path) == []
    assert "Which integration" not in shown(find_results([tmp_path]), 80)
    write_result(tmp_path, "1" * 57 + "0" * 23, integration="lal")
    (line,) = lines_of(tmp_path)
    assert line.startswith("logmel, esc10: no evidence either way: plits +3.8 points over lal (0.0 to ")
    assert ", p 0.250); as fast (machine not recorded); one seed" in line


def test_seeds_must_agree(tmp_path):
    """One seed far better and one a little worse: a small p for these items, and still no evidence."""
    for seed, (one, other) in enumerate([("1" * 40, "0" * 40), ("1" * 38 + "00", "1" * 40)]):
        write_result(tmp_path, one, integration="lal", seed=seed)
        write_result(tmp_path, other, seed=seed)
    (line,) = lines_of(tmp_path)
    assert "no evidence either way: lal +47.5 points over plits" in line
    assert "p < 0.001); the seeds disagree; " in line
    assert line.endswith("; 2 seeds")


def test_holm_counts_every_pair_of_the_encoder(tmp_path):
    """Six items to none is p 2 / 64 alone, and no verdict among six pairs; ten to none is one, at 6 · 2 / 1024."""
    hits = {"plits": 40, "lal": 34, "flamingo": 30, "pal@v3": 40}
    for name, right in hits.items():
        write_result(tmp_path, "1" * right + "0" * (40 - right), integration=name)
    lines = lines_of(tmp_path)
    # Six pairs; flamingo's two of ten items come first, then lal's two of six items: 2 / 64 · 4.
    assert [re.search(r": (.*) points", line)[1] for line in lines] == [
        "pal@v3: +25.0",
        "no evidence either way: pal@v3 +15.0",
        "no evidence either way: plits +15.0",  # plits and lal stand beside each other in any case
        "no evidence either way: pal@v3 +0.0",
    ]
    assert [re.search(r"p (\d\.\d+)", line)[1] for line in lines] == ["0.012", "0.125", "0.125", "1.000"]


def test_times_of_several_machines_are_not_divided(tmp_path):
    """Another processor, or another device where none was recorded: the machines are named in place of a ratio."""
    change(write_result(tmp_path, "1100"), machine="Xeon, 2 threads")
    folder = change(write_result(tmp_path, "1101", integration="lal"), machine="EPYC, 8 threads", train_seconds=4.0)
    (line,) = lines_of(tmp_path)
    assert "times of several machines are not compared (EPYC, 8 threads; Xeon, 2 threads)" in line
    assert "faster" not in line
    change(folder, machine="Xeon, 2 threads", audio_tokens=60.0, trainable_parameters=1000)
    (line,) = lines_of(tmp_path)
    assert "10.3x faster, 60 audio tokens against 125, 1k parameters against 1.23M; one seed" in line


def test_a_run_under_two_names_is_one(tmp_path):
    """`pal (= lal)` is the run of `lal`, so that the two are no comparison; against plits the run counts once."""
    lal = write_result(tmp_path, "1" * 12, integration="lal")
    plits = write_result(tmp_path, "0" * 12)
    results = [read_result(lal), read_result(lal, integration="pal (= lal)"), read_result(plits)]
    (line,) = advice_lines(leaderboard(results), results)
    assert line.startswith("logmel, esc10: lal: +100.0 points over plits")


def test_only_shared_items_and_seeds_are_compared(tmp_path):
    """Two folds here, one there, and a seed that only one has: the four items of the common fold and seed count."""
    write_result(tmp_path, "1111", fold=1, integration="lal")
    write_result(tmp_path, "1111", fold=2, integration="lal")
    write_result(tmp_path, "0000", fold=1)
    write_result(tmp_path, "1111", fold=1, seed=1)
    (line,) = lines_of(tmp_path)
    assert "lal +100.0 points over plits" in line
    assert "p 0.125) on the 4 items that both have; " in line and "one seed" in line


def test_what_cannot_be_compared_is_told(tmp_path):
    """No seed in common, or all items of one recording: a line says why there is no comparison."""
    write_result(tmp_path / "seeds", "10", seed=0)
    write_result(tmp_path / "seeds", "11", seed=1, integration="lal")
    assert lines_of(tmp_path / "seeds") == [
        "logmel, esc10: lal and plits are not compared. They have no seed in common."
    ]
    for name in ("plits", "lal"):
        folder = write_result(tmp_path / "groups", "1101", integration=name)
        text = (folder / "predictions.jsonl").read_text()
        (folder / "predictions.jsonl").write_text(re.sub(r'"group": "[^"]*"', '"group": "g"', text))
    (line,) = lines_of(tmp_path / "groups")
    assert "lal and plits are not compared. An interval needs 2 or more groups" in line


def test_controls_and_other_settings_are_no_integrations(tmp_path):
    """A control is never set beside a real score, nor one LLM beside another; each LLM is named where there are two."""
    write_result(tmp_path, "1111", integration="lal", control="shuffled")
    write_result(tmp_path, "1110")
    write_result(tmp_path, "1111", integration="lal", llm="other")
    assert lines_of(tmp_path) == []
    write_result(tmp_path, "0111", llm="other")
    (line,) = lines_of(tmp_path)
    assert line.startswith("logmel, llm other, esc10: no evidence")


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_and_markdown_have_the_section(tmp_path, width):
    """Title, sentences and legend are in both, and no line is wider than the terminal."""
    write_result(tmp_path, "1" * 60 + "0" * 20, encoder="random:whisper:small@mean:4-8")
    write_result(
        tmp_path, "1" * 57 + "0" * 23, encoder="random:whisper:small@mean:4-8", integration="lal layers=from:2"
    )
    results = find_results([tmp_path])
    text = shown(results, width)
    assert max(map(len, text.splitlines())) <= width
    joined = " ".join(text.split())
    assert "Which integration - random:whisper:small@mean:4-8, esc10: no evidence either way: plits +3.8" in joined
    assert LEGEND in joined
    page = str(render(results, "markdown"))
    assert "## Which integration\n\n- random:whisper:small@mean:4-8, esc10: no evidence either way" in page
    assert LEGEND in page
