"""Results to be compared: `write_result` of test_report with two classes, so that a score tells something."""

import json
from pathlib import Path
from typing import Any

from test_report import write_result

CLASSES = ("dog", "cat")


def write_told(runs: Path, hits: str, *, group_size: int = 1, identity: dict[str, Any] | None = None, **cell: Any):
    """An evaluation whose item i is a dog or a cat, right where `hits` has a 1; neighbours may share a recording."""
    folder = write_result(runs, hits, **cell)
    path = folder / "predictions.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for number, line in enumerate(lines):
        truth, other = CLASSES[number % 2], CLASSES[1 - number % 2]
        line |= {"reference": truth, "prediction": truth if line["correct"] else other}
        line["group"] = f"{cell.get('fold')}-{number // group_size}"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if identity is not None:
        (folder.parent.parent / "identity.json").write_text(json.dumps(identity))
    return folder


def change(folder: Path, **values: Any) -> Path:
    """Writes other values into a result; those of `cost` and `cell` are merged."""
    content = json.loads((folder / "result.json").read_text())
    for key, value in values.items():
        content[key] = content[key] | value if isinstance(content.get(key), dict) else value
    (folder / "result.json").write_text(json.dumps(content))
    return folder


def right(hits: int, n: int) -> str:
    """The first `hits` of n items."""
    return "1" * hits + "0" * (n - hits)
