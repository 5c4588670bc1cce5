"""Encoders over several tasks in words: which may be first, and what average ranks and wins say."""

from __future__ import annotations

from collections.abc import Iterator

from palprobe.report.overall import Overall
from palprobe.report.text import listed, p_text
from palprobe.stats.differences import ALPHA


def overall_sentence(overall: Overall) -> str:
    """The headline, who may be first by it, and how the other orders agree; "" where none could be computed."""
    told = [*_headline(overall), *_ranks(overall), *_pairs(overall)]
    return f"Through {overall.integration}: {'; '.join(told)}." if told else ""


def _headline(overall: Overall) -> Iterator[str]:
    if not overall.headline:
        return
    told = []
    for name in overall.names:
        found, (first, last) = overall.headline[name], overall.rank[name]
        place = f"place {first}" if first == last else f"places {first} to {last}"
        told.append(f"{name} {found.value:.3f} ({found.low:.2f} to {found.high:.2f}, {place})")
    yield f"of what lies between blind and perfect, on average over {listed(overall.tasks)}, {', '.join(told)}"
    may_lead = [name for name in overall.names if overall.rank[name][0] == 1]
    if overall.seeds == 1:
        yield "one seed: no claim of an order"
    elif len(may_lead) == 1:
        yield f"{may_lead[0]} is first, whichever tasks, seeds and items are drawn again"
    else:
        yield f"first may be {' or '.join(may_lead)}: tied"


def _ranks(overall: Overall) -> Iterator[str]:
    if overall.critical_difference is not None and overall.friedman_p is not None:
        told = ", ".join(f"{name} {rank:.2f}" for name, rank in overall.average_rank.items())
        yield f"average ranks {told} (Friedman {p_text(overall.friedman_p)})"
        yield f"less than {overall.critical_difference:.2f} apart they are tied (Nemenyi)"


def _pairs(overall: Overall) -> Iterator[str]:
    """Signed ranks over the tasks, which do not depend on who else is in the table."""
    apart = [f"{one} and {other}" for (one, other), p in overall.pair_p.items() if p < ALPHA]
    if apart:
        yield f"by signed ranks over the tasks these differ (Wilcoxon, Holm): {', '.join(apart)}"
    elif overall.pair_p:
        yield "by signed ranks over the tasks no two differ (Wilcoxon, Holm)"
