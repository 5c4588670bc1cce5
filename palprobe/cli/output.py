"""Results on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from palprobe.report.forms import Form
    from palprobe.report.results import EvalResult


def print_results(results: Sequence[EvalResult], form: str, *, header: bool, width: int) -> None:
    """A table drawn for the terminal's width, or CSV, JSON or Markdown as it is."""
    from palprobe.report.forms import render

    drawn = render(results, cast("Form", form), header=header, width=width)
    if isinstance(drawn, str):
        sys.stdout.write(drawn)
        return
    from rich.console import Console

    Console(width=width).print(drawn)
