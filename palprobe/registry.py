"""Names of parts and where each lives; listing names imports nothing heavy."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from palprobe.errors import UnknownNameError


def near_miss(name: str, known: Iterable[str]) -> str:
    """' Did you mean 'x'?' for the closest known name, else an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


@dataclass(frozen=True)
class Part:
    """Where a part lives, and what `palprobe list` says of it."""

    target: str  # "module:attribute", imported on first use
    summary: str


@dataclass(frozen=True)
class Registry:
    """The parts of one kind by name."""

    kind: str
    parts: Mapping[str, Part]

    def check(self, name: str) -> None:
        """Raises UnknownNameError, with the nearest name and all known ones, unless `name` is registered."""
        if name not in self.parts:
            known = ", ".join(sorted(self.parts))
            raise UnknownNameError(f"No {self.kind} is named {name!r}.{near_miss(name, self.parts)} Known: {known}.")

    def load(self, name: str) -> Any:
        """The part itself; imports its module.

        Raises:
            UnknownNameError: nothing is registered under that name.
        """
        self.check(name)
        module, _, attribute = self.parts[name].target.partition(":")
        return getattr(importlib.import_module(module), attribute)
