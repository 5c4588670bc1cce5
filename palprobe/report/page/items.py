"""The items of a contest as the item browser takes them: those that the rows disagree about first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from palprobe.evaluation.predictions import PREDICTIONS
from palprobe.report.page.sources import Source
from palprobe.report.text import visible
from palprobe.types import Prediction

MOST_ITEMS = 500  # of a task
LONGEST_TEXT = 240  # characters of an answer; a longer one is cut


@dataclass(frozen=True, eq=False)
class Answers:
    """What the rows answered to one item."""

    example: Prediction  # of any row: for what was asked
    given: tuple[tuple[Prediction, ...], ...]  # of each row under each seed that has the item; perhaps none

    @property
    def right(self) -> list[float]:
        """For each row that has the item the share of seeds under which it was right."""
        return [fmean(item.correct for item in items) for items in self.given if items]

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts: the most disagreement first, then what all get wrong, then what is answered in the most ways."""
        different = len({item.prediction for items in self.given for item in items})
        mean = fmean(self.right)
        variance = fmean((share - mean) ** 2 for share in self.right)
        return -round(variance, 9), mean, -different, self.example.id

    @property
    def disagree(self) -> bool:
        """Whether some rows are right under most seeds and others are not."""
        return len({share > 0.5 for share in self.right}) > 1


def answers_of(sources: Sequence[Source]) -> list[Answers]:
    """Every item that a row has, in the order of the browser."""
    runs = [list(source.runs.values()) for source in sources]
    examples: dict[str, Prediction] = {}
    for items in (items for seeds in runs for items in seeds):
        examples |= {name: item for name, item in items.items() if name not in examples}
    found = [
        Answers(example, tuple(tuple(items[name] for items in seeds if name in items) for seeds in runs))
        for name, example in examples.items()
    ]
    return sorted(found, key=lambda answers: answers.order)


def item_data(answers: Sequence[Answers], names: Sequence[str], *, judged: bool) -> dict[str, Any]:
    """The items for the page's script, by column: texts once, and for each row its usual answer to each item.

    `right` and `seeds` have a character an item: under how many seeds it was right, of how many; "-" without any.
    Not `judged` are texts that are right or wrong by degrees.
    """
    texts = _Texts()
    columns: dict[str, Any] = {
        "judged": judged,
        "ids": [visible(one.example.id) for one in answers],
        "parts": [texts.number(one.example.part or "") for one in answers],
        "references": [texts.number("; ".join(one.example.all_references)) for one in answers],
        "disagree": "".join("1" if one.disagree else "0" for one in answers),
        "rows": [
            {
                "name": visible(name),
                "answers": [texts.number(_usual(one.given[place])) for one in answers],
                "right": "".join(_digit(sum(i.correct for i in one.given[place]), one.given[place]) for one in answers),
                "seeds": "".join(_digit(len(one.given[place]), one.given[place]) for one in answers),
            }
            for place, name in enumerate(names)
        ],
    }
    return columns | {"texts": texts.listed}


def item_lines(answers: Sequence[Answers], names: Sequence[str]) -> list[dict[str, Any]]:
    """The same as sentences, for readers without a script."""
    return [
        {
            "id": one.example.id,
            "reference": _cut("; ".join(one.example.all_references)),
            "answers": [
                {"name": name, "text": _cut(_usual(items)), "right": sum(i.correct for i in items), "seeds": len(items)}
                for name, items in zip(names, one.given, strict=True)
                if items
            ],
        }
        for one in answers
    ]


def files_of(sources: Iterable[Source]) -> str:
    """Where every item is, below the folder of each run: 'eval/test-likelihood/predictions.jsonl'."""
    folders = sorted({result.path.name for source in sources for result in source.results})
    return ", ".join(f"eval/{folder}/{PREDICTIONS}" for folder in folders)


class _Texts:
    """Numbers for texts, each kept once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(_cut(text), len(self._numbers))

    @property
    def listed(self) -> list[str]:
        return list(self._numbers)


def _usual(items: Sequence[Prediction]) -> str:
    """The answer under the most seeds; of several, the first in the alphabet."""
    counts: Mapping[str, int] = Counter(item.prediction for item in items)
    return min(counts, key=lambda answer: (-counts[answer], answer)) if counts else ""


def _digit(count: int, items: Sequence[Prediction]) -> str:
    """A count of seeds in one character: up to 35, then "z"."""
    return "0123456789abcdefghijklmnopqrstuvwxyz"[min(count, 35)] if items else "-"


def _cut(text: str) -> str:
    text = visible(text)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
