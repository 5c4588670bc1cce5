"""Names and numbers as people see them; strings from strangers (labels, file names, citations) are made harmless."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

MARKDOWN_MARKS = re.compile(r"([\\`*|]|\](?=[(\[:]))")  # a lone bracket is no link
SECONDS_PER_MINUTE, SECONDS_PER_HOUR = 60, 3600
MINUTES_FROM, HOURS_FROM = 2 * SECONDS_PER_MINUTE, 2 * SECONDS_PER_HOUR
BYTES_PER_MIB = 1 << 20
UNKNOWN = "-"


def visible(text: str) -> str:
    r"""The text on one line, with control, escape and direction characters shown as `\x1b`, not obeyed."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def markdown_text(text: str) -> str:
    """The text as itself inside Markdown, in a table cell too: no HTML, links, emphasis or new columns."""
    return MARKDOWN_MARKS.sub(r"\\\1", escape(visible(text), quote=False))


def score_text(score: float, low: float | None, high: float | None) -> str:
    """'0.812 [0.77, 0.85]'."""
    return f"{score:.3f} [{low:.2f}, {high:.2f}]" if low is not None and high is not None else f"{score:.3f} [no CI]"


def number_text(value: float | None) -> str:
    """Three significant digits, or all digits before the point: '0.1', '12.5', '1500'."""
    if value is None:
        return UNKNOWN
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def count_text(value: int | None) -> str:
    """'950', '123k', '1.2M', '7.1B'."""
    if value is None:
        return UNKNOWN
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size * 0.9995:  # what would round to 1000 of the smaller unit
            return f"{value / size:.3g}{unit}" if value / size < 100 else f"{value / size:.0f}{unit}"
    return str(value)


def duration_text(seconds: float | None) -> str:
    """'4.1s', '41s', '12min', '3.2h'."""
    if seconds is None:
        return UNKNOWN
    if seconds < MINUTES_FROM:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    if seconds < HOURS_FROM:
        return f"{seconds / SECONDS_PER_MINUTE:.0f}min"
    return f"{seconds / SECONDS_PER_HOUR:.1f}h"


def mebibytes_text(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value / BYTES_PER_MIB:.0f}"


def p_text(p: float) -> str:
    """'p < 0.001', 'p 0.012'."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def listed(names: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
