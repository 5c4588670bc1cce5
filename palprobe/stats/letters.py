"""Letter groups: those that share a letter could not be told apart."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import count
from string import ascii_lowercase


def letters(order: Sequence[str], differ: Collection[frozenset[str]]) -> dict[str, str]:
    """Compact letter display: two names share a letter if, and only if, they are not known to differ.

    Args:
        order: all names, best first; "a" goes to the best and those tied with it.
        differ: the pairs that differ.

    Returns:
        For each name its letters in alphabetical order ("ab"), in the order given.

    Source: insert and absorb, Piepho (2004), J. Comput. Graph. Stat. 13.
    """
    place = {name: number for number, name in enumerate(order)}
    columns = [frozenset(order)] if order else []
    for pair in sorted(differ, key=lambda names: sorted(place[name] for name in names)):
        columns = _absorbed([part for column in columns for part in _split(column, pair)])
    columns.sort(key=lambda column: sorted(place[name] for name in column))
    named = list(zip(_alphabet(len(columns)), columns, strict=True))
    return {name: "".join(letter for letter, column in named if name in column) for name in order}


def _split(column: frozenset[str], pair: frozenset[str]) -> list[frozenset[str]]:
    """A column that holds both of a pair that differs becomes two, each without one of them."""
    return [column - {name} for name in sorted(pair)] if pair <= column else [column]


def _absorbed(columns: Sequence[frozenset[str]]) -> list[frozenset[str]]:
    """Without those that another holds whole."""
    distinct = list(dict.fromkeys(columns))
    return [column for column in distinct if not any(column < other for other in distinct)]


def _alphabet(size: int) -> list[str]:
    """a, b, … z, a1, b1, …: as many as are needed."""
    names = (f"{letter}{turn or ''}" for turn in count() for letter in ascii_lowercase)
    return [next(names) for _ in range(size)]
