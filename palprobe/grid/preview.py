"""What a grid is about to do and what it can show, told before work begins."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from palprobe.evaluation.results import RESULT
from palprobe.files import digest
from palprobe.grid.asked import asked_of
from palprobe.grid.cells import refusals
from palprobe.recipe.rigor import NO_CONTROL
from palprobe.runs import Cell
from palprobe.stats.detectable import detectable_difference
from palprobe.tasks.kinds import KINDS
from palprobe.training.workspace import Plan, Workspace
from palprobe.types import Split

DISAGREEING = 0.2  # share of items on which just one of two probes is right; of such as are hard to tell apart
POWER = 0.8
OF_ONE_RUN = {"seed", "fold", "task", "control"}  # in an identity; runs that differ in them alone take as long
OF_ONE_ENCODER = OF_ONE_RUN | {"features"}  # and these nearly so
SECONDS_PER_MINUTE, SECONDS_PER_HOUR = 60, 3600


def preview(workspace: Workspace, cells: Sequence[Cell], plans: Sequence[Plan | None], split: Split) -> list[str]:
    """Lines for people.

    Args:
        workspace: of the complete recipe.
        cells: of the grid, controls among them.
        plans: in parallel; None where a blind cell cannot be planned yet.
        split: that is scored.
    """
    recipe = workspace.recipe
    lines = [_resolution(workspace, task, split) for task in recipe.tasks]
    lines += [f"{recipe.rigor}: {_seeds(recipe.training_seeds)}; controls: {', '.join(recipe.controls or ['none'])}"]
    lines += refusals(workspace)
    return [*lines, _work(workspace, cells, plans, split)]


def _seeds(seeds: Sequence[int]) -> str:
    return "one seed: no claim of a difference" if len(seeds) == 1 else f"{len(seeds)} seeds"


def _resolution(workspace: Workspace, task: str, split: Split) -> str:
    folds = [workspace.splits(task, fold) for fold in workspace.folds(task)]
    examples = [example for splits in folds for example in getattr(splits, split)]
    groups = {example.group for example in examples}
    if not groups:
        return f"{task}: no {split} items"
    smallest = detectable_difference(len(groups), disagreeing=DISAGREEING, power=POWER)
    among = "" if len(groups) == len(examples) else f" in {len(groups)} groups"
    if "accuracy" not in KINDS[workspace.task(task).kind].metrics:
        return f"{task}: {len(examples)} {split} items{among}"  # nothing is right or wrong, so nobody disagrees
    return (
        f"{task}: {len(examples)} {split} items{among}; of two probes that disagree on {DISAGREEING:.0%} of them, a "
        f"difference of {100 * smallest:.1f} points is found in {POWER:.0%} of cases, smaller ones less often"
    )


def _work(workspace: Workspace, cells: Sequence[Cell], plans: Sequence[Plan | None], split: Split) -> str:
    known = {plan.run.id: plan for plan in plans if plan is not None}
    unknown = sum(plan is None for plan in plans)
    asked = [(plan, one) for plan in known.values() for one in asked_of(workspace, plan, split)]
    to_train = [plan for plan in known.values() if not plan.run.finished]
    to_score = [plan for plan, one in asked if not one.is_there(plan)]
    kinds = Counter(cell.control for cell in cells)
    parts = ["compared" if kind == NO_CONTROL else kind for kind in kinds]
    listed = ", ".join(f"{count} {part}" for count, part in zip(kinds.values(), parts, strict=True))
    return (
        f"{len(cells)} cells ({listed}): {len(to_train) + unknown} of {len(known) + unknown} runs to train, "
        f"{len(to_score) + unknown} of {len(asked) + unknown} evaluations to make; "
        f"{_estimate(workspace.places.runs, to_train, to_score, unknown)}"
    )


@dataclass(frozen=True)
class Measured:
    """Seconds of earlier runs of each kind."""

    training: dict[str, list[float]]
    scoring: dict[str, list[float]]


def _estimate(runs: Path, to_train: Sequence[Plan], to_score: Sequence[Plan], unknown: int) -> str:
    """How long it takes without extraction, by the mean of earlier runs."""
    found = _measured(runs)
    total, missing = 0.0, 0
    for plans, seconds in ((to_train, found.training), (to_score, found.scoring)):
        for plan in plans:
            earlier = [seconds[kind] for kind in _kinds(plan.run.identity) if kind in seconds]
            total, missing = (total + fmean(earlier[0]), missing) if earlier else (total, missing + 1)
    if not total:
        return "time not known yet: no earlier run of the kind is there"
    least = f"at least {_duration(total)}" if missing or unknown else f"about {_duration(total)}"
    return f"{least} without extraction, by earlier runs of the kind"


def _measured(runs: Path) -> Measured:
    """What the finished runs of the folder took; what cannot be read tells nothing."""
    found = Measured({}, {})
    for path in sorted(runs.glob("*/train.json")):
        identity = _content(path.parent / "identity.json")
        trained = _seconds(_content(path), "train_seconds")
        results = [_content(result).get("cost") for result in path.parent.glob(f"eval/*/{RESULT}")]
        scored = [seconds for cost in results for seconds in _seconds(cost, "eval_seconds")]
        for kind in _kinds(identity):
            for seconds, values in ((found.training, trained), (found.scoring, scored)):
                if values:
                    seconds.setdefault(kind, []).extend(values)
    return found


def _kinds(identity: dict[str, Any]) -> list[str]:
    """Under what its time is known: with its own encoder first, else with any."""
    return [
        digest({key: value for key, value in identity.items() if key not in left_out})
        for left_out in (OF_ONE_RUN, OF_ONE_ENCODER)
    ]


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _seconds(content: Any, key: str) -> list[float]:
    value = content.get(key) if isinstance(content, dict) else None
    return [float(value)] if isinstance(value, int | float) and value >= 0 else []


def _duration(seconds: float) -> str:
    if seconds < SECONDS_PER_MINUTE:
        return f"{max(1, round(seconds))} s"
    if seconds < SECONDS_PER_HOUR:
        return f"{round(seconds / SECONDS_PER_MINUTE)} min"
    return f"{seconds / SECONDS_PER_HOUR:.1f} h"
