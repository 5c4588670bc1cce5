"""METEOR 1.5: words of an answer matched to those of its nearest caption, exactly, by stem, synonym or paraphrase.

The matching is done by the jar of METEOR that pycocoevalcap carries, once for a whole test set; what it counts is kept
with each item. The score is a formula of sums of these counts, and so has an interval and needs Java no more. E items.

Source: Denkowski and Lavie (2014), "Meteor Universal", section 2 and the English parameters of the released version.
"""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from palprobe.errors import ScoringError
from palprobe.metrics.words import words_of
from palprobe.types import Prediction

NAME = "meteor"
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.20, 0.60, 0.75
STAGES = (1.0, 0.6, 0.8, 0.6)  # weight of a match that is exact, by stem, by synonym, by paraphrase
# What the jar prints of an item: words and function words of both texts, for each stage matched content and function
# words of both, chunks, and all matched words of both. "Both" is the answer and its nearest reference.
COUNTS = 4 + 4 * len(STAGES) + 3
CHUNKS = 20  # place among them
START_SECONDS, ITEM_SECONDS = 300, 0.5  # of patience: starting takes about 7 s, an item a millisecond
COMMAND = ("-Dfile.encoding=UTF-8", "-Xmx2G", "-jar")
OPTIONS = ("-", "-", "-stdio", "-l", "en", "-norm")

Floats = npt.NDArray[np.float64]


def meteor(predictions: Sequence[Prediction]) -> float:
    """METEOR 1.5 of the whole set, 0 to 1: a formula of the counts of all items, not the mean of their scores.

    Raises:
        ScoringError: an item has no counts.
    """
    return float(meteor_score(counts_of(predictions).sum(axis=0)))


def why_absent() -> str | None:
    """Why the words cannot be matched on this machine; None where they can."""
    if shutil.which("java") is None:
        return "no java on PATH"
    return None if _jar() is not None else "pycocoevalcap is not installed: pip install 'palprobe[caption]'"


def matched(predictions: Sequence[Prediction]) -> list[tuple[float, ...]]:
    """What the jar counts of each item, in one process that has ended when this returns.

    Raises:
        ScoringError: the jar cannot be run, or does not answer as it should.
    """
    java, jar = shutil.which("java"), _jar()
    if java is None or jar is None:
        raise ScoringError(str(why_absent()))
    lines = "".join(f"{_line(item)}\n" for item in predictions)
    command = [java, *COMMAND, str(jar), *OPTIONS]
    patience = START_SECONDS + ITEM_SECONDS * len(predictions)
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            command, input=lines.encode(), capture_output=True, timeout=patience, cwd=jar.parent, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ScoringError(f"METEOR did not answer within {patience:.0f} s and was ended") from error
    except OSError as error:
        raise ScoringError(f"{java} cannot be run: {error}") from error
    found = [_counts(line) for line in done.stdout.decode(errors="replace").splitlines()]
    if done.returncode or len(found) != len(predictions):
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise ScoringError(
            f"METEOR answered for {len(found)} of {len(predictions)} items (exit code {done.returncode}): {said[0]}"
        )
    return found


def counts_of(predictions: Sequence[Prediction]) -> Floats:
    """(E, COUNTS) of items that have them; one that is its reference is a single chunk, which counts as none.

    Raises:
        ScoringError: an item has none.
    """
    for item in predictions:
        if len(item.measures.get(NAME, ())) != COUNTS:
            raise ScoringError(why_absent() or "not counted when these texts were written; `palprobe eval --rescore`")
    counts = np.array([item.measures[NAME] for item in predictions], dtype=np.float64)
    whole = (counts[:, -2] == counts[:, 0]) & (counts[:, -1] == counts[:, 1]) & (counts[:, CHUNKS] == 1)
    counts[whole, CHUNKS] = 0
    return counts


def meteor_score(sums: Floats) -> Floats:
    """(..., COUNTS) sums over items → (...) scores."""
    precision, recall = (_matched_share(sums, side) for side in (0, 1))
    mean = _ratio(precision * recall, ALPHA * precision + (1 - ALPHA) * recall)
    fragments = _ratio(sums[..., CHUNKS], (sums[..., -2] + sums[..., -1]) / 2)
    score: Floats = mean * (1 - GAMMA * fragments**BETA)
    return score


def _matched_share(sums: Floats, side: int) -> Floats:
    """Matches over words, both weighed, of the answer (0) or the reference (1); function words count for less."""
    stages = sums[..., 4:CHUNKS].reshape(*sums.shape[:-1], len(STAGES), 4)
    matches = DELTA * stages[..., side] + (1 - DELTA) * stages[..., 2 + side]  # (..., stages)
    words, function = sums[..., side], sums[..., 2 + side]
    return _ratio(matches @ np.array(STAGES), DELTA * (words - function) + (1 - DELTA) * function)


def _ratio(above: Floats, below: Floats) -> Floats:
    """0 where there is nothing to divide by."""
    found: Floats = np.divide(above, below, out=np.zeros(np.shape(above)), where=np.asarray(below) > 0)
    return found


def _jar() -> Path | None:
    spec = find_spec("pycocoevalcap")
    folders = spec.submodule_search_locations if spec is not None else None
    jars = [Path(folder) / "meteor" / "meteor-1.5.jar" for folder in folders or ()]
    return next((jar for jar in jars if jar.is_file()), None)


def _line(item: Prediction) -> str:
    """In words alone, so that nothing in a caption can be a separator or a line's end."""
    texts = [" ".join(words_of(text)) for text in (*item.all_references, item.prediction)]
    return " ||| ".join(["SCORE", *texts])


def _counts(line: str) -> tuple[float, ...]:
    try:
        found = tuple(float(word) for word in line.split())
    except ValueError:
        found = ()
    if len(found) != COUNTS or not all(math.isfinite(count) for count in found):
        raise ScoringError(f"METEOR printed {line[:60]!r}, not {COUNTS} counts")
    return found
