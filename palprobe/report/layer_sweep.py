"""The layers of an encoder against each other: the best one is chosen on validation and scored on test."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from rich.cells import cell_len

from palprobe.metrics import LOWER_IS_BETTER
from palprobe.recipe.rigor import NO_CONTROL
from palprobe.report.leaderboard import aggregate
from palprobe.report.results import EvalResult
from palprobe.report.rows import Row, headline_metric, row_of
from palprobe.report.tables import CONTINUED, GAP, NARROW, Table
from palprobe.report.text import score_text, visible
from palprobe.specs import parse_encoder, split_encoders

CHOSEN = "best"  # in place of a layer: the one that validation chose, in each fold for itself
MARK = "*"
WIDEST_CELL, LAYER_WIDTH = len("0.000 [0.00, 0.00]"), len("chosen")  # columns
CAPTION = (
    "Rows are layers, scores are on test. *: what validation chooses most often. `chosen`: what each fold's own "
    "validation items choose, on that fold's test items; the best number of a column is not what a choice gets."
)

Family = tuple[str, str, str, str, str]  # encoder without its layer, integration, LLM, what is trained, scoring


@dataclass(frozen=True, eq=False)
class LayerSweep:
    """Every layer of one encoder, through one integration into one LLM, on the tasks that were tested."""

    encoder: str  # without a layer
    integration: str
    llm: str
    trainable: str
    scoring: str
    layers: tuple[str, ...]  # in order
    tasks: tuple[str, ...]
    scores: Mapping[tuple[str, str], Row]  # (layer, task) → on test, over all folds and seeds, in the task's headline
    chosen: Mapping[str, Row]  # task → what the chosen layers score on test; absent where there is no validation
    picks: Mapping[str, Mapping[str, int]]  # task → layer → in how many folds validation chooses it

    @property
    def title(self) -> str:
        """What the sweep is of."""
        scoring = "" if self.scoring == "likelihood" else f", {self.scoring}"
        return f"{self.encoder}, layer by layer ({self.integration}, {self.llm}, {self.trainable}{scoring})"


def layer_sweeps(results: Iterable[EvalResult]) -> tuple[LayerSweep, ...]:
    """A sweep for each encoder of which two layers or more were tested, in the order of their names.

    Args:
        results: finished evaluations; those of validation choose, those of test are scored.
    """
    families: dict[Family, list[EvalResult]] = defaultdict(list)
    for result in results:
        cell = result.cell
        names = split_encoders(cell.encoder)
        if len(names) == 1 and result.control == NO_CONTROL and cell.layer.isdecimal():
            base = parse_encoder(cell.encoder).base
            families[base, cell.integration, cell.llm, cell.trainable, result.scoring].append(result)
    return tuple(
        _sweep(family, members)
        for family, members in sorted(families.items())
        if len({member.cell.layer for member in members}) > 1
    )


def sweep_tables(sweep: LayerSweep, width: int = NARROW) -> list[Table]:
    """A row per layer and a column per task, and what the chosen layers score, with its interval.

    Args:
        sweep: from `layer_sweeps`.
        width: columns of the terminal; tasks that do not fit go into a further table.
    """
    heads = {task: f"{task} {_metric(sweep, task)}".removesuffix(" accuracy") for task in sweep.tasks}
    tables, tasks, left = list[Table](), list[str](), width - LAYER_WIDTH
    for task in sweep.tasks:
        needed = max(cell_len(visible(heads[task])), WIDEST_CELL) + GAP
        if tasks and needed > left:
            tables.append(_table(sweep, tasks, heads, continued=bool(tables)))
            tasks, left = [], width - LAYER_WIDTH
        tasks.append(task)
        left -= needed
    return [*tables, _table(sweep, tasks, heads, continued=bool(tables))]


def sweep_lines(sweep: LayerSweep) -> list[str]:
    """For each task which layer validation chooses, what it scores on test, and what the last layer does."""
    lines = []
    for task, row in sweep.chosen.items():
        picks = sweep.picks[task]
        if len(picks) == 1:
            which = f"layer {next(iter(picks))}"
        else:
            folds = ", ".join(f"layer {layer} in {count}" for layer, count in picks.items())
            which = f"{folds} of {sum(picks.values())} folds"
        last = sweep.scores.get((sweep.layers[-1], task))
        beside = f"; the last of them, layer {sweep.layers[-1]}, {_interval(last)}" if last else ""
        lines.append(
            f"{sweep.title}: {task}: validation chooses {which}: {row.metric} {_interval(row)} on test{beside}."
        )
    return lines


def chosen_rows(sweeps: Iterable[LayerSweep]) -> list[Row]:
    """Rows of leaderboard.csv: `NAME@best`, layer `best`."""
    return [row for sweep in sweeps for row in sweep.chosen.values()]


def _table(sweep: LayerSweep, tasks: Sequence[str], heads: Mapping[str, str], *, continued: bool) -> Table:
    rows = [(layer, *(_cell(sweep, layer, task) for task in tasks)) for layer in sweep.layers]
    if sweep.chosen:
        rows.append(("chosen", *(_interval(sweep.chosen.get(task)) for task in tasks)))
    title = sweep.title + (CONTINUED if continued else "")
    caption = CAPTION if sweep.chosen else "Scores are on test."
    return Table(title, ("layer",), tuple(heads[task] for task in tasks), tuple(rows), caption)


def _sweep(family: Family, members: Sequence[EvalResult]) -> LayerSweep:
    layers = tuple(sorted({member.cell.layer for member in members}, key=int))
    by_task: dict[str, list[EvalResult]] = defaultdict(list)
    for member in members:
        by_task[member.cell.task].append(member)
    scores: dict[tuple[str, str], Row] = {}
    chosen: dict[str, Row] = {}
    picks: dict[str, dict[str, int]] = {}
    for task, own in sorted(by_task.items()):
        metric = headline_metric({score.metric for member in own for score in member.scores if score.part is None})
        for layer in layers:
            tests = [member for member in own if member.split == "test" and member.cell.layer == layer]
            if row := _row(tests, metric):
                scores[layer, task] = row
        choices = _choices(own, metric, layers)
        folds = {member.cell.fold for member in own if member.split == "test"}
        if choices and choices.keys() == folds:
            kept = [one for one in own if one.split == "test" and choices[one.cell.fold] == one.cell.layer]
            if row := _row(kept, metric):
                chosen[task] = replace(row, encoder=f"{family[0]}@{CHOSEN}", layer=CHOSEN, run_id="")
                counts = Counter(choices.values())
                picks[task] = {layer: counts[layer] for layer in layers if counts[layer]}
    tasks = tuple(task for task in sorted(by_task) if any((layer, task) in scores for layer in layers))
    return LayerSweep(*family, layers, tasks, scores, chosen, picks)


def _choices(members: Sequence[EvalResult], metric: str, layers: Sequence[str]) -> dict[int | None, str]:
    """Fold → the layer with the best mean over its seeds on validation; the earliest of equals.

    A fold of which some layer has no validation result for some seed chooses nothing.
    """
    found: dict[int | None, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for member in members:
        if member.split == "validation":
            for score in member.scores:
                if score.metric == metric and score.part is None:
                    found[member.cell.fold][member.cell.layer][member.cell.seed] = score.interval.value
    sign = -1 if metric in LOWER_IS_BETTER else 1
    choices = {}
    for fold, by_layer in found.items():
        seeds = {frozenset(by_seed) for by_seed in by_layer.values()}
        if len(seeds) == 1 and by_layer.keys() == set(layers):
            choices[fold] = max(layers, key=lambda layer: sign * fmean(by_layer[layer].values()))
    return choices


def _row(members: Sequence[EvalResult], metric: str) -> Row | None:
    """The row of one metric over folds and seeds."""
    if len(members) == 1:
        (member,) = members
        found = [score for score in member.scores if (score.metric, score.part) == (metric, None)]
        return row_of(member, found[0], member.cell.fold, member.cell.seed) if found else None
    return next(iter(aggregate(members, [], only=metric)), None) if members else None


def _metric(sweep: LayerSweep, task: str) -> str:
    return next(row.metric for (_, name), row in sweep.scores.items() if name == task)


def _cell(sweep: LayerSweep, layer: str, task: str) -> str:
    row = sweep.scores.get((layer, task))
    if row is None:
        return "-"
    picks = sweep.picks.get(task, {})
    most = max(picks, key=picks.__getitem__) if picks else None
    return f"{row.score:.3f}{MARK if layer == most else ' '}"


def _interval(row: Row | None) -> str:
    return "-" if row is None else score_text(row.score, row.ci_low, row.ci_high)
