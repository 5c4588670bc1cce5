"""Answers in words: every number is one of the CSVs', and what is not known is said as that."""

import csv
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_report import shown
from test_report_metrics import TEXTS, write_wer
from told_results import change, right, write_told

from palprobe.report.forms import render, write_report
from palprobe.report.leaderboard import leaderboard
from palprobe.report.results import find_results
from palprobe.report.standings import standings
from palprobe.report.text import duration_text
from palprobe.report.words import WORDS_LEGEND, paragraphs

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")


def words(folder: Path) -> dict[str, str]:
    """Title → paragraph."""
    results = find_results([folder])
    ranked = standings(leaderboard(results, draws=200), results, draws=500)
    return {paragraph.title: paragraph.text for paragraph in paragraphs(ranked)}


def write_seeds(runs, hits, *, n=40, seeds=(0, 1, 2), **cell):
    for seed in seeds:
        write_told(runs, right(hits, n), seed=seed, **cell)


def random_grid(runs: Path, seed: int) -> None:
    """Some encoders, integrations, tasks, seeds and controls, and now and then a cell that is not there."""
    rng = random.Random(seed)
    encoders = ["beats", "logmel", "random1:beats", "whisper:small@4"][: rng.randint(1, 4)]
    integrations = ["lal", "plits", "pal@v3"][: rng.randint(1, 3)]
    controls = rng.sample(["blind", "shuffled", "silence", "verbaliser"], rng.randint(0, 4))
    for task in ["esc10", "fsdd:digit", "notes"][: rng.randint(1, 3)]:
        for number in range(rng.randint(1, 3)):
            for encoder, integration in ((one, other) for one in encoders for other in integrations):
                for control in ["none", *controls]:
                    if rng.random() < 0.1:
                        continue
                    who = {"encoder": "blind", "layer": "-"} if control == "blind" else {"encoder": encoder}
                    if control == "blind" and encoder != encoders[0]:
                        continue
                    share = 0.5 if control != "none" else rng.choice([0.5, 0.7, 0.9, 0.9])
                    hits = "".join("1" if rng.random() < share else "0" for _ in range(rng.choice([30, 30, 28])))
                    cell = {"integration": integration, "task": task, "seed": number, "control": control}
                    folder = write_told(runs, hits, **who, **cell, group_size=rng.choice([1, 1, 3]))
                    change(folder, cost={"train_seconds": rng.uniform(1, 400), "machine": "box"})
            if rng.random() < 0.5:
                hits = "".join(rng.choice("110") for _ in range(30))
                cell = {"llm": "none", "trainable": "linear", "task": task, "seed": number}
                write_told(runs, hits, encoder="beats", integration="linear", **cell)


def numbers_of_the_csvs(folder: Path) -> Iterator[str]:
    """Each number of the CSVs as people are shown it."""
    for row in rows_of(folder / "leaderboard.csv"):
        yield f"{float(row['score']):.3f}"
        yield row["n"]
        yield from (f"{float(row[end]):.2f}" for end in ("ci_low", "ci_high") if row[end])
        yield duration_text(float(row["train_seconds"])).rstrip("smin")
        yield f"{int(row['peak_memory_bytes']) / 2**20:.0f}"
    for row in rows_of(folder / "differences.csv"):
        yield from (row[count] for count in ("seeds", "n", "n_left_out"))
        for name in ("difference", "ci_low", "ci_high"):
            value = float(row[name] or 0.0)
            yield from (f"{100 * sign * value:.1f}".replace("-0.0", "0.0") for sign in (1, -1))
            yield from (f"{sign * value:.3f}" for sign in (1, -1))
        p = float(row["p_holm"] or 1.0)
        yield "0.001" if p < 0.001 else f"{p:.3f}"
    for row in rows_of(folder / "overall.csv"):
        yield from (f"{float(row['headline'] or 0.0):.3f}", row["rank_low"], row["rank_high"])
        yield from (f"{float(row[end] or 0.0):.2f}" for end in ("ci_low", "ci_high"))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("seed", range(6))
def test_every_number_occurs_in_the_csvs(tmp_path, seed):
    """Of random grids: names apart, no number is in the words that is not in a CSV, formatted the same way."""
    random_grid(tmp_path / "runs", seed)
    results = find_results([tmp_path / "runs"])
    write_report(results, tmp_path)
    known = set(numbers_of_the_csvs(tmp_path))
    cells = {cell for name in ("leaderboard", "differences", "overall") for row in rows_of(tmp_path / f"{name}.csv")
             for cell in row.values() if re.search("[a-z]", cell)}  # fmt: skip
    told = paragraphs(standings(leaderboard(results), results))
    text = " ".join(paragraph.text for paragraph in told)
    assert text
    for cell in sorted(cells - {""}, key=len, reverse=True):
        text = text.replace(cell, "")
    assert set(NUMBER.findall(text)) <= known


def test_a_claim_names_both_the_size_the_certainty_and_the_cost(tmp_path):
    """20 of 40 items to none under three seeds: 50 points, an interval around them, p, and seconds and memory."""
    write_seeds(tmp_path, 40, encoder="beats")
    write_seeds(tmp_path, 20, encoder="mfcc")
    for result in find_results([tmp_path]):
        slow = result.cell.encoder == "beats"
        change(result.path, cost={"machine": "box", "train_seconds": 90.0 if slow else 30.0})
    text = words(tmp_path)["esc10"]
    assert text.startswith("40 items, 3 seeds. beats is better than mfcc by 50.0 points (")
    low, high = map(float, re.search(r"points \(([\d.]+) to ([\d.]+), p < 0\.001; 90s against 30s\)", text).groups())
    assert 30 < low < 50 < high < 70
    assert "On the frontier of score and training time: beats and mfcc." in text


def test_one_seed_claims_nothing(tmp_path):
    """The same difference under one seed is told with its interval, behind the words that it is no claim."""
    write_told(tmp_path, right(40, 40), encoder="beats")
    write_told(tmp_path, right(20, 40), encoder="mfcc")
    text = words(tmp_path)["esc10"]
    assert text.startswith("40 items, one seed: no claim of a difference. beats against mfcc (+50.0 points, ")
    assert "): with one seed no claim." in text and "better" not in text


def test_ties_are_told_as_ties(tmp_path):
    """Three rows of which no pair differs: that first, and then how far the best is from each."""
    for encoder, hits in (("beats", 36), ("mfcc", 35), ("eat", 34)):
        write_seeds(tmp_path, hits, encoder=encoder)
    text = words(tmp_path)["esc10"]
    assert "All are tied: no pair differs by more than chance or another seed may explain. beats is tied with" in text
    assert re.search(r"mfcc \(\+2\.5 points, -?\d\.\d to \d+\.\d, p 1\.000\) and eat \(\+5\.0 points, ", text)
    assert "better" not in text.split("No blind")[0]


def test_zero_variance_is_told_as_the_same_answers(tmp_path):
    """Two rows that answer every item alike: no interval of nothing and no NaN."""
    for encoder in ("beats", "mfcc"):
        write_seeds(tmp_path, 30, encoder=encoder)
    text = words(tmp_path)["esc10"]
    assert "Beats is tied with mfcc" not in text  # a name is never changed
    assert "beats is tied with mfcc (they answer every item alike)." in text
    assert "nan" not in text


def test_seeds_that_disagree_are_a_reason(tmp_path):
    """Far better under two seeds, a little worse under one: tied, with the reason."""
    for seed, (one, other) in enumerate([(40, 10), (40, 10), (38, 40)]):
        write_told(tmp_path, right(one, 40), encoder="beats", seed=seed)
        write_told(tmp_path, right(other, 40), encoder="mfcc", seed=seed)
    assert re.search(r"beats is tied with mfcc \(\+48\.3 points, .*: the seeds disagree\)", words(tmp_path)["esc10"])


def test_missing_cells_are_named(tmp_path):
    """Of a grid of two by two one cell is not there; of two tasks neither is silently compared over other items."""
    write_seeds(tmp_path, 40, encoder="beats", integration="lal")
    write_seeds(tmp_path, 38, encoder="beats", integration="plits")
    write_seeds(tmp_path, 20, encoder="mfcc", integration="lal")
    text = words(tmp_path)["esc10"]
    assert "Not there, and so in no comparison: mfcc through plits." in text
    assert "Through lal: beats is better than mfcc" in text
    assert "Of beats: lal is tied with plits" in text


def test_missing_items_are_counted(tmp_path):
    """One row lacks ten of forty items: the pair is of thirty, and says so."""
    write_seeds(tmp_path, 40, encoder="beats")
    write_seeds(tmp_path, 5, n=30, encoder="mfcc")
    text = words(tmp_path)["esc10"]
    assert text.startswith("30 items, 3 seeds.")
    assert "on the 30 items that both have, 10 left out" in text


def test_what_is_not_compared_says_why(tmp_path):
    """No seed in common."""
    write_told(tmp_path, "1010", encoder="beats", seed=0)
    write_told(tmp_path, "1010", encoder="mfcc", seed=1)
    assert "Beats" not in words(tmp_path)["esc10"]
    assert "beats is not compared with mfcc: They have no seed in common." in words(tmp_path)["esc10"]


def test_a_task_with_one_class_tells_nothing(tmp_path):
    """Every answer is dog: said before anything else."""
    for encoder in ("beats", "mfcc"):
        folder = write_told(tmp_path, "1110", encoder=encoder)
        text = (folder / "predictions.jsonl").read_text()
        (folder / "predictions.jsonl").write_text(text.replace('"reference": "cat"', '"reference": "dog"'))
    assert words(tmp_path)["esc10"].startswith("Every item has the same answer, dog: no score on it tells anything. ")


def test_a_single_row_has_nothing_beside_it(tmp_path):
    """Its score with the interval, and no comparison."""
    write_told(tmp_path, right(60, 80))
    text = words(tmp_path)["esc10"]
    assert text.startswith(
        "logmel through plits scores 0.750 [0.65, 0.83]; nothing stands beside it to be compared with."
    )
    assert text.endswith("No blind probe was run: what the questions alone give away is not known.")


def test_rates_are_told_in_their_own_unit(tmp_path):
    """Of word error rates the lower one is ahead by so much of wer: (2 - 0) / 6 words; the interval speaks for it."""
    write_wer(tmp_path, 2 / 6, TEXTS, encoder="beats")
    write_wer(tmp_path, 0.0, [(reader, text, text) for reader, text, _ in TEXTS], encoder="mfcc")
    assert "mfcc against beats (+0.333 of wer, " in words(tmp_path)["librispeech:asr"]


def test_a_blind_probe_that_is_beaten_is_told_with_the_gain(tmp_path):
    """One encoder beats it by 50 points, the other is not shown to."""
    write_seeds(tmp_path, 40, encoder="beats")
    write_seeds(tmp_path, 21, encoder="mfcc")
    write_seeds(tmp_path, 20, encoder="blind", layer="-", control="blind")
    text = words(tmp_path)["esc10"]
    assert "beats is better than the blind probe (0.500) by 50.0 points (" in text
    assert "Not shown to beat the blind probe: mfcc." in text


def test_a_task_that_needs_no_audio_is_told_so(tmp_path):
    """No encoder is better than the probe that heard nothing; under one seed not even that is a claim."""
    for folder, seeds in (("three", (0, 1, 2)), ("one", (0,))):
        write_seeds(tmp_path / folder, 31, encoder="beats", seeds=seeds)
        write_seeds(tmp_path / folder, 30, encoder="blind", layer="-", control="blind", seeds=seeds)
    three, one = (words(tmp_path / name)["esc10"] for name in ("three", "one"))
    why = "it does not need audio, or none of them hears what it takes."
    assert f"No encoder beats the blind probe on esc10 (0.750): {why}" in three
    assert "The blind probe scores 0.750; with one seed there is no claim that any encoder does better." in one


def test_other_audio_shows_whether_the_best_probe_listens(tmp_path):
    """Half as good on shuffled clips and no worse on silence: both scores, and what could not be shown."""
    write_seeds(tmp_path, 40)
    write_seeds(tmp_path, 20, control="shuffled")
    write_seeds(tmp_path, 40, control="silence")
    text = words(tmp_path)["esc10"]
    assert (
        "logmel scores 1.000 with its own audio, against 0.500 with another clip's audio and 1.000 with silence."
        in text
    )
    assert "No worse with silence, as far as could be shown: it may not listen." in text


def test_floor_untrained_names_and_plain_probes_are_told(tmp_path):
    """Three encoders beside log-mel, its own untrained self, dealt-out names, and a linear and a kNN probe."""
    for encoder, hits in (("beats", 36), ("mfcc", 21), ("logmel", 20), ("random1:beats", 20)):
        write_seeds(tmp_path, hits, encoder=encoder)
    write_seeds(tmp_path, 28, encoder="beats", control="verbaliser")
    write_seeds(tmp_path, 36, encoder="beats", integration="linear", llm="none", trainable="linear")
    write_seeds(tmp_path, 10, encoder="beats", integration="knn", llm="none", trainable="knn")
    text = words(tmp_path)["esc10"]
    assert "Not shown to beat the floor, log-mel features: mfcc and random1:beats." in text
    assert "Better than the same encoder untrained, random1: every encoder that can be set beside it." in text
    assert "With the names of the classes dealt out anew beats scores 0.700 instead of 0.900" in text
    assert "A linear probe on the features of beats, without an LLM, scores 0.900; tied: 0.0 points (" in text
    assert (
        "A nearest-neighbour probe on the features of beats, without an LLM, scores 0.250, worse by 65.0 points ("
        in text
    )
    assert words(tmp_path)["esc10, linear probe"].startswith("beats through linear scores 0.900")


def test_several_tasks_have_an_order_with_its_certainty(tmp_path):
    """One encoder far ahead on both tasks is first, two alike share that place, and one seed makes no order."""
    for folder, other, seeds in (("far", 20, (0, 1, 2)), ("alike", 40, (0, 1, 2)), ("one", 20, (0,))):
        for task in ("esc10", "fsdd:digit"):
            write_seeds(tmp_path / folder, 40, n=50, encoder="beats", task=task, seeds=seeds)
            write_seeds(tmp_path / folder, other, n=50, encoder="mfcc", task=task, seeds=seeds)
    far, alike, one = (words(tmp_path / name)["Over all tasks"] for name in ("far", "alike", "one"))
    start = "Through plits: of what lies between blind and perfect, on average over esc10 and fsdd:digit, beats 0.600 ("
    assert far.startswith(start)  # (0.8 - 0.5) / 0.5
    assert "place 1), mfcc -0.200 (" in far
    assert far.endswith("beats is first, whichever tasks, seeds and items are drawn again.")
    assert alike.endswith("first may be beats or mfcc: tied.")
    assert one.endswith("one seed: no claim of an order.")


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_and_markdown_have_the_section(tmp_path, width):
    """Title, paragraphs and legend are in both, and no line is wider than the terminal."""
    for integration, hits in (("plits", 60), ("lal layers=from:2", 57)):
        write_told(tmp_path, right(hits, 80), encoder="random:whisper:small@mean:4-8", integration=integration)
    results = find_results([tmp_path])
    text = shown(results, width)
    assert max(map(len, text.splitlines())) <= width
    joined = " ".join(text.split())
    assert "In words - esc10: 80 items, one seed: no claim of a difference." in joined
    assert WORDS_LEGEND in joined
    page = str(render(results, "markdown"))
    assert "## In words\n\n- esc10: 80 items, one seed" in page
    assert WORDS_LEGEND in page
