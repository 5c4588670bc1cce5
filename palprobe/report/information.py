"""Bits beside scores: the code length and V-information of every cell that has the runs which they take."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from palprobe.errors import ScoringError
from palprobe.recipe.rigor import BLIND, NO_CONTROL
from palprobe.report.results import Cell, EvalResult
from palprobe.report.rows import Row, one_or_all, row_of, with_shared_costs
from palprobe.stats.information import OnlineCode, code_length, v_information
from palprobe.types import BLOCK, Interval, Prediction, Score

CODE_LENGTH, COMPRESSION, V_INFORMATION = "code_length_bits", "compression", "v_information_bits"  # beside METRICS
ALIAS = re.compile(r"\(= (.+?)\)")  # `pal (= lal)` is the lal cell, and so is its blind probe

Items = Mapping[str, Prediction]
Run = tuple[int, int | None]  # seed and fold


@dataclass(frozen=True, order=True)
class Compared:
    """What the runs of one cell share, over seeds and folds."""

    encoder: str
    layer: str
    integration: str
    llm: str
    trainable: str
    task: str
    scoring: str

    @classmethod
    def of(cls, result: EvalResult) -> Compared:
        cell = result.cell
        names = (cell.encoder, cell.layer, cell.integration, cell.llm, cell.trainable, cell.task)
        return cls(*names, result.scoring)

    @property
    def unheard(self) -> Compared:
        """The same of whichever encoder: what it shares with its blind probe."""
        alias = ALIAS.search(self.integration)
        return replace(self, encoder="", layer="", integration=alias[1] if alias else self.integration)


def run_of(cell: Cell) -> Run:
    return cell.seed, cell.fold


def information_rows(results: Iterable[EvalResult], *, draws: int) -> tuple[list[Row], list[str]]:
    """Rows of bits, of each run and over all runs of a cell, and what could not be computed.

    Args:
        results: finished evaluations, the blind ones and those of portions among them.
        draws: of intervals.
    """
    tested: dict[Compared, dict[Run, EvalResult]] = defaultdict(dict)
    blind: dict[Compared, dict[Run, EvalResult]] = defaultdict(dict)
    blocks: dict[Compared, dict[Run, list[EvalResult]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        cell, run = Compared.of(result), run_of(result.cell)
        if result.split == BLOCK:
            blocks[cell][run].append(result)
        elif result.split == "test" and result.control == NO_CONTROL:
            tested[cell][run] = result
        elif result.split == "test" and result.control == BLIND:
            blind[cell.unheard][run] = result
    rows: list[Row] = []
    notes: list[str] = []
    for cell in sorted(tested):
        pairs = [(one, blind[cell.unheard][run]) for run, one in tested[cell].items() if run in blind[cell.unheard]]
        rows += _v_rows(pairs, draws)
    for cell in sorted(blocks):
        rows += _code_rows(list(blocks[cell].values()), draws, notes)
    return rows, notes


def _v_rows(pairs: Sequence[tuple[EvalResult, EvalResult]], draws: int) -> list[Row]:
    """Of each run, and where there are several, over all: folds pooled, items averaged over seeds; whole and parts."""
    told = [pair for pair in pairs if all(item.scores for result in pair for item in result.predictions)]
    parts = sorted({item.part for heard, _ in told for item in heard.predictions if item.part is not None})
    groups = [*([pair] for pair in told), *([told] if len(told) > 1 else [])]
    return [row for group in groups for part in (None, *parts) if (row := _v_row(group, part, draws))]


def _v_row(pairs: Sequence[tuple[EvalResult, EvalResult]], part: str | None, draws: int) -> Row | None:
    seeds: dict[int, tuple[dict[str, Prediction], dict[str, Prediction]]] = {}
    for pair in pairs:
        pooled = seeds.setdefault(pair[0].cell.seed, ({}, {}))
        for items, result in zip(pooled, pair, strict=True):
            items.update({item.id: item for item in result.predictions if part in (None, item.part)})
    try:
        interval, n = v_information(list(seeds.values()), draws=draws)
    except ScoringError:  # of one fold without such items
        return None
    return _row([heard for heard, _ in pairs], V_INFORMATION, interval, n, part)


def _code_rows(runs: Sequence[Sequence[EvalResult]], draws: int, notes: list[str]) -> list[Row]:
    """The code length and compression of each run, and over all."""
    codes: list[tuple[Sequence[EvalResult], OnlineCode]] = []
    rows: list[Row] = []
    for blocks in runs:
        try:
            codes.append((blocks, online_code(blocks)))
            rows += _code_row(codes[-1:], draws)
        except ScoringError as error:
            notes.append(f"{blocks[0].cell.encoder}, {blocks[0].cell.integration}, {blocks[0].cell.task}: {error}")
    return rows if len(codes) < 2 or not rows else [*rows, *_code_row(codes, draws)]


def online_code(blocks: Sequence[EvalResult]) -> OnlineCode:
    """The code that the blocks of one run's portions are, from the smallest portion to the whole split.

    Raises:
        ScoringError: a portion is missing, so that some answers are told by no probe.
    """
    by_size = {_size(block): block for block in blocks}
    end = min(by_size)
    first, later = by_size[end].portion, list[tuple[Prediction, ...]]()
    while end in by_size:
        later.append(by_size.pop(end).predictions)
        end += len(later[-1])
    if first is None or first.guess_bits is None or end != first.whole:
        raise ScoringError(
            f"no code length: its blocks reach {end} training examples of {0 if first is None else first.whole}. "
            "Run the portions that are missing."
        )
    return OnlineCode(first.examples, first.guess_bits, tuple(later))


def _size(block: EvalResult) -> int:
    return 0 if block.portion is None else block.portion.examples


def _code_row(codes: Sequence[tuple[Sequence[EvalResult], OnlineCode]], draws: int) -> list[Row]:
    found = code_length([code for _, code in codes], draws=draws)
    blocks = [block for listed, _ in codes for block in listed]
    dropped = sum(block.counts.dropped for block in codes[0][0])
    rows = [
        with_shared_costs(_row(blocks, metric, interval, found.items), blocks)
        for metric, interval in ((CODE_LENGTH, found.bits), (COMPRESSION, found.compression))
    ]
    num_found = found.items + dropped
    return [replace(row, control=NO_CONTROL, split="train", n_found=num_found, n_dropped=dropped) for row in rows]


def _row(members: Sequence[EvalResult], metric: str, interval: Interval, n: int, part: str | None = None) -> Row:
    fold = one_or_all({member.cell.fold for member in members})
    seed = one_or_all({member.cell.seed for member in members})
    row = row_of(members[0], Score(metric, part, interval, n, 0, None), fold, seed)
    return row if len(members) == 1 else with_shared_costs(row, members)
