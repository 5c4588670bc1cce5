"""What a reader should know of scores that are not there, and of classes that are not in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from palprobe.report.results import EvalResult


def remarks(results: Iterable[EvalResult]) -> list[str]:
    """Sentences for each task: metrics without a score, with the reason, and classes that could not be ranked."""
    by_task: dict[str, list[EvalResult]] = defaultdict(list)
    for result in results:
        by_task[result.cell.task].append(result)
    return [line for task in sorted(by_task) for line in _of_task(task, by_task[task])]


def _of_task(task: str, results: list[EvalResult]) -> list[str]:
    reasons: dict[str, list[str]] = defaultdict(list)  # of several results, one may lack what another has
    for result in results:
        for metric, reason in result.not_computed.items():
            if reason not in reasons[metric]:
                reasons[metric].append(reason)
    told = [f"{metric} ({'; '.join(why).rstrip('.')})" for metric, why in reasons.items()]
    lines = [f"{task}: not computed: {', '.join(told)}."] if told else []
    left_out = max(result.classes_left_out for result in results)
    if left_out:
        lines.append(
            f"{task}: up to {left_out} classes of a test set are not in its map: no clip has them, or every clip."
        )
    return lines
