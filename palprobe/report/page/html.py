"""The page as text: values into the template, its style and scripts inside, and a policy that forbids all else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from palprobe.report.layer_sweep import layer_sweeps
from palprobe.report.layers import layer_lines
from palprobe.report.leaderboard import Leaderboard
from palprobe.report.markdown import CAVEATS, data_lines, memory_lines, software_lines
from palprobe.report.page.chapter import Chapter, Limits, chapters_of
from palprobe.report.page.confusion import shade
from palprobe.report.page.glance import glance_at
from palprobe.report.page.items import MOST_ITEMS
from palprobe.report.page.layers import heat_map
from palprobe.report.page.orders import order_table
from palprobe.report.page.ranking import rank_diagram
from palprobe.report.page.scores import score_table
from palprobe.report.page.sources import palette_of
from palprobe.report.results import EvalResult
from palprobe.report.score_tables import BESIDE_LEGEND, GROUP_LEGEND
from palprobe.report.standings import Standings
from palprobe.report.tables import COST_LEGEND, Shown, settings_line, shown_rows
from palprobe.report.text import visible
from palprobe.report.words import WORDS_LEGEND, paragraphs

LARGEST_BYTES = 2_000_000
SCRIPTS = ("theme.js", "table.js", "confusion.js", "items.js")
UNSAFE = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}  # in JSON inside a page


LIMITS = (  # tried in turn until the page is small enough
    *(Limits(items) for items in (MOST_ITEMS, 400, 300, 200, 100, 50)),
    Limits(50, pairs=False),
    *(Limits(items, pairs=False, confusions=False) for items in (50, 20, 5)),
)


def page_html(board: Leaderboard, standings: Standings, results: Sequence[EvalResult]) -> str:
    """report.html; the same results give the same bytes.

    Args:
        board: from `leaderboard`, of these results.
        standings: from `standings`, of the same board.
        results: finished evaluations.
    """
    chapters = chapters_of(board, standings, results)
    page = ""
    for limits in LIMITS:
        page = _page(board, standings, results, chapters, limits)
        if len(page.encode()) <= LARGEST_BYTES:
            break
    return page


def _page(
    board: Leaderboard,
    standings: Standings,
    results: Sequence[EvalResult],
    chapters: Sequence[Chapter],
    limits: Limits,
) -> str:
    shown = shown_rows(board, standings)
    style, scripts = _part("page.css"), [_part(name) for name in SCRIPTS]
    values = {
        "shade": shade,
        "policy": _policy(style, scripts),
        "style": style,
        "scripts": scripts,
        "values": _json([chapter.data(limits) for chapter in chapters]),
        "chapters": [chapter.values for chapter in chapters],
        "limits": limits,
        "counts": _counts(standings),
        "settings": _settings(shown),
        "glance": glance_at(standings.contests, [chapter.title for chapter in chapters]),
        "ids": {chapter.title: chapter.id for chapter in chapters},
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
