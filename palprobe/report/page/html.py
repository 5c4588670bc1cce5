"""The page as text: values into the template, its style and scripts inside, and a policy that forbids all else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from palprobe.report.contest import Contest
from palprobe.report.layer_sweep import layer_sweeps
from palprobe.report.layers import layer_lines
from palprobe.report.leaderboard import Leaderboard
from palprobe.report.markdown import CAVEATS, NO_LIMIT, data_lines, memory_lines, software_lines
from palprobe.report.page.cards import cards_of
from palprobe.report.page.confusion import ANSWERED, confusion_of
from palprobe.report.page.costs import cost_plots
from palprobe.report.page.curves import curve_panels
from palprobe.report.page.gaps import forests
from palprobe.report.page.items import MOST_ITEMS, Answers, answers_of, files_of, item_data, item_lines
from palprobe.report.page.layers import heat_map
from palprobe.report.page.orders import order_table
from palprobe.report.page.ranking import rank_diagram
from palprobe.report.page.scores import contest_table, metric_notes, other_metrics, score_table
from palprobe.report.page.sources import Palette, Source, palette_of, sources_of
from palprobe.report.results import EvalResult
from palprobe.report.score_tables import BESIDE_LEGEND, GROUP_LEGEND
from palprobe.report.sides import sides_of
from palprobe.report.standings import Standings
from palprobe.report.tables import COST_LEGEND, Shown, Table, part_tables, settings_line, shown_rows
from palprobe.report.text import visible
from palprobe.report.words import WORDS_LEGEND, paragraphs

LARGEST_BYTES = 2_000_000
FEWER_ITEMS = (MOST_ITEMS, 250, 100, 40, 10)  # of each task, tried in turn until the page is small enough
PLAIN_ITEMS = 5  # that readers without a script see of each task
SCRIPTS = ("theme.js", "table.js", "confusion.js", "items.js")
UNSAFE = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}  # in JSON inside a page


def page_html(board: Leaderboard, standings: Standings, results: Sequence[EvalResult]) -> str:
    """report.html; the same results give the same bytes.

    Args:
        board: from `leaderboard`, of these results.
        standings: from `standings`, of the same board.
        results: finished evaluations.
    """
    chapters = _chapters(board, standings, results)
    page = ""
    for most in FEWER_ITEMS:
        page = _page(board, standings, results, chapters, most)
        if len(page.encode()) <= LARGEST_BYTES:
            break
    return page


@dataclass(frozen=True, eq=False)
class Chapter:
    """All that the page says of one contest."""

    id: str
    title: str
    contest: Contest
    sources: Sequence[Source]
    palette: Palette
    board: Leaderboard
    parts: Sequence[Table]

    @cached_property
    def answers(self) -> list[Answers]:
        return answers_of(self.sources)

    @property
    def judged(self) -> bool:
        """Whether an answer is right or wrong, and nothing between."""
        return self.contest.metric in (*ANSWERED, "map")

    @cached_property
    def names(self) -> list[str]:
        return [source.name for source in self.sources]

    @cached_property
    def values(self) -> dict[str, Any]:
        """What the template needs of it."""
        contest = self.contest
        metrics, others = other_metrics(self.board, contest.rows)
        return {
            "id": self.id,
            "title": self.title,
            "contest": contest,
            "metric_note": metric_notes(contest.metric),
            "table": contest_table(contest, self.palette),
            "forests": forests(contest),
            "costs": cost_plots(contest, self.palette),
            "confusion": confusion_of(contest.metric, self.sources),
            "curves": curve_panels(self.sources, self.palette),
            "cards": cards_of(self.sources),
            "metrics": metrics,
            "others": others,
            "parts": self.parts,
            "num_items": len(self.answers),
            "judged": self.judged,
            "disagreed": sum(one.disagree for one in self.answers),
            "plain_items": item_lines(self.answers[:PLAIN_ITEMS], self.names),
            "files": files_of(self.sources),
        }

    def data(self, most: int) -> dict[str, Any]:
        """What the scripts need of it."""
        confusion = self.values["confusion"]
        return {
            "id": self.id,
            "items": item_data(self.answers[:most], self.names, judged=self.judged),
            "confusion": confusion.data() if confusion else None,
        }


def _chapters(board: Leaderboard, standings: Standings, results: Sequence[EvalResult]) -> list[Chapter]:
    """One for each contest."""
    palette = palette_of([row for contest in standings.contests for row in contest.rows])
    sides = {side.row: side for side in sides_of(board, results)}
    tables = part_tables(board, shown_rows(board, standings), NO_LIMIT)
    titles = _titles(standings)
    return [
        Chapter(f"task-{number}", title, contest, sources_of(contest, sides), palette, board, _parts(tables, contest))
        for number, (title, contest) in enumerate(zip(titles, standings.contests, strict=True), start=1)
    ]


def _titles(standings: Standings) -> list[str]:
    """The task; where it has several contests, what its paragraph in words is called."""
    tasks = [contest.task for contest in standings.contests]
    told = [paragraph.title for paragraph in paragraphs(standings)]
    return [task if tasks.count(task) == 1 else told[place] for place, task in enumerate(tasks)]


def _page(
    board: Leaderboard,
    standings: Standings,
    results: Sequence[EvalResult],
    chapters: Sequence[Chapter],
    most: int,
) -> str:
    shown = shown_rows(board, standings)
    style, scripts = _part("page.css"), [_part(name) for name in SCRIPTS]
    values = {
        "policy": _policy(style, scripts),
        "style": style,
        "scripts": scripts,
        "values": _json([chapter.data(most) for chapter in chapters]),
        "chapters": [chapter.values for chapter in chapters],
        "most": most,
        "counts": _counts(standings),
        "settings": _settings(shown),
        "words": paragraphs(standings),
        "words_legend": WORDS_LEGEND,
        "legends": (GROUP_LEGEND, BESIDE_LEGEND, COST_LEGEND),
        "orders": [(overall, order_table(overall), rank_diagram(overall)) for overall in standings.overall],
        "table": score_table(board, standings),
        "palette": chapters[0].palette if chapters else palette_of([]),
        "sweeps": [heat_map(sweep) for sweep in layer_sweeps(results)],
        "mixes": layer_lines(results),
        "notes": board.notes,
        "caveats": (*CAVEATS, *memory_lines(results)),
        "data_sets": data_lines(results),
        "software": software_lines(results),
    }
    return _environment().get_template("page.html.j2").render(values)


def _environment() -> Environment:
    """Everything that is not markup is made visible and escaped, whatever a template forgets."""

    def shown(value: object) -> object:
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    loader = PackageLoader("palprobe.report.page")
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, finalize=shown, trim_blocks=True, lstrip_blocks=True
    )


def _part(name: str) -> str:
    return files("palprobe.report.page").joinpath("templates", name).read_text(encoding="utf-8")


def _policy(style: str, scripts: Sequence[str]) -> str:
    """Nothing is loaded from anywhere; only this style and these scripts run, and they make no markup from text."""
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {allowed}; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """JSON that ends no script and begins no comment, whatever its texts hold."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(UNSAFE)


def _counts(standings: Standings) -> str:
    """'2 encoders, 4 integrations, 2 tasks'."""
    rows = [row for contest in standings.contests for row in contest.rows]
    counts = [(len({getattr(row, name) for row in rows}), name) for name in ("encoder", "integration", "task")]
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts)


def _settings(shown: Shown) -> str:
    """What all rows share; the integration, too, where there is one."""
    integrations = {row.integration for row in shown.rows}
    own = [f"integration {next(iter(integrations))}"] if len(integrations) == 1 else []
    return ", ".join([*own, settings_line(shown)])


def _parts(tables: Sequence[Table], contest: Contest) -> list[Table]:
    """Those by question type that are about this task."""
    return [table for table in tables if table.title.startswith(f"{contest.task}, ")]
