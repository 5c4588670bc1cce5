"""Which class is taken for which: counts over all seeds and folds of a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from palprobe.metrics.answers import answered_class
from palprobe.report.page.sources import Source
from palprobe.report.text import visible

ANSWERED = frozenset({"accuracy", "balanced_accuracy", "macro_f1"})  # tasks of classes have one of these as headline
FEWEST_ITEMS = 2  # of a class, on average: below this the references are no classes but texts
MOST_CLASSES = 100
LARGEST_MATRIX = 14  # classes that are drawn as a square; more are listed
SHADES = 10
ELSE = "anything else"
TOLD = 2  # classes that one is most often taken for


@dataclass(frozen=True)
class ClassLine:
    """One class: how many of its items were answered right, and what the others were most often taken for."""

    right: int
    asked: int
    taken: tuple[tuple[int, int], ...]  # number of a class, and how often


@dataclass(frozen=True, eq=False)
class Confusion:
    """The classes of a task, and for each row the counts of (reference, answer) by number of class."""

    classes: tuple[str, ...]  # those asked for; behind them one for any other answer, if there were any
    asked: int  # how many are asked for
    names: tuple[str, ...]  # of the rows
    counts: tuple[Counter[tuple[int, int]], ...]

    @property
    def square(self) -> bool:
        return len(self.classes) <= LARGEST_MATRIX

    def matrix(self, row: int) -> list[list[int]]:
        """A line for each class asked for, a number for each answer."""
        counts = self.counts[row]
        return [[counts[reference, answer] for answer in range(len(self.classes))] for reference in range(self.asked)]

    def listed(self, row: int) -> list[ClassLine]:
        """A line for each class asked for."""
        found = []
        for reference, line in enumerate(self.matrix(row)):
            taken = sorted((-count, answer) for answer, count in enumerate(line) if count and answer != reference)
            told = tuple((answer, -count) for count, answer in taken[:TOLD])
            found.append(ClassLine(line[reference], sum(line), told))
        return found

    def data(self) -> dict[str, Any]:
        """For the page's script: the lines of each row as numbers."""
        rows = [{"name": visible(name), "lines": self._lines(row)} for row, name in enumerate(self.names)]
        return {"classes": [visible(label) for label in self.classes], "square": self.square, "rows": rows}

    def _lines(self, row: int) -> list[list[int]]:
        """Counts; or right, asked, and then class and count of what it is taken for."""
        if self.square:
            return self.matrix(row)
        return [[line.right, line.asked, *chain.from_iterable(line.taken)] for line in self.listed(row)]


def shade(count: float, total: float) -> int:
    """0 to 9."""
    return min(SHADES - 1, round(count / total * (SHADES - 1))) if total else 0


def confusion_of(metric: str, sources: Sequence[Source]) -> Confusion | None:
    """None where a task has no classes, or too many of them."""
    if metric not in ANSWERED:
        return None
    items = [[item for run in source.runs.values() for item in run.values()] for source in sources]
    labels = sorted({(item.part or "", item.reference) for found in items for item in found})
    classes = list(dict.fromkeys(label for _, label in labels))
    total = max((len(run) for source in sources for run in source.runs.values()), default=0)
    if not 2 <= len(classes) <= MOST_CLASSES or total < FEWEST_ITEMS * len(classes):
        return None
    numbers = {label: number for number, label in enumerate(classes)}
    counts = tuple(
        Counter((numbers[item.reference], numbers.get(answered_class(item), len(classes))) for item in found)
        for found in items
    )
    unknown = any(answer == len(classes) for found in counts for _, answer in found)
    names = tuple(source.name for source in sources)
    return Confusion((*classes, ELSE) if unknown else tuple(classes), len(classes), names, counts)
