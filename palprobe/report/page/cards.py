"""Run cards: what was compared with what, which settings differ, and whether all had the same budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from palprobe.report.page.sources import Source
from palprobe.report.results import EvalResult
from palprobe.report.text import UNKNOWN, count_text, duration_text, mebibytes_text, number_text

BUDGET = "train."  # keys that say how much was trained
OWN = ("seed", "fold")  # keys that differ within a row
LONGEST_VALUE = 60  # characters of a setting

Settings = Mapping[str, str]


@dataclass(frozen=True)
class RunLine:
    """One evaluated run of a card."""

    seed: int
    fold: str
    run_id: str
    score: str


@dataclass(frozen=True)
class Card:
    """One row of a contest: its runs, what they cost, and the settings that other rows do not share."""

    name: str
    facts: tuple[tuple[str, str], ...]
    differing: tuple[tuple[str, str], ...]
    runs: tuple[RunLine, ...]


@dataclass(frozen=True)
class Cards:
    """All cards of a contest."""

    budget: str  # a sentence
    same_budget: bool | None  # None: not recorded
    shared: tuple[tuple[str, str], ...]  # settings of all runs
    cards: tuple[Card, ...]


def cards_of(sources: Sequence[Source]) -> Cards:
    """One card for each row."""
    settings = [_settings(source.results) for source in sources]
    keys = sorted({key for found in settings for key in found})
    values = {key: [found.get(key, UNKNOWN) for found in settings] for key in keys}
    differing = [key for key in keys if len(set(values[key])) > 1]
    shared = tuple((key, values[key][0]) for key in keys if key not in differing)
    cards = tuple(
        _card(source, [(key, found[key]) for key in differing if key in found])
        for source, found in zip(sources, settings, strict=True)
    )
    budget = [key for key in differing if key.startswith(BUDGET)]
    if not all(settings):
        return Cards("The budgets were not recorded with all runs.", None, shared, cards)
    if not budget:
        return Cards("All rows had the same budget.", True, shared, cards)
    told = "; ".join(f"{key}: {_by_value(values[key], [source.name for source in sources])}" for key in budget)
    return Cards(f"The budgets are not the same. {told}.", False, shared, cards)


def _by_value(values: Sequence[str], names: Sequence[str]) -> str:
    """'100 (logmel), 400 (mfcc, whisper)'."""
    found: dict[str, list[str]] = {}
    for value, name in zip(values, names, strict=True):
        found.setdefault(value, []).append(name)
    return ", ".join(f"{value} ({', '.join(some)})" for value, some in found.items())


def _card(source: Source, differing: Iterable[tuple[str, str]]) -> Card:
    row, machines = source.row, sorted({result.machine or result.device for result in source.results})
    versions = sorted({f"palprobe {v}" for r in source.results if (v := r.versions.get("palprobe"))})
    commits = sorted({result.commit[:10] for result in source.results if result.commit})
    prompts = sorted({result.prompt for result in source.results})
    facts = (
        ("prompt", prompts[0] if len(prompts) == 1 else f"{len(prompts)} prompts"),
        ("audio tokens per clip", number_text(row.audio_tokens)),
        ("trained parameters", count_text(row.trainable_parameters)),
        ("training time of a run", duration_text(row.train_seconds)),
        ("peak memory, MiB", mebibytes_text(row.peak_memory_bytes)),
        ("machine", "; ".join(machines)),
        ("made with", ", ".join([*versions, *commits]) or UNKNOWN),
    )
    return Card(source.name, facts, tuple(differing), tuple(_run(result, row.metric) for result in source.results))


def _run(result: EvalResult, metric: str) -> RunLine:
    scores = [score.interval.value for score in result.scores if (score.metric, score.part) == (metric, None)]
    fold = UNKNOWN if result.cell.fold is None else str(result.cell.fold)
    score = f"{scores[0]:.3f}" if scores else UNKNOWN
    return RunLine(result.cell.seed, fold, result.run_id, score)


def _settings(results: Sequence[EvalResult]) -> Settings:
    """What all runs of a row were made with, key by key; what differs between its runs is left out."""
    found: dict[str, set[str]] = {}
    for result in {result.run_id: result for result in results}.values():
        for key, value in _flat(result.run_identity):
            found.setdefault(key, set()).add(value)
    return {key: next(iter(values)) for key, values in found.items() if len(values) == 1 and key not in OWN}


def _flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """'train.steps' → '200'. What an encoder is made of is left out: its name is in the row."""
    if path.endswith(".encoder"):
        return []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        text = str(value)
        return [(path, text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…")]
    return [pair for key, one in inner for pair in _flat(one, f"{path}.{key}" if path else str(key))]
