"""Answers in words: a paragraph for each task, and one over all tasks, made of numbers that the CSVs hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from palprobe.report.contest import Axis, Contest, Gap, place_of_row
from palprobe.report.control_words import control_sentences
from palprobe.report.controls import NO_LLM
from palprobe.report.gap_words import by_verdict, verdict_sentence
from palprobe.report.overall_words import overall_sentence
from palprobe.report.rows import Row
from palprobe.report.standings import Standings
from palprobe.report.text import listed, score_text

WORDS_TITLE = "In words"
WORDS_LEGEND = (
    "Points: of a score on the items that both have; in brackets the 95% interval, p after Holm over all pairs of its "
    "kind in the task, then seconds and memory of training. Better: p is below 0.05, the interval leaves out 0, and "
    "every seed says so. Tied: no proof that two are equal. All pairs: differences.csv."
)
COST_NAMES = {"train_seconds": "training time", "peak_memory_bytes": "memory", "audio_tokens": "audio tokens"}
PREPOSITIONS: Mapping[Axis, str] = {"encoder": "Through", "integration": "Of"}
NO_PAIR = "no pair differs by more than chance or another seed may explain"
NOTHING_BESIDE = "nothing stands beside it to be compared with"


@dataclass(frozen=True)
class Paragraph:
    """What one task, or all together, came to."""

    title: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


def paragraphs(standings: Standings) -> list[Paragraph]:
    """One for each contest, then one for each order over several tasks."""
    several = {
        name: len({getattr(contest, name) for contest in standings.contests if contest.llm != NO_LLM}) > 1
        for name in ("split", "scoring", "llm", "trainable")
    }
    found = []
    for contest in standings.contests:
        settings = [f"{name} {getattr(contest, name)}" for name, told in several.items() if told]
        title = [contest.task, *([f"{contest.trainable} probe"] if contest.llm == NO_LLM else settings)]
        found.append(Paragraph(", ".join(title), tuple(_contest_sentences(contest))))
    over_all = tuple(filter(None, map(overall_sentence, standings.overall)))
    return [*found, *([Paragraph("Over all tasks", over_all)] if over_all else [])]


def _contest_sentences(contest: Contest) -> Iterator[str]:
    if contest.one_answer is not None:
        yield f"Every item has the same answer, {contest.one_answer}: no score on it tells anything."
    gaps = [gap for gap in contest.gaps if gap.axis != "control"]
    if gaps:
        yield from _tested_on(gaps)
    else:
        row = contest.rows[0]
        score = score_text(row.score, row.ci_low, row.ci_high)
        yield f"{row.encoder} through {row.integration} scores {score}; {NOTHING_BESIDE}."
    yield from _along("encoder", contest)
    yield from _along("integration", contest)
    yield from _missing(contest)
    yield from _frontier(contest)
    yield from control_sentences(contest)


def _tested_on(gaps: Sequence[Gap]) -> Iterator[str]:
    """The most items and seeds of any pair; a pair with fewer says so itself."""
    found = [gap.difference for gap in gaps if gap.difference is not None]
    if found:
        seeds = max(len(one.by_seed) for one in found)
        told = "one seed: no claim of a difference" if seeds == 1 else f"{seeds} seeds"
        yield f"{max(one.n for one in found)} items, {told}."


def _along(axis: Axis, contest: Contest) -> Iterator[str]:
    """For each integration (or encoder) the best row against all others; those where all tie in one sentence."""
    same = "integration" if axis == "encoder" else "encoder"
    fixed = list(dict.fromkeys(getattr(row, same) for row in contest.rows))
    tied = []
    for value in fixed:
        among = [gap for gap in contest.gaps if gap.axis == axis and getattr(gap.better, same) == value]
        if among and value != fixed[0] and all(gap.verdict == "tied" for gap in among):
            tied.append(value)
        elif among:
            where = "" if len(fixed) == 1 else f"{PREPOSITIONS[axis]} {value}"
            if len(among) > 1 and all(gap.verdict == "tied" for gap in among):
                yield f"{f'{where} all' if where else 'All'} are tied: {NO_PAIR}."
            yield f"{f'{where}: ' if where else ''}{'; '.join(_against_best(axis, among, contest))}."
    if tied:
        yield f"{PREPOSITIONS[axis]} {listed(tied)}: no {axis} is shown to be better than another."


def _against_best(axis: Axis, gaps: Sequence[Gap], contest: Contest) -> Iterator[str]:
    tested = {row for gap in gaps for row in (gap.better, gap.worse)}
    best = next(row for row in contest.rows if row in tested)
    for alike in by_verdict([gap for gap in gaps if best in (gap.better, gap.worse)], best):
        yield verdict_sentence(axis, best, alike, contest)


def _missing(contest: Contest) -> Iterator[str]:
    """Cells of the grid of encoders and integrations that have no row."""
    encoders, integrations = ({row.encoder for row in contest.rows}, {row.integration for row in contest.rows})
    there = {place_of_row(row) for row in contest.rows}
    absent = [
        f"{encoder} through {integration}"
        for encoder, integration in sorted(product(encoders, integrations))
        if (encoder, integration) not in there
    ]
    if absent:
        yield f"Not there, and so in no comparison: {listed(absent)}."


def _frontier(contest: Contest) -> Iterator[str]:
    """What each cost buys; nothing where the best row is also the cheapest."""
    rows = {place_of_row(row): row for row in contest.rows}
    told = [
        f"{COST_NAMES[cost]}: {listed([_row_name(rows[place], contest) for place in places])}"
        for cost, places in contest.frontier.items()
        if len({getattr(rows[place], cost) for place in places}) > 1
    ]
    if told:
        yield f"On the frontier of score and {'; of score and '.join(told)}."


def _row_name(row: Row, contest: Contest) -> str:
    """As short as it can be in this contest."""
    if len({other.integration for other in contest.rows}) == 1:
        return row.encoder
    if len({other.encoder for other in contest.rows}) == 1:
        return row.integration
    return f"{row.encoder} through {row.integration}"
