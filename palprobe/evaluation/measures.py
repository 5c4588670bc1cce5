"""What models of sentences and METEOR make of generated texts: found once, and stored with each item.

No later number needs them again: reports, aggregates and other intervals are computed of what is stored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palprobe.errors import ScoringError, UsageError
from palprobe.llm.sentence_folder import check_folder, folder_digest
from palprobe.metrics import meteor
from palprobe.recipe.scoring import ScoringSection
from palprobe.scoring.reading import first_line
from palprobe.types import Prediction

if TYPE_CHECKING:
    from palprobe.llm.sentences import TextEncoder

INDEX = ".text-models.jsonl"  # beside the runs, hidden from runs/*: sha256 of the files of models
MODEL_KEYS = ("embedder", "bertscore")  # of an evaluation's identity; left out where no such model is named
# Keys of the recipe, and the metrics that each is for.
USES: Mapping[str, frozenset[str]] = {
    "embedder": frozenset({"embedding_accuracy", "sbert_similarity"}),
    "bertscore_model": frozenset({"bertscore"}),
    "bertscore_layer": frozenset({"bertscore"}),
}
ITEMS = 32  # whose texts are held as tokens at once


@dataclass(frozen=True, eq=False)
class TextModels:
    """The models that a section names and the metrics need, loaded; None for each that is not needed."""

    embedder: TextEncoder | None = None
    bertscore: TextEncoder | None = None


@dataclass(frozen=True)
class Measured:
    """Predictions with what was made of their texts, and why some metric got nothing."""

    predictions: list[Prediction]
    reasons: dict[str, str] = field(default_factory=dict)


def check_models(section: ScoringSection) -> None:
    """Raises WeightsError where a named folder holds no such model; nothing is loaded."""
    if section.embedder is not None:
        check_folder("scoring.embedder", Path(section.embedder), pooled=True)
    if section.bertscore_model is not None:
        check_folder("scoring.bertscore_model", Path(section.bertscore_model), pooled=False)


def check_models_are_used(asked: Sequence[tuple[ScoringSection, Collection[str]]]) -> None:
    """Refuses a model that none of the sections, each of one method, uses for the metrics beside it.

    Raises:
        UsageError: the key, and what it would take.
    """
    uses = {
        "embedder": "answers that are written to closed questions, or captions: add --set scoring.method=generation",
        "bertscore_model": "captions, and no task here asks for them",
    }
    for place, (key, needs) in enumerate(uses.items()):
        named = any(getattr(section, key) is not None for section, _ in asked)
        if named and all(_needed(section, metrics)[place] is None for section, metrics in asked):
            raise UsageError(f"scoring.{key} compares {needs}. Or leave it out.")


def unused_keys(metrics: Collection[str]) -> list[str]:
    """The recipe's keys of models that none of the metrics needs."""
    return [key for key, uses in USES.items() if not uses & set(metrics)]


def named_in(settings: Sequence[str], section: ScoringSection) -> ScoringSection:
    """The section with those models alone that `scoring.…=…` lines name."""
    keys = {setting.partition("=")[0].strip().removeprefix("scoring.") for setting in settings}
    kept = {key for key, uses in USES.items() if any(USES[other] == uses for other in keys & USES.keys())}
    return section.model_copy(update={key: None for key in USES if key not in kept})


def model_fields(section: ScoringSection, metrics: Collection[str], index: Path | None = None) -> dict[str, Any]:
    """What of the models decides a result, for the evaluation's identity; empty where none is named or needed.

    Args:
        section: of one method.
        metrics: of the kind of task.
        index: of files hashed before.

    Raises:
        WeightsError: as `check_models`.
    """
    embedder, bertscore = _needed(section, metrics)
    check_models(section.model_copy(update={"embedder": embedder, "bertscore_model": bertscore}))
    found: dict[str, Any] = {}
    if embedder is not None:
        found["embedder"] = folder_digest(Path(embedder), index)
    if bertscore is not None:
        found["bertscore"] = {"model": folder_digest(Path(bertscore), index), "layer": section.bertscore_layer}
    return found


def load_models(section: ScoringSection, metrics: Collection[str], *, device: str = "cpu") -> TextModels:
    """Those that are needed; better before texts are generated than after.

    Raises:
        WeightsError: one cannot be loaded.
    """
    embedder, bertscore = _needed(section, metrics)
    if embedder is None and bertscore is None:
        return TextModels()
    from palprobe.llm.sentences import TextEncoder

    return TextModels(
        None if embedder is None else TextEncoder(Path(embedder), device=device),
        None if bertscore is None else TextEncoder(Path(bertscore), layer=section.bertscore_layer, device=device),
    )


def measured(predictions: Sequence[Prediction], models: TextModels, metrics: Collection[str]) -> Measured:
    """The predictions with what the models and METEOR make of their texts; what is there of METEOR stays.

    Args:
        predictions: by generation.
        models: from `load_models`.
        metrics: of the kind of task.
    """
    found, reasons = list(predictions), {}
    if models.embedder is not None and "embedding_accuracy" in metrics:
        found = _with_nearest(found, models.embedder)
    if models.embedder is not None and "sbert_similarity" in metrics:
        found = _with_similarity(found, models.embedder)
    if models.bertscore is not None and "bertscore" in metrics:
        found = _with_bertscore(found, models.bertscore)
    counted = all(meteor.NAME in item.measures for item in found)
    if meteor.NAME in metrics and not counted and meteor.why_absent() is None:
        try:
            found = _with_measure(meteor.NAME, found, meteor.matched(found))
        except ScoringError as error:  # texts that took hours are not lost for it
            reasons[meteor.NAME] = str(error)
    return Measured(found, reasons)


def _needed(section: ScoringSection, metrics: Collection[str]) -> tuple[str | None, str | None]:
    """The folders of the embedder and of the model of BERTScore, where they are named and used."""
    if section.method != "generation":
        return None, None
    unused = unused_keys(metrics)
    return (
        None if "embedder" in unused else section.embedder,
        None if "bertscore_model" in unused else section.bertscore_model,
    )


def _with_nearest(items: Sequence[Prediction], embedder: TextEncoder) -> list[Prediction]:
    """Each text's nearest choice, of equally near ones the first."""
    lines = [first_line(item.text or "") for item in items]
    names = list(dict.fromkeys([*lines, *(choice for item in items for choice in item.choices)]))
    vectors = dict(zip(names, embedder.embed(names), strict=True))
    found = []
    for item, line in zip(items, lines, strict=True):
        cosines = [float(vectors[choice] @ vectors[line]) for choice in item.choices]
        found.append(replace(item, nearest=item.choices[cosines.index(max(cosines))]))
    return found


def _with_similarity(items: Sequence[Prediction], embedder: TextEncoder) -> list[Prediction]:
    names = list(dict.fromkeys(text for item in items for text in (item.prediction, *item.all_references)))
    vectors = dict(zip(names, embedder.embed(names), strict=True))
    values = []
    for item in items:
        cosines = [float(vectors[item.prediction] @ vectors[text]) for text in item.all_references]
        values.append((sum(cosines) / len(cosines),))
    return _with_measure("sbert_similarity", items, values)


def _with_bertscore(items: Sequence[Prediction], encoder: TextEncoder) -> list[Prediction]:
    from palprobe.llm.sentences import bertscore_f1

    values = []
    for start in range(0, len(items), ITEMS):
        part = items[start : start + ITEMS]
        names = list(dict.fromkeys(text for item in part for text in (item.prediction, *item.all_references)))
        tokens = dict(zip(names, encoder.tokens(names), strict=True))
        values += [
            (max(bertscore_f1(tokens[item.prediction], tokens[text]) for text in item.all_references),) for item in part
        ]
    return _with_measure("bertscore", items, values)


def _with_measure(name: str, items: Sequence[Prediction], values: Sequence[tuple[float, ...]]) -> list[Prediction]:
    return [replace(item, measures={**item.measures, name: value}) for item, value in zip(items, values, strict=True)]
