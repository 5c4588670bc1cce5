"""All that the page says of one contest, as values for its template and for its scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from palprobe.report.contest import Contest
from palprobe.report.leaderboard import Leaderboard
from palprobe.report.markdown import NO_LIMIT
from palprobe.report.page.cards import cards_of
from palprobe.report.page.confusion import ANSWERED, confusion_of
from palprobe.report.page.costs import cost_plots
from palprobe.report.page.curves import curve_panels
from palprobe.report.page.gaps import forests
from palprobe.report.page.items import MOST_ITEMS, Answers, answers_of, files_of, item_data, item_lines
from palprobe.report.page.scores import contest_table, metric_notes, other_metrics
from palprobe.report.page.sources import Palette, Source, palette_of, sources_of
from palprobe.report.results import EvalResult
from palprobe.report.sides import sides_of
from palprobe.report.standings import Standings
from palprobe.report.tables import Table, part_tables, shown_rows
from palprobe.report.words import paragraphs

PLAIN_ITEMS = 5  # that readers without a script see of each task


@dataclass(frozen=True)
class Limits:
    """How much of what is long is on the page."""

    items: int = MOST_ITEMS  # of each task
    pairs: bool = True  # those of rows that others are better than, where there are many
    confusions: bool = True  # of all rows; else of the best one alone


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

    def data(self, limits: Limits) -> dict[str, Any]:
        """What the scripts need of it."""
        return {
            "id": self.id,
            "items": item_data(self.answers[: limits.items], self.names, judged=self.judged),
            "confusion": self.confusion_data if limits.confusions else None,
        }

    @cached_property
    def confusion_data(self) -> dict[str, Any] | None:
        confusion = self.values["confusion"]
        return confusion.data() if confusion else None


def chapters_of(board: Leaderboard, standings: Standings, results: Sequence[EvalResult]) -> list[Chapter]:
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


def _parts(tables: Sequence[Table], contest: Contest) -> list[Table]:
    """Those by question type that are about this task."""
    return [table for table in tables if table.title.startswith(f"{contest.task}, ")]
