"""report.html: the numbers of the other reports, names as text whatever they hold, nothing loaded, small enough."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
from page_runs import CLASSES, FakeRun, contest_of, write_runs

from palprobe.report.contest import Gap
from palprobe.report.forms import write_report
from palprobe.report.leaderboard import Leaderboard, leaderboard
from palprobe.report.page.html import LARGEST_BYTES, SCRIPTS, page_html
from palprobe.report.results import find_results
from palprobe.report.standings import Standings, standings
from palprobe.stats.differences import Difference

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\x1b[31mred\x07",
    "a\u202eb\u200f\u2028c",
    "{{ 7 * 7 }}",
    '" onmouseover="alert(1)',
    "<!--<script>",
)


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text in each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open = tag
        self.inside.setdefault(tag, []).append("")

    def handle_data(self, data):
        if self._open:
            self.inside[self._open][-1] += data

    def handle_endtag(self, tag):
        self._open = ""

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def data(self) -> list[dict]:
        (text,) = (
            text for text, at in zip(self.inside["script"], self.of("script"), strict=True) if at.get("id") == "data"
        )
        return json.loads(text)


def page_of(runs: Path) -> str:
    results = find_results([runs])
    board = leaderboard(results, draws=200)
    return page_html(board, standings(board, results, draws=500), results)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> str:
    runs = tmp_path_factory.mktemp("plain") / "runs"
    write_runs(runs)
    return page_of(runs)


def test_the_same_results_give_the_same_bytes(tmp_path):
    """Another order, another folder and other times of change make no difference to any byte."""
    write_runs(tmp_path / "runs")
    results = find_results([tmp_path / "runs"])
    write_report(results, tmp_path / "a")
    write_report(results[::-1], tmp_path / "b")
    shutil.copytree(tmp_path / "runs", tmp_path / "elsewhere" / "others", copy_function=shutil.copyfile)
    write_report(find_results([tmp_path / "elsewhere" / "others"]), tmp_path / "c")
    pages = {(tmp_path / name / "report.html").read_bytes() for name in "abc"}
    assert len(pages) == 1
    assert str(tmp_path).encode() not in pages.pop()


def test_scores_are_those_of_the_leaderboard(tmp_path):
    """Every score of the sortable table is a number of leaderboard.csv, in full where it is sorted by."""
    write_runs(tmp_path / "runs")
    write_report(find_results([tmp_path / "runs"]), tmp_path)
    page = Page((tmp_path / "report.html").read_text())
    board = pd.read_csv(tmp_path / "leaderboard.csv")
    shown = board[(board.seed == "all") & (board.metric == "accuracy")]
    sorted_by = {float(at["data-value"]) for at in page.of("td") if at.get("data-value")}
    assert set(shown.score) <= sorted_by
    texts = " ".join(page.inside["td"])
    for row in shown.itertuples():
        assert f"{row.score:.3f} [{row.ci_low:.2f}, {row.ci_high:.2f}]" in texts


def test_hostile_names_are_text(tmp_path):
    """Scripts, pictures, escapes and direction marks in any name are shown, and open no element or attribute."""
    for name, encoder in enumerate(HOSTILE):
        names = {"classes": (*HOSTILE, *CLASSES), "ids": "{}" + encoder, "task": f"task {HOSTILE[0]}"}
        FakeRun(encoder, HOSTILE[name - 1], **names).write(tmp_path)
    text = page_of(tmp_path)
    page = Page(text)
    assert len(page.of("script")) == len(SCRIPTS) + 1
    assert not page.of("img")
    assert "49" not in {cell.strip() for cell in page.inside["td"] + page.inside["th"]}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200f\u202e\u2028]", text)
    assert set(page.data[0]["items"]["texts"]) > {label for label in HOSTILE if label.isprintable()}
    assert {r"\x1b[31mred\x07", r"a\u202eb\u200f\u2028c"} < set(page.data[0]["items"]["texts"])


def test_nothing_is_loaded(plain):
    """The policy allows this style and these scripts by their digests alone; no element asks for anything else."""
    page = Page(plain)
    (policy,) = (at["content"] for at in page.of("meta") if at.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    run = [text for text, at in zip(page.inside["script"], page.of("script"), strict=True) if at["type"] == "module"]
    for rule, texts in (("script-src", run), ("style-src", page.inside["style"])):
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert rules[rule] == " ".join(f"'sha256-{digest}'" for digest in digests)
    addresses = [at[name] for _, at in page.elements for name in ("src", "href", "srcset", "action") if name in at]
    assert all(address.startswith("#") for address in addresses)
    assert not re.search(r"https?:|url\(|@import", plain)


def test_links_lead_somewhere(plain):
    """Every link's target, and every region that a control is about, is on the page, once."""
    page = Page(plain)
    ids = [at["id"] for _, at in page.elements if at.get("id")]
    assert len(set(ids)) == len(ids)
    targets = {at["href"][1:] for at in page.of("a")} | {at["data-filters"] for at in page.of("form")}
    assert targets <= set(ids)


def test_it_can_be_read_without_a_script(plain):
    """Tables, drawings, words and some items are there before any script runs; every table has heads with a scope."""
    page = Page(plain)
    text = " ".join(part for parts in page.inside.values() for part in parts)
    assert "whisper is better than logmel" in text
    assert {"0.95", "clip-0"} <= set(re.findall(r"[\w.-]+", text)) | {"0.95"}
    assert len(page.of("svg")) > 8
    assert page.of("noscript")
    assert all(at.get("scope") in ("col", "row") for at in page.of("th"))
    assert all(at.get("aria-label") or at.get("aria-hidden") == "true" for at in page.of("svg"))


def untested(board: Leaderboard) -> Standings:
    """Every pair of every task, as long in words as a real one, without the time that testing takes."""
    made = Difference(0.123, 0.045, 0.201, "clustered bootstrap", 0.0123, "sign flips", (0.123,), 600, 0, 600)
    contests = []
    for task in sorted({row.task for row in board.rows}):
        rows = [summary.row for summary in board.summaries if summary.row.task == task]
        pairs = [Gap("encoder", *pair, made, 0.0456, "one seed", "no claim") for pair in combinations(rows, 2)]
        contests.append(contest_of(rows, pairs, {"train_seconds": ((rows[0].encoder, "lal"),)}, task=task))
    return Standings(tuple(contests), ())


def test_it_stays_small(tmp_path):
    """Ten encoders on twenty tasks of 600 items: at most 2 MB, and what was left out for it is said."""
    labels = [f"class {number} of a task" for number in range(50)]
    for task in range(20):
        for encoder in range(10):
            run = FakeRun(
                f"encoder-{encoder}", task=f"task-{task}", items=600, skill=0.5, classes=labels,
                ids=f"audio/fold/recording-{task}-{{:05}}.wav",
            )  # fmt: skip
            run.write(tmp_path)
    results = find_results([tmp_path])
    board = leaderboard(results)
    text = page_html(board, untested(board), results)
    assert len(text.encode()) <= LARGEST_BYTES
    kept = {len(chapter["items"]["ids"]) for chapter in Page(text).data}
    assert len(kept) == 1
    (most,) = kept
    assert most >= 100
    assert text.count(f"The first {most} are here, {600 - most} are left out.") == 20


def test_what_is_left_out_to_stay_small_is_said(tmp_path, monkeypatch):
    """Where nothing is small enough: five items, no confusion but the best row's, and the pairs are in the CSV."""
    for encoder in "abcdef":
        FakeRun(encoder, skill=0.5).write(tmp_path)
    monkeypatch.setattr("palprobe.report.page.html.LARGEST_BYTES", 1)
    text = page_of(tmp_path)
    (chapter,) = Page(text).data
    assert (len(chapter["items"]["ids"]), chapter["confusion"]) == (5, None)
    assert "The first 5 are here, 35 are left out." in text
    assert re.search(r"The other \d+ pairs are in differences\.csv\.", text)
    assert "data-confusion" not in text.split("<script", 1)[0]


def luminance(colour: str) -> float:
    """Relative luminance of '#rrggbb'. Source: WCAG 2.2, definition of relative luminance."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_apart(plain, theme):
    """Text has a contrast of 4.5 to the paper and lines of 3, as WCAG asks, in both themes."""
    colours: dict[str, list[str]] = {}
    for name, *pair in re.findall(r"(--[\w-]+): light-dark\((#\w{6}), (#\w{6})\)", plain):
        colours.setdefault(name, []).append(pair[theme])
    (paper,) = colours["--paper"]
    for name in ("--ink", "--quiet", "--accent", "--good", "--bad", "--half"):
        assert contrast(colours[name][0], paper) >= 4.5, name
        assert contrast(colours[name][0], colours["--raised"][0]) >= 4.5, name
    assert len(colours["--hue"]) == 8
    assert all(contrast(hue, paper) >= 3 for hue in colours["--hue"])
