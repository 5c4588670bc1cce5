"""Results → contests: which rows may be compared, and all pairs of them tested."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, groupby

from palprobe.metrics import LOWER_IS_BETTER
from palprobe.recipe.rigor import BLIND, NO_CONTROL
from palprobe.report.budget import budget_notes
from palprobe.report.contest import Axis, Contest, Gap, Place, place_of_row
from palprobe.report.controls import EVALUATED, NO_LLM, POOLED, beside
from palprobe.report.gaps import gaps_of
from palprobe.report.sides import Side
from palprobe.stats.letters import letters
from palprobe.stats.pareto import frontier

COSTS = ("train_seconds", "peak_memory_bytes", "audio_tokens")
TESTED_BESIDE = (BLIND, *EVALUATED, *POOLED)  # the others are rows of the contest themselves, or of other answers
TEST = ("task", "split", "scoring")
UNRECORDED = "machine not recorded"
MODEL = ("llm", "trainable")


def contests_of(sides: Sequence[Side], *, draws: int) -> tuple[Contest, ...]:
    """One for each task, split, scoring, LLM and trained parts; those without an LLM after the others.

    Args:
        sides: all rows of all tasks, controls too.
        draws: of a test that is not exact.
    """
    found = []
    for among in _groups(sides, TEST):
        plain = [side for side in among if side.row.control == NO_CONTROL]
        groups = [_best_first(rows) for rows in _groups(plain, MODEL)]
        found += [_contest(rows, among, draws) for rows in sorted(groups, key=lambda rows: rows[0].row.llm == NO_LLM)]
    return tuple(found)


def _groups(sides: Sequence[Side], names: Sequence[str]) -> Iterator[list[Side]]:
    def key(side: Side) -> tuple[str, ...]:
        return tuple(getattr(side.row, name) for name in names)

    for _, members in groupby(sorted(sides, key=key), key=key):
        yield list(members)


def _best_first(sides: Sequence[Side]) -> list[Side]:
    sign = 1 if sides[0].row.metric in LOWER_IS_BETTER else -1
    return sorted(sides, key=lambda side: (sign * side.row.score, side.place))


def _contest(sides: Sequence[Side], among: Sequence[Side], draws: int) -> Contest:
    row = sides[0].row
    around = beside(sides, among)
    once = _once(sides)
    gaps = [gap for axis in ("encoder", "integration") for gap in _along(axis, once, draws)]
    for name in TESTED_BESIDE:
        gaps += gaps_of(
            "control",
            [(side, around[name][side.place]) for side in once if side.place in around.get(name, {})],
            draws=draws,
        )
    chances = {side.row.chance for side in sides}
    return Contest(
        task=row.task,
        metric=row.metric,
        split=row.split,
        scoring=row.scoring,
        llm=row.llm,
        trainable=row.trainable,
        rows=tuple(side.row for side in sides),
        letters=_letters(sides, once, gaps),
        gaps=tuple(gaps),
        beside={name: {place: side.row for place, side in by.items()} for name, by in around.items()},
        frontier=_frontiers(sides),
        chance=chances.pop() if len(chances) == 1 else None,
        one_answer=_one_answer(sides),
        notes=(*budget_notes(sides), *_machines(sides)),
    )


def _once(sides: Sequence[Side]) -> list[Side]:
    """Without rows that are another's run under a second name, as `pal (= lal)` is that of `lal`."""
    return list({side.run_ids: side for side in reversed(sides)}.values())[::-1]


def _along(axis: Axis, sides: Sequence[Side], draws: int) -> list[Gap]:
    """Every pair of rows that differ in this alone."""
    same = "integration" if axis == "encoder" else "encoder"
    pairs = [pair for pair in combinations(sides, 2) if len({getattr(side.row, same) for side in pair}) == 1]
    return gaps_of(axis, pairs, draws=draws)


def _letters(sides: Sequence[Side], once: Sequence[Side], gaps: Sequence[Gap]) -> dict[Place, str]:
    """Small letters for encoders through the same integration, capitals for integrations of the same encoder."""
    found: dict[Place, list[str]] = {}
    for axis, same in (("encoder", 1), ("integration", 0)):
        for fixed in dict.fromkeys(side.place[same] for side in once):
            among = [gap for gap in gaps if gap.axis == axis and place_of_row(gap.better)[same] == fixed]
            if any(gap.verdict in ("better", "tied") for gap in among):
                for place, letter in _letters_among(once, among, same, fixed).items():
                    found.setdefault(place, []).append(letter.upper() if axis == "integration" else letter)
    first = {side.run_ids: side.place for side in once}  # a run under a second name has the letters of the first
    joined = {side.place: " ".join(found.get(first[side.run_ids], [])) for side in sides}
    return {place: text for place, text in joined.items() if text}


def _letters_among(once: Sequence[Side], gaps: Sequence[Gap], same: int, fixed: str) -> dict[Place, str]:
    order = {str(number): side.place for number, side in enumerate(once) if side.place[same] == fixed}
    names = {place: name for name, place in order.items()}
    differ = [
        frozenset(names[place_of_row(row)] for row in (gap.better, gap.worse))
        for gap in gaps
        if gap.verdict == "better"
    ]
    return {order[name]: letter for name, letter in letters(list(order), differ).items()}


def _frontiers(sides: Sequence[Side]) -> dict[str, tuple[Place, ...]]:
    """For each cost that was measured in one way for all: the rows that no other beats in score at no higher cost."""
    sign = -1 if sides[0].row.metric in LOWER_IS_BETTER else 1
    scores = {side.place: sign * side.row.score for side in sides}
    found = {}
    for cost in COSTS:
        known = {side.place: (float(value),) for side in sides if (value := getattr(side.row, cost)) is not None}
        if known and comparable(cost, sides):
            found[cost] = frontier(scores, known)
    return found


def comparable(cost: str, sides: Sequence[Side]) -> bool:
    """Whether it was measured in one way: seconds on one machine, memory by one method."""
    results = [result for side in sides for result in side.results]
    if cost == "train_seconds":
        return len({result.machine or result.device for result in results}) == 1
    return cost != "peak_memory_bytes" or len({result.cost.peak_memory_method for result in results}) == 1


def _machines(sides: Sequence[Side]) -> list[str]:
    """Why there are no seconds to compare, or how far they can be trusted."""
    found = sorted({result.machine or UNRECORDED for side in sides for result in side.results})
    if not comparable("train_seconds", sides):
        return [f"times of several machines are not compared: {'; '.join(found)}"]
    return [f"times: {UNRECORDED}"] if found == [UNRECORDED] and len(sides) > 1 else []


def _one_answer(sides: Sequence[Side]) -> str | None:
    """The answer to every item, if there is but one."""
    answers = {item.all_references for side in sides for run in side.runs.values() for item in run.values()}
    return " or ".join(answers.pop()) if len(answers) == 1 else None
