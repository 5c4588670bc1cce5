"""Encoders over several tasks as a table: headline, range of ranks, average rank, strength."""

from __future__ import annotations

from collections.abc import Sequence

from palprobe.report.overall import Overall
from palprobe.report.tables import MODEL_SETTINGS, Table, name_heads
from palprobe.report.text import UNKNOWN, listed, p_text, score_text

OVERALL_LEGEND = (
    "score: mean over the tasks of what lies between the blind probe (0) and no error (1), chance where there is no "
    "blind probe; place: 95% range of ranks by it, as seeds, groups and, from five on, tasks are drawn again; rank: "
    "mean over the tasks; wins: Bradley-Terry, log odds of beating an average one on a task; incomplete tables too."
)


def overall_tables(overalls: Sequence[Overall], varying: Sequence[str]) -> list[Table]:
    """One for all integrations and LLMs, whose encoders are ranked apart; none where there are no several tasks.

    Args:
        overalls: the orders.
        varying: settings that differ between rows, and so must stand in each.
    """
    if not overalls:
        return []
    models = tuple(name for name in MODEL_SETTINGS if name in varying)
    rows = [_line(overall, name, models) for overall in overalls for name in overall.names]
    captions = list(dict.fromkeys(_caption(overall) for overall in overalls))
    if len(captions) > 1:
        captions = [f"{overall.integration}: {_caption(overall)}" for overall in overalls]
    heads = ("score [95% CI]", "place", "rank", "wins")
    caption = " ".join(filter(None, captions))
    return [Table("Over all tasks", name_heads(models), heads, tuple(rows), caption, legends=(OVERALL_LEGEND,))]


def _line(overall: Overall, name: str, models: Sequence[str]) -> tuple[str, ...]:
    interval = overall.headline.get(name)
    return (
        name,
        overall.integration,
        *(getattr(overall, model) for model in models),
        score_text(interval.value, interval.low, interval.high) if interval else UNKNOWN,
        _places(overall, name),
        f"{overall.average_rank[name]:.2f}" if name in overall.average_rank else UNKNOWN,
        f"{overall.strength[name]:+.2f}" if name in overall.strength else UNKNOWN,
    )


def _places(overall: Overall, name: str) -> str:
    if name not in overall.rank:
        return UNKNOWN
    first, last = overall.rank[name]
    return str(first) if first == last else f"{first}-{last}"


def _caption(overall: Overall) -> str:
    told = [f"Tasks: {listed(overall.tasks)}."] if overall.tasks else []
    if overall.seeds == 1:
        told.append("One seed: no claim of an order.")
    if overall.critical_difference is not None and overall.friedman_p is not None:
        apart = f"Ranks less than {overall.critical_difference:.2f} apart are tied (Nemenyi)"
        told.append(f"{apart}; Friedman {p_text(overall.friedman_p)}.")
    return " ".join([*told, *(f"{note[:1].upper()}{note[1:]}." for note in overall.notes)])
