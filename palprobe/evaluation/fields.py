"""Values taken out of JSON that may be damaged: there, of the right type, finite, and writable as text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from palprobe.errors import PalprobeError

LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can spell half a character, which no file can hold
NUMBER = (int, float)


def mapping(value: Any, where: str) -> dict[str, Any]:
    """Raises PalprobeError, beginning with `where`, unless the value is an object."""
    if not isinstance(value, dict):
        raise PalprobeError(f"{where} holds {type(value).__name__}, not keys and values: it is damaged. Make it again.")
    return value


def take(content: Mapping[Any, Any], key: str | int, kinds: type | tuple[type, ...], where: str) -> Any:
    """content[key], if it is there, of one of the types and finite.

    Raises:
        PalprobeError: it is not; `where` begins the message.
    """
    if key not in content:
        raise PalprobeError(f"{where}: {key!r} is missing: it is damaged or of another version. Make it again.")
    value = content[key]
    allowed = kinds if isinstance(kinds, tuple) else (kinds,)
    wrong = not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)
    if wrong or (isinstance(value, float) and not math.isfinite(value)) or not _encodable(value):
        names = " or ".join(kind.__name__ for kind in allowed)
        raise PalprobeError(f"{where}: {key} = {value!r}, expected {names}: it is damaged. Make it again.")
    return value


def texts(value: Any, where: str) -> tuple[str, ...]:
    """Raises PalprobeError, beginning with `where`, unless the value is a list of texts."""
    if not isinstance(value, list) or not all(isinstance(text, str) and _encodable(text) for text in value):
        raise PalprobeError(f"{where} was expected to be a list of texts: it is damaged. Make it again.")
    return tuple(value)


def numbers(value: Any, where: str) -> dict[str, float]:
    """Raises PalprobeError, beginning with `where`, unless the value is an object of finite numbers."""
    content = mapping(value, where)
    return {name: float(take(content, name, NUMBER, where)) for name in content}


def number_lists(value: Any, where: str) -> dict[str, tuple[float, ...]]:
    """Raises PalprobeError, beginning with `where`, unless the value is an object of lists of finite numbers."""
    content = mapping(value, where)
    listed = {name: take(content, name, list, where) for name in content}
    return {
        name: tuple(float(take(dict(enumerate(found)), place, NUMBER, where)) for place in range(len(found)))
        for name, found in listed.items()
    }


def _encodable(value: Any) -> bool:
    return not (isinstance(value, str) and LONE_SURROGATE.search(value))
