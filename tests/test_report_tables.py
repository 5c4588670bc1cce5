"""Tables of scores: groups and controls are beside the scores at 80 and 120 columns, LaTeX and CSVs hold the same."""

import csv
import re
from pathlib import Path

import pytest
from test_report import shown
from told_results import change, right, write_told

from palprobe.report.differences import DIFFERENCES, OVERALL
from palprobe.report.forms import Findings, findings_of, render, write_report
from palprobe.report.latex import latex_report, latex_table, latex_text
from palprobe.report.leaderboard import leaderboard
from palprobe.report.results import find_results
from palprobe.report.score_tables import all_tables
from palprobe.report.standings import standings
from palprobe.report.tables import Table

NAMES = ("differences", "overall")


def write_seeds(runs, hits, *, n=40, seeds=(0, 1, 2), **cell):
    for seed in seeds:
        write_told(runs, right(hits, n), seed=seed, **cell)


def tables(folder: Path, width: int) -> dict[str, Table]:
    results = find_results([folder])
    board = leaderboard(results, draws=200)
    return {table.title: table for table in all_tables(board, standings(board, results, draws=500), width)}


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """Three encoders with long names through two integrations, with every control and probes without an LLM."""
    for encoder, hits in (("beats", 38), ("whisper:large-v3@mean:4-8", 30), ("logmel", 20)):
        for integration, less in (("lal", 0), ("plits", 1)):
            write_seeds(tmp_path, hits - less, encoder=encoder, integration=integration)
            for control in ("shuffled", "silence", "gaussian", "verbaliser"):
                write_seeds(tmp_path, 20, encoder=encoder, integration=integration, control=control)
        write_seeds(tmp_path, hits, encoder=encoder, integration="linear", llm="none", trainable="linear")
        write_seeds(tmp_path, hits - 9, encoder=encoder, integration="knn", llm="none", trainable="knn")
    for integration in ("lal", "plits"):
        write_seeds(tmp_path, 20, encoder="blind", layer="-", integration=integration, control="blind")
    return tmp_path


@pytest.mark.parametrize("width", [80, 120])
def test_groups_and_controls_fit_the_terminal(grid, width):
    """No line is wider; the best row has its letters beside its score, and each control stands in its line, marked."""
    text = shown(find_results([grid]), width)
    assert max(map(len, text.splitlines())) <= width
    costs = r"+1\.23M +125 +42s +763" if width == 120 else r"+125 +42s"
    assert re.search(rf"beats +lal +0\.950 \[0\.\d\d, 0\.\d\d\] +a A {costs}$", text, re.MULTILINE)
    assert re.search(r"beats +lal +0\.950 +0\.500\* +0\.500\* +0\.500\*", text)  # blind, shuffled, silence
    assert "control none" in text and "control shuffled" not in text  # no table of its own
    assert ("leaderboard.csv has them" in text) == (width == 80)


def test_controls_are_columns_beside_the_score(grid):
    """In a wide terminal one table, in a narrow one two, with the same columns; a floor has no floor."""
    wide = tables(grid, 200)["esc10: beside its controls"]
    names = ("blind", "shuffled", "silence", "gaussian", "verbaliser", "floor", "linear", "knn")
    assert wide.numbers == names
    cells = {row[:2]: dict(zip(names, row[3:], strict=True)) for row in wide.rows}
    assert cells["beats", "lal"]["floor"] == "0.500*"
    assert cells["logmel", "lal"] == {
        "blind": "0.500", "shuffled": "0.500", "silence": "0.500", "gaussian": "0.500", "verbaliser": "0.500",
        "floor": "-", "linear": "0.500", "knn": "0.275*",
    }  # fmt: skip
    found = findings_of(find_results([grid]))
    narrow = all_tables(found.board, found.standings, 80)
    parts = [table.numbers for table in narrow if "beside its controls" in table.title]
    assert len(parts) > 1 and sum(parts, ()) == names


def test_probes_without_an_llm_stand_apart(grid):
    """Their table has no LLM to name, and the one with it has no `none` in it."""
    found = tables(grid, 120)
    apart = found["esc10, without an LLM, on pooled features (n 40, chance 0.5)"]
    assert {row[1] for row in apart.rows} == {"linear", "knn"}
    assert {row[1] for row in found["esc10 (n 40, chance 0.5)"].rows} == {"lal", "plits"}
    assert "llm" not in apart.names


def test_the_best_row_is_first_and_ties_share_letters(grid):
    """By score; the two integrations of an encoder are tied, the encoders are not."""
    table = tables(grid, 120)["esc10 (n 40, chance 0.5)"]
    assert [(*row[:2], row[3]) for row in table.rows] == [
        ("beats", "lal", "a A"),
        ("beats", "plits", "a A"),
        ("whisper:large-v3@mean:4-8", "lal", "b A"),
        ("whisper:large-v3@mean:4-8", "plits", "b A"),
        ("logmel", "lal", "c A"),
        ("logmel", "plits", "c A"),
    ]


def test_one_seed_has_no_groups(tmp_path):
    """No column for letters, and the caption says why."""
    for encoder in ("beats", "mfcc"):
        write_told(tmp_path, right(30, 40), encoder=encoder)
    (table,) = tables(tmp_path, 120).values()
    assert "group" not in table.numbers
    assert table.caption.startswith("One seed: no claim of a difference.")


def test_what_is_not_alike_is_said_under_the_table(tmp_path):
    """Another number of steps and other items, each in a sentence of the caption."""
    write_told(tmp_path, right(30, 40), encoder="beats", identity={"train": {"steps": 100}})
    write_told(tmp_path, right(30, 38), encoder="mfcc", identity={"train": {"steps": 400}})
    caption = next(iter(tables(tmp_path, 120).values())).caption
    assert "Not the same budget: train.steps 400 (mfcc, plits) and 100 (beats, plits)." in caption
    assert "Not the same items: 38 of 40 are in every row" in caption


def test_rows_name_their_blind_score_in_the_csv(tmp_path):
    """Of the same integration, task, fold and seed, and of the aggregate; controls have none."""
    for integration, blind in (("lal", 10), ("plits", 20)):
        write_seeds(tmp_path, 40, encoder="beats", integration=integration, seeds=(0, 1))
        write_seeds(tmp_path, blind, encoder="blind", layer="-", integration=integration, control="blind", seeds=(0, 1))
    rows = leaderboard(find_results([tmp_path]), draws=200).rows
    found = {
        (row.integration, row.seed): row.blind for row in rows if row.control == "none" and row.metric == "accuracy"
    }
    assert found == {(name, seed): share for name, share in (("lal", 0.25), ("plits", 0.5)) for seed in (0, 1, "all")}
    assert {row.blind for row in rows if row.control == "blind"} == {None}


def test_differences_and_orders_are_csvs(tmp_path):
    """By hand: 20 of 40 items under three seeds; a pair without a seed in common has a reason and no numbers."""
    for task in ("esc10", "fsdd:digit"):
        write_seeds(tmp_path / "runs", 40, encoder="beats", task=task)
        write_seeds(tmp_path / "runs", 20, encoder="mfcc", task=task)
    write_told(tmp_path / "runs", right(20, 40), encoder="=eat", task="esc10", seed=7)
    write_report(find_results([tmp_path / "runs"]), tmp_path)
    lines = {name: list(csv.DictReader((tmp_path / f"{name}.csv").read_text().splitlines())) for name in NAMES}
    assert [*lines["differences"][0]] == list(DIFFERENCES) and [*lines["overall"][0]] == list(OVERALL)
    found = {(row["task"], row["encoder"], row["other_encoder"]): row for row in lines["differences"]}
    pair = found["fsdd:digit", "beats", "mfcc"]
    assert (pair["difference"], pair["seeds"], pair["n"], pair["n_left_out"]) == ("0.5", "3", "40", "0")
    assert (float(pair["p"]), pair["p_holm"], pair["verdict"]) == (pytest.approx(2 / 2**20), pair["p"], "better")
    unpaired = found["esc10", "beats", "=eat"]
    assert (unpaired["difference"], unpaired["p"], unpaired["verdict"]) == ("", "", "not compared")
    assert unpaired["reason"] == "They have no seed in common."
    assert {row["encoder"]: row["average_rank"] for row in lines["overall"]}["beats"] == "1.0"


def test_findings_are_computed_once(tmp_path):
    """What `write_report` returns gives the same page as the results themselves."""
    write_told(tmp_path / "runs", right(30, 40))
    results = find_results([tmp_path / "runs"])
    findings = write_report(results, tmp_path / "out")
    assert isinstance(findings, Findings)
    page = render(results, "markdown", findings=findings)
    assert page == render(results, "markdown") == (tmp_path / "out" / "report.md").read_text()
    assert render(results, "csv", findings=findings) == render(results, "csv")
    assert findings_of(results).board.rows == findings.board.rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 50% #1 $x {y}", r"a\_b \& 50\% \#1 \$x \{y\}"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("0.8 [0.7, 0.9]*", r"0.8 {[}0.7, 0.9{]}{*}"),  # behind \\ both would be read as its arguments
        ("p < 0.001 ~ 2^3 a--b", r"p \textless{} 0.001 \textasciitilde{} 2\textasciicircum{}3 a{-}{-}b"),
        ("\x1b[31m\né", r"\textbackslash{}x1b{[}31m\textbackslash{}né"),
    ],
)
def test_latex_shows_any_text_as_itself(text, expected):
    """Marks of TeX, arguments, ligatures and control characters, by hand."""
    assert latex_text(text) == expected


def test_latex_tables_are_booktabs():
    """One small table, whole and by hand."""
    table = Table("a_b", ("encoder",), ("score", "n"), (("x&y", "0.5", "10"),), "One seed.")
    assert latex_table(table).splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{a\_b}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"encoder & score & n \\",
        r"\midrule",
        r"x\&y & 0.5 & 10 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip\footnotesize One seed.",
        r"\end{table}",
    ]


def test_latex_has_every_table_and_row(grid):
    """As many tables as the terminal shows, each closed, and as many columns in every line."""
    found = tables(grid, 1000)
    page = latex_report(list(found.values()), ["legend"])
    assert page.count(r"\begin{table}") == page.count(r"\end{table}") == len(found)
    for block, table in zip(page.split(r"\midrule")[1:], found.values(), strict=True):
        lines = block.split(r"\bottomrule")[0].strip().splitlines()
        assert len(lines) == len(table.rows)
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {len(table.names) + len(table.numbers)}


def test_names_of_strangers_are_harmless_in_latex(tmp_path):
    """A name that is a command is text in every line that it stands in."""
    name = r"\write18{rm} % & \\ $"
    change(write_told(tmp_path / "runs", "1010", encoder=name, task=name))
    write_report(find_results([tmp_path / "runs"]), tmp_path)
    page = (tmp_path / "report.tex").read_text()
    assert r"\write" not in page
    assert r"\textbackslash{}write18\{rm\} \% \& \textbackslash{}\textbackslash{} \$" in page
