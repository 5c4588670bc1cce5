"""Which integration the cells of an encoder favour: each pair tested on the same items, with what each costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, combinations, groupby

from palprobe.errors import ScoringError
from palprobe.report.leaderboard import Leaderboard, place_of
from palprobe.report.results import EvalResult
from palprobe.report.rows import HEADLINE_METRIC, NO_CONTROL, Row
from palprobe.report.tables import headline, varying_settings
from palprobe.report.text import BYTES_PER_MIB, count_text, number_text
from palprobe.stats import DRAWS
from palprobe.stats.paired import Pair, holm, pair
from palprobe.types import Prediction

ADVICE_TITLE = "Which integration"
ALPHA = 0.05
UNRECORDED = "machine not recorded"
ALIKE = 1.05  # times within this factor of each other are called the same
PLACE = ("encoder", "layer", "integration", "llm", "trainable", "task", "split", "scoring", "control")
FAMILY = ("encoder", "llm", "trainable", "split", "scoring")
ALWAYS_SHOWN = {"plits", "lal"}  # the pair that PAL is about
LEGEND = (
    "Points: accuracy on the items that both have, with its 95% interval; p: exact, by flipping whole recordings or "
    "speakers (McNemar's where each item is one), Holm over an encoder's pairs. Costs are of training, and "
    "vary with the machine's load."
)


@dataclass(frozen=True, eq=False)
class Side:
    """One integration of an encoder on a task: its row, and the results that the row is made of."""

    row: Row
    results: Sequence[EvalResult]

    @property
    def name(self) -> str:
        return self.row.integration

    @property
    def machines(self) -> set[str]:
        """The machines that its runs were trained on, or what little is known of them."""
        return {result.machine or f"{result.device}, {UNRECORDED}" for result in self.results}

    @cached_property
    def runs(self) -> dict[int, dict[str, Prediction]]:
        """Seed → item → prediction, folds pooled."""
        pooled: dict[int, dict[str, Prediction]] = {}
        for result in self.results:
            pooled.setdefault(result.cell.seed, {}).update({item.id: item for item in result.predictions})
        return pooled


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two integrations of an encoder on a task, the more accurate one first."""

    better: Side
    worse: Side
    pair: Pair
    p: float  # after Holm

    def favoured(self, low: float) -> bool:
        """Whether the better one is: by the test, by its interval's lower end, and under every seed."""
        return self.p < ALPHA and low > 0 and self.seeds_agree

    @property
    def seeds_agree(self) -> bool:
        return min(self.pair.by_seed) > 0


def advice_lines(board: Leaderboard, results: Sequence[EvalResult], *, draws: int = DRAWS) -> list[str]:
    """For each encoder and task the best integration against every other, as sentences; none where there is but one.

    Args:
        board: from `leaderboard`, of these results.
        results: finished evaluations.
        draws: resamples of an interval.
    """
    lines, varying = [], varying_settings(board)
    for sides in _families(board, results):
        comparisons, notes = _comparisons(sides)
        lines += [_line(comparison, varying, draws) for comparison in _shown(comparisons)]
        lines += notes
    return lines


def _families(board: Leaderboard, results: Sequence[EvalResult]) -> Iterator[list[Side]]:
    """All cells of an encoder that differ in integration or task, a run under two names once."""
    members: dict[tuple[str, ...], list[EvalResult]] = {}
    for result in results:
        members.setdefault(place_of(result), []).append(result)
    rows = [s.row for s in headline(board) if s.row.metric == HEADLINE_METRIC and s.row.control == NO_CONTROL]
    for _, family in groupby(sorted(rows, key=_family), key=_family):
        found: dict[frozenset[str], Side] = {}
        for row in family:
            side = Side(row, members[tuple(getattr(row, name) for name in PLACE)])
            found.setdefault(frozenset(result.run_id for result in side.results), side)
        yield list(found.values())


def _family(row: Row) -> tuple[str, ...]:
    return tuple(getattr(row, name) for name in FAMILY)


def _comparisons(sides: Sequence[Side]) -> tuple[list[Comparison], list[str]]:
    """Every pair on each task, Holm over all of them, as the best one is chosen by looking at all; and what failed."""
    pairs: list[tuple[Side, Side, Pair]] = []
    notes = []
    for one, other in combinations(sides, 2):
        if one.row.task != other.row.task:
            continue
        try:
            outcome = _paired(one.runs, other.runs)
        except ScoringError as error:
            notes.append(f"{one.row.encoder}, {one.row.task}: {one.name} and {other.name} are not compared. {error}")
            continue
        if outcome.value < 0:
            one, other, outcome = other, one, Pair(-outcome.gains, outcome.groups)
        pairs.append((one, other, outcome))
    adjusted = holm([outcome.p() for _, _, outcome in pairs])
    return [Comparison(*found, p) for found, p in zip(pairs, adjusted, strict=True)], notes


def _paired(one: Mapping[int, Mapping[str, Prediction]], other: Mapping[int, Mapping[str, Prediction]]) -> Pair:
    """The items that both have under every seed that both have."""
    seeds = sorted(one.keys() & other.keys())
    if not seeds:
        raise ScoringError("They have no seed in common.")
    shared = sorted(set.intersection(*(set(side[seed]) for side in (one, other) for seed in seeds)))
    first, second = ([[side[seed][item] for item in shared] for seed in seeds] for side in (one, other))
    return pair(first, second)


def _shown(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Task by task those with the most accurate integration, and plits beside lal in any case."""
    best: dict[str, Side] = {}
    for side in chain.from_iterable((one.better, one.worse) for one in comparisons):
        if side.row.task not in best or side.row.score > best[side.row.task].row.score:
            best[side.row.task] = side
    shown = [
        one
        for one in comparisons
        if best[one.better.row.task] in (one.better, one.worse) or {one.better.name, one.worse.name} == ALWAYS_SHOWN
    ]
    return sorted(shown, key=lambda one: one.better.row.task)


def _line(comparison: Comparison, varying: Sequence[str], draws: int) -> str:
    better, worse, outcome = comparison.better, comparison.worse, comparison.pair
    interval = outcome.interval(draws=draws)
    where = ", ".join([better.row.encoder, *_settings(better.row, varying), better.row.task])
    points = f"{100 * outcome.value:+.1f} points"
    bounds = f"{100 * interval.low:.1f} to {100 * interval.high:.1f}, {_p_text(comparison.p)}"
    if comparison.favoured(interval.low):
        verdict = f"{better.name}: {points} over {worse.name} ({bounds})"
    else:
        verdict = f"no evidence either way: {better.name} {points} over {worse.name} ({bounds})"
        if comparison.p < ALPHA and not comparison.seeds_agree:
            verdict += "; the seeds disagree"
    items = len(outcome.groups)
    partly = f" on the {items} items that both have" if items < max(better.row.n, worse.row.n) else ""
    seeds = len(outcome.gains)
    claim = "one seed: no claim beyond these items" if seeds == 1 else f"{seeds} seeds"
    return f"{where}: {verdict}{partly}; {_costs(better, worse)}; {claim}"


def _settings(row: Row, varying: Sequence[str]) -> list[str]:
    return [f"{name} {getattr(row, name)}" for name in FAMILY if name in varying]


def _p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def _costs(better: Side, worse: Side) -> str:
    """'2.1x faster, 35 MiB less' of the first; times and memory of one machine only."""
    found = []
    if audio := _apart(better.row.audio_tokens, worse.row.audio_tokens):
        found.append(f"{number_text(audio[0])} audio tokens against {number_text(audio[1])}")
    if trained := _apart(better.row.trainable_parameters, worse.row.trainable_parameters):
        found.append(f"{count_text(int(trained[0]))} parameters against {count_text(int(trained[1]))}")
    machines = better.machines | worse.machines
    if len(machines) > 1:
        return ", ".join([f"times of several machines are not compared ({'; '.join(sorted(machines))})", *found])
    unsure = f" ({UNRECORDED})" if UNRECORDED in next(iter(machines)) else ""
    return ", ".join([_speed(better.row, worse.row) + unsure, *_memory(better, worse), *found])


def _apart(one: float | None, other: float | None) -> tuple[float, float] | None:
    """Both, if they are known and differ."""
    return (one, other) if one is not None and other is not None and one != other else None


def _speed(one: Row, other: Row) -> str:
    if not one.train_seconds or not other.train_seconds:
        return "time not known"
    ratio = other.train_seconds / one.train_seconds
    if 1 / ALIKE < ratio < ALIKE:
        return "as fast"
    return f"{ratio:.1f}x faster" if ratio > 1 else f"{1 / ratio:.1f}x slower"


def _memory(better: Side, worse: Side) -> list[str]:
    """How much less or more the first took at its peak, where both were measured in one way."""
    methods = {result.cost.peak_memory_method for side in (better, worse) for result in side.results}
    peaks = _apart(better.row.peak_memory_bytes, worse.row.peak_memory_bytes)
    if peaks is None or len(methods) > 1:
        return []
    difference = round((peaks[0] - peaks[1]) / BYTES_PER_MIB)
    return [f"{abs(difference)} MiB {'more' if difference > 0 else 'less'}"] if difference else []
