"""Stored answers, read again by another rule or parser: from a run's folder alone, without model, features or audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from palprobe.errors import ScoringError, UnfinishedError, UsageError
from palprobe.evaluation.fields import mapping, take
from palprobe.evaluation.predictions import read_predictions
from palprobe.evaluation.record import SOMETIMES, answers, write
from palprobe.evaluation.results import READS, RESULT, Evaluation, check_dropped, check_heard, key_of
from palprobe.evaluation.xares import PREFIX
from palprobe.files import read_json
from palprobe.metrics import METRICS
from palprobe.recipe.rigor import NO_CONTROL
from palprobe.recipe.scoring import Method, ScoringSection
from palprobe.runs import run_recipe
from palprobe.scoring.reading import parse_answer, question_of
from palprobe.scoring.rules import by_rule
from palprobe.types import Prediction, Split

READ_AGAIN = ("scoring.method", "scoring.bootstrap_draws", *READS)


@dataclass(frozen=True, eq=False)
class Source:
    """An evaluation that is there: raw sums or texts, under whichever rule or parser."""

    folder: Path
    result: dict[str, Any]
    identity: dict[str, Any]

    @property
    def method(self) -> str:
        return str(self.identity.get("scoring"))


def rescore(
    run: Path, split: Split, settings: Sequence[str], *, dropped: Sequence[str] = (), heard: str = NO_CONTROL
) -> list[Path]:
    """Writes what reading the answers of finished evaluations another way comes to, as evaluating anew would.

    Args:
        run: the folder of the run.
        split: that was evaluated.
        settings: `scoring.…=…` lines; without a method, rule or parser, all that was evaluated is read again.
        dropped: encoders without which it was evaluated.
        heard: what was heard in place of the clips.

    Returns:
        the folder of each method: one beside the evaluation that was read, or its own where nothing but intervals or
        the code of a metric changed.

    Raises:
        UsageError: a setting that would need the model.
        UnfinishedError: there is no such evaluation.
        ScoringError: what the rule or parser reads was not stored.
        PalprobeError: an evaluation is damaged; the file is named.
    """
    for setting in settings:
        if key_of(setting) not in READ_AGAIN:
            raise UsageError(
                f"--set {setting}: --rescore reads stored answers again and takes {', '.join(READ_AGAIN)}; the model "
                "is not run. Leave --rescore out to ask it again."
            )
    recipe = run_recipe(run, settings)
    encoder = recipe.encoders[0]
    trained = (recipe.controls or [NO_CONTROL])[0]
    check_heard(heard, trained)
    dropped = tuple(check_dropped(run, encoder, dropped))
    asked = Evaluation(run, run.name, encoder, split, recipe.scoring, dropped, heard, trained)
    sources = _sources(asked)
    return [_read_again(asked, sources, method) for method in _methods(asked, sources, settings)]


def _sources(asked: Evaluation) -> list[Source]:
    """The finished evaluations of the run's split under the same control."""
    found = []
    for path in sorted((asked.run / "eval").glob(f"*/{RESULT}")):
        result = mapping(read_json(path), str(path))
        identity = mapping(take(result, "identity", dict, str(path)), f"{path}, identity")
        if (identity.get("split"), identity.get("control")) == (asked.split, asked.control):
            found.append(Source(path.parent, result, identity))
    return found


def _methods(asked: Evaluation, sources: Sequence[Source], settings: Sequence[str]) -> list[Method]:
    there = [method for method in get_args(Method) if any(source.method == method for source in sources)]
    keys = {key_of(setting) for setting in settings}
    chosen = asked.section.method if "scoring.method" in keys else None
    named = [chosen] if isinstance(chosen, str) else chosen
    methods = named or [method for key, method in READS.items() if key in keys] or there
    absent = [method for method in methods if method not in there]
    if absent or not methods:
        control = f" --drop {','.join(asked.dropped)}" if asked.dropped else ""
        control += "" if asked.heard == NO_CONTROL else f" --control {asked.heard}"
        raise UnfinishedError(
            f"{asked.run} holds no {' or '.join(absent) or 'finished'} evaluation of its {asked.split} split{control} "
            f"to read again. Run `palprobe eval {asked.run} --split {asked.split}{control}` first."
        )
    return methods


def _read_again(asked: Evaluation, sources: Sequence[Source], method: Method) -> Path:
    source = _best([source for source in sources if source.method == method], asked.section)
    where = str(source.folder / RESULT)
    section = asked.section.model_copy(update={"method": method})
    evaluation = replace(asked, section=section, source=source.identity)
    counts = mapping(take(source.result, "counts", dict, where), f"{where}, counts")
    stored = read_predictions(source.folder, take(counts, "used", int, f"{where}, counts"))
    predictions = _answered(stored, section, source.folder)
    scores = [mapping(score, f"{where}, scores") for score in take(source.result, "scores", list, where)]
    absent = mapping(source.result.get("not_computed", {}), f"{where}, not_computed")  # "map", or "map of PART"
    names = [*(take(score, "metric", str, f"{where}, scores") for score in scores), *(n.split()[0] for n in absent)]
    metrics = [name for name in dict.fromkeys(names) if name in METRICS.parts]
    kept = {key: value for key, value in source.result.items() if key not in SOMETIMES}
    questions = [question_of(prediction) for prediction in predictions]
    result = kept | answers(evaluation, predictions, questions, metrics)
    result["not_computed"] |= {name: reason for name, reason in absent.items() if name.startswith(PREFIX)}
    if method == "generation":  # read from the text as it was written, and so the same
        result["scores"] += [score for score in scores if score["metric"].startswith(PREFIX)]
    write(evaluation.folder, predictions, result)
    return evaluation.folder


def _best(sources: Sequence[Source], section: ScoringSection) -> Source:
    """Of several readings of the same answers, one with null scores where they are needed, else the plainest."""
    needed = section.rule if section.rule == "audio-pmi" else None
    return min(sources, key=lambda source: (source.identity.get("rule") != needed, len(source.identity)))


def _answered(stored: Sequence[Prediction], section: ScoringSection, folder: Path) -> list[Prediction]:
    if section.method == "likelihood":
        return by_rule(stored, section.rule)
    found = []
    for prediction in stored:
        if prediction.text is None:
            raise ScoringError(
                f"{folder} was written before generated text was kept ({prediction.id!r} has none), so it cannot be "
                "read again. Delete the folder and run `palprobe eval` without --rescore."
            )
        read = parse_answer(question_of(prediction), prediction.text, section.parse)
        found.append(replace(read, scores=prediction.scores))
    return found
