"""What a result says of where it comes from: the cell, its data and features, versions and commit."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from palprobe.features.constant import shown_encoder
from palprobe.features.source import Source
from palprobe.recipe.rigor import BLIND
from palprobe.specs import parse_encoder, split_encoders
from palprobe.training.planned import Planned, Usable

RECORDED_VERSIONS = ("palprobe", "torch", "transformers", "peft", "accelerate", "numpy", "soundfile", "soxr", "jiwer")
NO_LAYER = "-"  # where nothing is heard


def provenance(
    plan: Planned,
    sources: Sequence[Source],
    usable: Usable,
    *,
    trainable: str,
    versions: Sequence[str] = RECORDED_VERSIONS,
) -> dict[str, Any]:
    """The keys of result.json that do not depend on the answers.

    Args:
        plan: of the cell.
        sources: of its features, one for each encoder.
        usable: what was asked.
        trainable: what was trained, as tables say it.
        versions: packages that had a part in it.
    """
    cell, encoder = plan.cell, shown_encoder(plan.cell.encoder)
    names = split_encoders(encoder)
    return {
        "cell": {
            "encoder": encoder,
            "layer": NO_LAYER if encoder == BLIND else "+".join(parse_encoder(name).layer for name in names),
            "integration": cell.integration,
            "llm": cell.llm,
            "trainable": trainable,
            "task": plan.task.name,
            "fold": cell.fold,
            "seed": cell.seed,
        },
        "run_id": plan.run.id,
        "licence": plan.task.licence,
        "citation": plan.task.citation,
        "versions": {name: metadata.version(name) for name in versions},
        "commit": _commit(),
        "counts": {
            "found": usable.counts.found,
            "missing": usable.counts.missing,
            "dropped": usable.counts.dropped,
            "used": usable.counts.used,
            "padded": usable.counts.padded,
        },
        "features": {name: dict(source.info) for name, source in zip(names, sources, strict=True)},
    }


def _commit() -> str | None:
    """The commit that palprobe runs from, when it runs from a checkout of its own."""
    root, git = Path(__file__).parent.parent.parent, shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    found = subprocess.run(  # noqa: S603 - fixed words
        [git, "-C", str(root), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None
