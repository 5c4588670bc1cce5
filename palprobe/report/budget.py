"""What rows were trained and tested with: whatever differs between rows that are set beside one another is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from palprobe.report.sides import Side

OF_THE_ROW = frozenset({"features", "integration", "control", "seed", "fold", "version", "task"})  # of a run's identity
OF_THE_TEST = frozenset({"run", "split", "scoring", "control", "bootstrap_draws"})  # of an evaluation's
OF_FEATURES = ("audio", "channels", "dtype")  # that no encoder decides
TRAIN = "train."
SHOWN = 3  # rows named for each value
DEFAULT = "default"  # a key of a later version, where it is at what was always done


def budget_notes(sides: Sequence[Side]) -> list[str]:
    """Sentences about settings, training examples and test items that are not the same for all rows.

    Args:
        sides: rows that are set beside one another.
    """
    found = [(side, _settings(side)) for side in sides]
    known = [
        (side, settings) for side, settings in found if settings
    ]  # an evaluation alone, without its run, says less
    keys = sorted({key for _, settings in known for key in settings})
    return [*(line for key in keys for line in _lines(key, known)), *_examples(sides), *_items(sides)]


def _settings(side: Side) -> dict[str, str]:
    """Key → value, or values, of all that should be alike in all rows; "lal: rank": in those of one integration."""
    values: dict[str, set[str]] = {}
    for result in side.results:
        run = result.run_identity
        features = run["features"] if isinstance(run.get("features"), list) else []
        own = run["integration"] if isinstance(run.get("integration"), Mapping) else {}
        content = {
            **{key: value for key, value in run.items() if key not in OF_THE_ROW},
            **{key: value for key, value in result.identity.items() if key not in OF_THE_TEST},
            **{f"features.{key}": one[key] for one in features for key in OF_FEATURES if key in one},
            **{f"{side.row.integration}: {key}": value for key, value in own.items() if not isinstance(value, Mapping)},
        }
        for key, value in _flat(content):
            values.setdefault(key, set()).add(value)
    return {key: " or ".join(sorted(found)) for key, found in values.items()}


def _flat(content: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", str(value)


def _lines(key: str, known: Sequence[tuple[Side, Mapping[str, str]]]) -> list[str]:
    """'not the same budget: train.steps 100 (logmel, lal) and 400 (mfcc, lal)', where there are two values or more."""
    integration, colon, _ = key.partition(": ")
    rows: dict[str, list[str]] = {}
    for side, settings in known:
        if not colon or side.row.integration == integration:
            rows.setdefault(settings.get(key, DEFAULT), []).append(f"{side.row.encoder}, {side.row.integration}")
    if len(rows) == 1:
        return []
    told = [
        f"{value} ({'; '.join(names[:SHOWN])}{'; …' if len(names) > SHOWN else ''})" for value, names in rows.items()
    ]
    return [f"not the same {'budget' if key.startswith(TRAIN) else 'settings'}: {key} {' and '.join(told)}"]


def _examples(sides: Sequence[Side]) -> list[str]:
    """A digest of all examples with their splits decides a run; of one fold it should be the same in all rows."""
    digests: dict[int | None, set[str]] = {}
    for result in (result for side in sides for result in side.results):
        if "task" in result.run_identity:
            digests.setdefault(result.cell.fold, set()).add(str(result.run_identity["task"]))
    if all(len(found) == 1 for found in digests.values()):
        return []
    return ["not the same examples: the data, their split or their prompts changed between the runs of these rows"]


def _items(sides: Sequence[Side]) -> list[str]:
    """Test items that some rows lack, counted."""
    items = [side.items for side in sides]
    listed, shared = set[str]().union(*items), set.intersection(*items)
    if len(shared) == len(listed):
        return []
    return [f"not the same items: {len(shared)} of {len(listed)} are in every row; pairs are tested on those of both"]
