"""Pairs of rows in words: which is better, by how much, with which certainty, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence

from palprobe.metrics import LOWER_IS_BETTER
from palprobe.report.contest import Axis, Contest, Gap
from palprobe.report.gaps import CHANCE, ONE_SEED, SAME_ANSWERS
from palprobe.report.rows import Row
from palprobe.report.text import duration_text, listed, mebibytes_text, p_text

POINTS = frozenset({"accuracy", "balanced_accuracy", "macro_f1", "map"})  # shares, told in hundredths
ALIKE = 1.05  # seconds and bytes within this factor of each other are called the same
IN_FULL = 3  # pairs of each verdict; more are named alone
UNSAID = (CHANCE, ONE_SEED)  # reasons that stand in the sentence anyway


def verdict_sentence(axis: Axis, best: Row, gaps: Sequence[Gap], contest: Contest) -> str:
    """What is known of one row against others, all of one verdict, without a stop.

    'beats is better than mfcc by 2.1 points (0.9 to 3.4, p 0.004; 57s against 76s) and than logmel by …'

    Args:
        axis: what they differ in.
        best: one side of every pair.
        gaps: pairs of one verdict and one direction.
        contest: that they are of.
    """
    name, verdict = getattr(best, axis), gaps[0].verdict
    others = [getattr(other_side(gap, best), axis) for gap in gaps]
    if verdict == "not compared":
        reasons = dict.fromkeys(gap.reason.rstrip(".") for gap in gaps)
        return f"{name} is not compared with {listed(others)}: {'; '.join(reasons)}"
    told = [f"{other} {amount_words(gap, best, contest)}" for gap, other in zip(gaps[:IN_FULL], others, strict=False)]
    if verdict == "better":
        start = f"{name} is {'better' if gaps[0].better == best else 'worse'} than "
        return start + listed([*told, *others[IN_FULL:]])
    if verdict == "tied":
        return f"{name} is tied with {listed([*told, *others[IN_FULL:]])}"
    return f"{name} against {listed([*told, *others[IN_FULL:]])}: with one seed no claim"


def amount_words(gap: Gap, best: Row, contest: Contest) -> str:
    """'by 12.3 points (8.1 to 16.4, p < 0.001)', or '(+0.3 points, -2.1 to 2.7, p 0.812)' where there is no claim."""
    if gap.reason == SAME_ANSWERS:
        return f"({SAME_ANSWERS})"
    certainty = "; ".join([certainty_words(gap, best), *_shortage(gap, contest), *_costs(gap, best, contest)])
    if gap.verdict == "better":
        return f"by {size_words(gap)} ({certainty})"
    reason = "" if gap.reason.startswith(UNSAID) else f": {gap.reason}"
    size = size_words(gap)
    sign = "+" if gap.better == best or not float(size.split()[0]) else "-"
    return f"({sign}{size}, {certainty}{reason})"


def size_words(gap: Gap) -> str:
    """How far apart the two are, without a sign: '12.3 points', '0.031 of wer'."""
    value = abs(gap.difference.value) if gap.difference is not None else 0.0
    metric = gap.better.metric
    return f"{points(value)} points" if metric in POINTS else f"{value:.3f} of {metric}"


def certainty_words(gap: Gap, best: Row) -> str:
    """'8.1 to 16.4, p < 0.001': the interval, above 0 where it speaks for the best row."""
    if gap.difference is None or gap.p_adjusted is None:
        return gap.reason
    metric = gap.better.metric
    sign = (-1 if metric in LOWER_IS_BETTER else 1) * (1 if gap.better == best else -1)
    ends = sorted((sign * gap.difference.low, sign * gap.difference.high))
    low, high = (points(end) if metric in POINTS else f"{round(end, 3) + 0.0:.3f}" for end in ends)
    return f"{low} to {high}, {p_text(gap.p_adjusted)}"


def points(share: float) -> str:
    """A share in hundredths; what rounds to nothing has no sign."""
    return f"{round(100 * share, 1) + 0.0:.1f}"


def other_side(gap: Gap, row: Row) -> Row:
    return gap.worse if gap.better == row else gap.better


def by_verdict(gaps: Sequence[Gap], best: Row) -> list[list[Gap]]:
    """Claims for the best row first, then against it (on the items of both it may be the worse), then the rest."""
    ahead = [gap for gap in gaps if gap.verdict == "better" and gap.better == best]
    behind = [gap for gap in gaps if gap.verdict == "better" and gap.better != best]
    rest = [[gap for gap in gaps if gap.verdict == verdict] for verdict in ("tied", "one seed", "not compared")]
    return [found for found in (ahead, behind, *rest) if found]


def _shortage(gap: Gap, contest: Contest) -> list[str]:
    """How many items were compared, where these are not all."""
    found = gap.difference
    most = max(row.n for row in contest.rows)
    if found is None or (found.n == most and not found.left_out):
        return []
    return [f"on the {found.n} items that both have, {found.left_out} left out"]


def _costs(gap: Gap, best: Row, contest: Contest) -> list[str]:
    """'57s against 76s', '923 against 884 MiB': what differs, as far as it was measured in one way."""
    other, told = other_side(gap, best), []
    if "train_seconds" in contest.frontier and _apart(best.train_seconds, other.train_seconds):
        told.append(f"{duration_text(best.train_seconds)} against {duration_text(other.train_seconds)}")
    if "peak_memory_bytes" in contest.frontier and _apart(best.peak_memory_bytes, other.peak_memory_bytes):
        told.append(f"{mebibytes_text(best.peak_memory_bytes)} against {mebibytes_text(other.peak_memory_bytes)} MiB")
    return [", ".join(told)] if told else []


def _apart(one: float | None, other: float | None) -> bool:
    """Whether both are known and differ by more than their load explains."""
    return one is not None and other is not None and max(one, other) > ALIKE * min(one, other)
