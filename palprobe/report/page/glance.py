"""All tasks at a glance: a row for each encoder and integration, a column for each task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from palprobe.report.contest import Contest, Place, place_of_row
from palprobe.report.controls import NO_LLM
from palprobe.report.page.confusion import shade
from palprobe.report.page.scores import SHARES
from palprobe.report.rows import Row
from palprobe.report.text import score_text


@dataclass(frozen=True)
class GlanceCell:
    """A score beside the others of its task."""

    text: str
    shade: int  # 0: chance or below, 9: all right; 0 for what is no share
    unbeaten: bool  # nothing that it was tested against is better
    told: str


@dataclass(frozen=True)
class Glance:
    """The whole page in one table."""

    heads: tuple[tuple[str, str], ...]  # of each task its title and its metric
    integrations: bool  # whether there are several
    lines: tuple[tuple[Place, tuple[GlanceCell | None, ...]], ...]


def glance_at(contests: Sequence[Contest], titles: Sequence[str]) -> Glance | None:
    """None where there is one task alone: then its own table says it all."""
    named = [(title, one) for title, one in zip(titles, contests, strict=True) if one.llm != NO_LLM]
    if len(named) < 2:
        return None
    cells = [_cells(contest) for _, contest in named]
    places = sorted({place for column in cells for place in column})
    lines = tuple((place, tuple(column.get(place) for column in cells)) for place in places)
    several = len({integration for _, integration in places}) > 1
    return Glance(tuple((title, contest.metric) for title, contest in named), several, lines)


def _cells(contest: Contest) -> dict[Place, GlanceCell]:
    beaten = {place_of_row(gap.worse) for gap in contest.gaps if gap.verdict == "better" and gap.axis != "control"}
    return {place_of_row(row): _cell(row, place_of_row(row) not in beaten) for row in contest.rows}


def _cell(row: Row, unbeaten: bool) -> GlanceCell:
    """Shares are coloured alike in all columns: a colour of each column's own would make much of small differences."""
    told = score_text(row.score, row.ci_low, row.ci_high)
    chance = row.chance or 0.0
    gained = max(0.0, row.score - chance) if row.metric in SHARES and chance < 1 else 0.0
    return GlanceCell(f"{row.score:.3f}", shade(gained, 1 - chance), unbeaten, told)
