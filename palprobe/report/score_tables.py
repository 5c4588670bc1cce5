"""A table of scores for each task, with its groups and costs, and below it what stands beside each score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rich.cells import cell_len

from palprobe.metrics import LOWER_IS_BETTER, NOTES
from palprobe.report.contest import Contest, Place, place_of_row
from palprobe.report.leaderboard import Leaderboard, Summary
from palprobe.report.overall_tables import overall_tables
from palprobe.report.rows import Row
from palprobe.report.standings import Standings
from palprobe.report.tables import (
    ABOVE,
    CONTINUED,
    COST_LEGEND,
    GAP,
    NARROW,
    TEST_SETTINGS,
    Shown,
    Table,
    fitting,
    name_heads,
    names_of,
    names_width,
    part_tables,
    seeds_caption,
    shown_rows,
)
from palprobe.report.text import UNKNOWN, count_text, duration_text, mebibytes_text, number_text, score_text

GROUP_LEGEND = (
    "group: rows that share a letter are tied: what is between them may be chance, or does not hold under every seed. "
    "Small letters compare encoders through one integration, capitals integrations of one encoder."
)
BESIDE_LEGEND = (
    "blind: trained without audio; shuffled, silence, gaussian: the same probe on another clip's audio, on silence, on "
    "noise in place of features; verbaliser: class names dealt out anew; floor: logmel; random: the untrained encoder; "
    "linear, knn: on the same features without an LLM. *: the probe is better than this, tested item by item."
)
LEFT_OUT: tuple[tuple[str, ...], ...] = ((), ("params",), ("params", "MiB"))
ROOM_LEGEND = "Where there is no room for params or MiB, leaderboard.csv has them."
NO_LLM_TITLE = "without an LLM, on pooled features"
WIDEST_SCORE = "0.000*"


def all_tables(board: Leaderboard, standings: Standings, width: int = NARROW) -> list[Table]:
    """Every table, in the order in which they are read: task by task, then over all tasks.

    Args:
        board: from `leaderboard`.
        standings: from `standings`, of the same board.
        width: columns of the terminal; what does not fit goes into a further table.
    """
    shown = shown_rows(board, standings)
    over_all = overall_tables(standings.overall, shown.varying)
    return [*score_tables(board, shown, width), *part_tables(board, shown, width), *over_all]


def score_tables(board: Leaderboard, shown: Shown, width: int = NARROW) -> list[Table]:
    """For each task a row per encoder and integration, best first; probes without an LLM and lone controls apart."""
    summaries = {summary.row: summary for summary in board.summaries}
    tables = []
    for (title, pooled), among in _by_test(shown):
        rows = _best_first([row for contest in among for row in contest.rows])
        varying = () if pooled else shown.varying
        letters = {row: contest.letters.get(place_of_row(row), "") for contest in among for row in contest.rows}
        notes = list(dict.fromkeys(note for contest in among for note in _notes(contest)))
        name = f"{title}, {NO_LLM_TITLE}" if pooled else title
        tables.append(_score_table(name, rows, varying, letters, [summaries[row] for row in rows], notes, width))
        tables += [table for contest in among for table in _beside_tables(title, contest, varying, width)]
    for title, lone in groupby(sorted(shown.alone, key=lambda row: _title(row, shown)), lambda row: _title(row, shown)):
        rows = list(lone)
        tables.append(_score_table(title, rows, shown.varying, {}, [summaries[row] for row in rows], [], width))
    return tables


def _by_test(shown: Shown) -> Iterator[tuple[tuple[str, bool], list[Contest]]]:
    """Contests of one task, split and scoring, under its title: those through an LLM first, then those without."""
    kinds = [((_title(contest.rows[0], shown), False), contest) for contest in shown.contests]
    kinds += [((_title(contest.rows[0], shown), True), contest) for contest in shown.pooled]
    kinds.sort(key=lambda kind: kind[0])
    for key, group in groupby(kinds, lambda kind: kind[0]):
        yield key, [contest for _, contest in group]


def _title(row: Row, shown: Shown) -> str:
    settings = [f"{name} {getattr(row, name)}" for name in TEST_SETTINGS if name in shown.varying]
    return ", ".join([row.task, *settings])


def _best_first(rows: Sequence[Row]) -> list[Row]:
    sign = 1 if rows[0].metric in LOWER_IS_BETTER else -1
    return sorted(rows, key=lambda row: (sign * row.score, row.encoder, row.integration, row.llm, row.trainable))


def _score_table(
    title: str,
    rows: Sequence[Row],
    varying: Sequence[str],
    letters: Mapping[Row, str],
    summaries: Sequence[Summary],
    notes: Sequence[str],
    width: int,
) -> Table:
    """Score with interval, group, items, chance and cost; what is the same in all rows stands in the title."""
    items = {"n": [str(row.n) for row in rows], "chance": [number_text(row.chance) for row in rows]}
    same = [f"{head} {values[0]}" for head, values in items.items() if len(set(values)) == 1]
    columns = {
        f"{rows[0].metric} [95% CI]": [score_text(row.score, row.ci_low, row.ci_high) for row in rows],
        "group": [letters.get(row, "") for row in rows] if any(letters.values()) else [],
        **{head: values for head, values in items.items() if len(set(values)) > 1},
        "params": [count_text(row.trainable_parameters) for row in rows],
        "tokens": [number_text(row.audio_tokens) for row in rows],
        "train": [duration_text(row.train_seconds) for row in rows],
        "MiB": [mebibytes_text(row.peak_memory_bytes) for row in rows],
    }
    columns = {head: values for head, values in columns.items() if values}
    names = [names_of(row, varying) for row in rows]
    room = width - names_width([name_heads(varying), *names]) + GAP
    dropped = _without_room(room, columns)
    columns = {head: values for head, values in columns.items() if head not in dropped}
    cells = tuple((*name, *values) for name, *values in zip(names, *columns.values(), strict=True))
    told = f"{title} ({', '.join(same)})" if same else title
    lower = ["Lower is better."] if rows[0].metric in LOWER_IS_BETTER else []
    about = [NOTES[rows[0].metric]] if rows[0].metric in NOTES else []
    caption = " ".join([seeds_caption(summaries), _rates_caption(rows), *lower, *about, *map(_sentence, notes)])
    legends = (*([GROUP_LEGEND] if "group" in columns else []), COST_LEGEND, *([ROOM_LEGEND] if dropped else []))
    return Table(told, name_heads(varying), tuple(columns), cells, caption, legends=legends)


def _without_room(room: int, columns: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Costs to leave out so that names stay whole: as few as do, and none where even that is not enough."""
    needed = {head: GAP + max(map(cell_len, (head, *values))) for head, values in columns.items()}
    for dropped in LEFT_OUT:
        if sum(needed.values()) - sum(needed[head] for head in dropped) <= room:
            return dropped
    return ()


def _notes(contest: Contest) -> list[str]:
    one = contest.one_answer
    told = [] if one is None else [f"every item has the same answer, {one}: no score on it tells anything"]
    return [*told, *contest.notes]


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}."


def _beside_tables(title: str, contest: Contest, varying: Sequence[str], width: int) -> list[Table]:
    """The score of each row beside those of its controls; none where these are rows of the same table themselves."""
    if all(row in contest.rows for by in contest.beside.values() for row in by.values()):
        return []
    names = [(*names_of(row, varying), f"{row.score:.3f}") for row in contest.rows]
    heads = (*name_heads(varying), "score")
    tables = []
    for columns in fitting(list(contest.beside), WIDEST_SCORE, width - names_width([heads, *names])):
        rows = [
            (*name, *(_score_beside(contest, column, place_of_row(row)) for column in columns))
            for name, row in zip(names, contest.rows, strict=True)
        ]
        if columns:
            told = f"{title}: beside its controls{'' if columns[0] == next(iter(contest.beside)) else CONTINUED}"
            tables.append(Table(told, heads, tuple(columns), tuple(rows), "", True, (BESIDE_LEGEND,)))
    return tables


def _score_beside(contest: Contest, name: str, place: Place) -> str:
    other = contest.beside[name].get(place)
    if other is None:
        return UNKNOWN
    better = any(
        gap.verdict == "better" and place_of_row(gap.better) == place and gap.worse == other for gap in contest.gaps
    )
    return f"{other.score:.3f}{ABOVE if better else ''}"


def _rates_caption(rows: Sequence[Row]) -> str:
    """Audio tokens per second: one number, or one for each encoder."""
    rates = {row.encoder: number_text(row.tokens_per_second) for row in rows}
    if len(set(rates.values())) == 1:
        return f"Audio tokens per second: {next(iter(rates.values()))}."
    return f"Audio tokens per second: {', '.join(f'{encoder} {rate}' for encoder, rate in rates.items())}."
