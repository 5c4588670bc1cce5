"""A finished run + a split → predictions.jsonl and result.json, from which every later number is computed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from torch import Tensor

from palprobe import scoring
from palprobe.distributed import resolve_device
from palprobe.errors import DataError, ScoringError, UsageError
from palprobe.evaluation.results import control_of, evaluation_folder, evaluation_identity, is_evaluated
from palprobe.evaluation.scores import made_of, not_computed, score_predictions
from palprobe.evaluation.xares import peer_reasons, peer_scores
from palprobe.features.source import FeatureSource
from palprobe.files import write_json, write_text
from palprobe.llm.tokenizer import TEMPLATE
from palprobe.recipe import ScoringSection
from palprobe.registry import near_miss
from palprobe.runs import trainable_label
from palprobe.specs import parse_encoder, split_encoders
from palprobe.tasks.kinds import KINDS
from palprobe.training.cost import Meter
from palprobe.training.out_of_memory import when_out_of_memory
from palprobe.training.probe import Probe
from palprobe.training.train_cell import layer_weights, load_probe, readers_of
from palprobe.training.workspace import Plan, Usable, Workspace
from palprobe.types import Prediction, Score, Split

READING = {
    "likelihood": {"normaliser": "none", "decoding": "none: log likelihood of every choice, its end included"},
    "generation": {"normaliser": "trim and ignore case", "decoding": "greedy, to the first newline"},
}
BEAMS = "{} beams, mean log probability per token, to the first newline"
RECORDED_VERSIONS = ("palprobe", "torch", "transformers", "peft", "accelerate", "numpy", "soundfile", "soxr", "jiwer")


def evaluate(
    workspace: Workspace, plan: Plan, split: Split, section: ScoringSection, *, dropped: Sequence[str] = ()
) -> Path:
    """Scores a finished run on a split; a result of the same identity is left alone.

    Args:
        workspace: that the plan is of.
        plan: of the run.
        split: test or validation.
        section: how answers are read.
        dropped: encoders of several that the LLM is not shown, in their order (from `check_dropped`).

    Returns:
        the folder with predictions.jsonl and result.json.

    Raises:
        UnfinishedError: the run is not trained to its end, or features are not there.
        IdentityError: the run folder was made from something else than it is now asked for.
        DataError: the split is empty.
        ScoringError: there is too little memory, or what `palprobe.scoring` raises.
    """
    training = plan.run.summary()
    plan.run.check()
    folder = evaluation_folder(plan, split, section, dropped)
    if is_evaluated(plan, split, section, dropped):
        return folder
    sources, usable = workspace.sources(plan), workspace.usable(plan, split)
    if not usable.examples:
        raise DataError(f"Task {plan.cell.task!r}: the {split} split is empty, so there is nothing to score.")
    device = resolve_device(workspace.places.device)
    meter = Meter(device)
    probe = load_probe(plan, sources, device=device)
    names = split_encoders(plan.cell.encoder)
    probe.dropped = frozenset(names.index(name) for name in dropped)
    with when_out_of_memory(lambda: _starved(device, section)):
        predictions = predict(probe, sources, usable, section)
    metrics, absent = KINDS[plan.task.kind].metrics, dict[str, str]()
    scores = score_predictions(
        predictions,
        usable.examples,
        draws=section.bootstrap_draws,
        metrics=metrics,
        on_absent=absent.__setitem__,
    )
    scores += peer_scores(predictions, usable.examples)
    (folder / "result.json").unlink(missing_ok=True)  # or new predictions would stand beside an old result
    write_text(folder / "predictions.jsonl", "".join(_line(prediction) for prediction in predictions))
    result = _result(plan, sources, usable, scores) | {
        "identity": evaluation_identity(plan, split, section, dropped),
        "split": split,
        "scoring": section.method,
        "control": control_of(dropped),
        "layer_weights": layer_weights(plan, probe),
        **READING[section.method],
        **_decoding(section),
        **made_of(predictions, scores),
        "not_computed": not_computed(metrics) | absent | peer_reasons(usable.examples),
        "device": device,
        "cost": _cost(probe, sources, usable, training) | {"eval_seconds": round(meter.seconds, 3)},
    }
    write_json(folder / "result.json", result)
    return folder


def _starved(device: str, section: ScoringSection) -> ScoringError:
    return ScoringError(
        f"Scoring ran out of memory on {device} with batches of {section.batch_size}. Lower it with "
        f"--set scoring.batch_size={max(1, section.batch_size // 4)}; training need not be done again."
    )


def check_dropped(plan: Plan, dropped: Sequence[str]) -> list[str]:
    """The encoders to leave out, in the order in which the LLM would hear them.

    Raises:
        UsageError: not one of the run's encoders, or all of them.
    """
    names = split_encoders(plan.cell.encoder)
    for name in dropped:
        if name not in names:
            hint = near_miss(name, names)
            raise UsageError(f"--drop {name}: {plan.run.folder} hears {' and '.join(names)}.{hint} Name one of those.")
    if set(dropped) == set(names):
        raise UsageError(f"--drop {','.join(dropped)}: {plan.run.folder} would hear nothing. Keep one of its encoders.")
    return [name for name in names if name in dropped]


def predict(
    probe: Probe, sources: Sequence[FeatureSource], usable: Usable, section: ScoringSection
) -> list[Prediction]:
    """One prediction for each usable example, in order.

    Raises:
        PalprobeError: an example that is longer than the LLM.
    """
    readers = readers_of(sources, usable.keys)

    def read(numbers: Sequence[int]) -> list[list[Tensor]]:
        return [reader(numbers) for reader in readers]

    generated = section.method == "generation"
    longest = section.max_new_tokens if generated else None
    probe.check_positions(
        [example.id for example in usable.examples],
        [[source.num_tokens(key) for source in sources] for key in usable.keys],
        scoring.text_tokens(probe.llm.tokenizer, usable.examples, longest),
    )
    if generated:
        return scoring.by_generation(
            probe,
            usable.examples,
            read,
            batch_size=section.batch_size,
            max_new_tokens=section.max_new_tokens,
            beams=section.beams,
            penalty=section.repetition_penalty,
        )
    return scoring.by_likelihood(probe, usable.examples, read, batch_size=section.batch_size)


def _result(plan: Plan, sources: Sequence[FeatureSource], usable: Usable, scores: Sequence[Score]) -> dict[str, Any]:
    cell, names = plan.cell, split_encoders(plan.cell.encoder)
    return {
        "cell": {
            "encoder": cell.encoder,
            "layer": "+".join(parse_encoder(name).layer for name in names),
            "integration": cell.integration,
            "llm": cell.llm,
            "trainable": trainable_label(plan.recipe),
            "task": plan.task.name,
            "fold": cell.fold,
            "seed": cell.seed,
        },
        "run_id": plan.run.id,
        "licence": plan.task.licence,
        "citation": plan.task.citation,
        "versions": {name: metadata.version(name) for name in RECORDED_VERSIONS},
        "commit": _commit(),
        "llm_revision": plan.llm.revision,
        "template": TEMPLATE if plan.recipe.prompt.template == "raw" else plan.recipe.prompt.template,
        "prompt": usable.examples[0].prompt,
        "counts": {
            "found": usable.counts.found,
            "missing": usable.counts.missing,
            "dropped": usable.counts.dropped,
            "used": usable.counts.used,
            "padded": usable.counts.padded,
        },
        "features": {name: dict(source.info) for name, source in zip(names, sources, strict=True)},
        "scores": [_score(score) for score in scores],
    }


def _decoding(section: ScoringSection) -> dict[str, str]:
    """How text was generated, where that is not greedily, or with a penalty on repeated tokens."""
    text = READING["generation"]["decoding"] if section.beams == 1 else BEAMS.format(section.beams)
    if section.method != "generation" or (section.beams == 1 and section.repetition_penalty == 1):
        return {}
    penalty = "" if section.repetition_penalty == 1 else f", repetition penalty {section.repetition_penalty:g}"
    return {"decoding": text + penalty}


def _cost(probe: Probe, sources: Sequence[FeatureSource], usable: Usable, training: dict[str, Any]) -> dict[str, Any]:
    tokens = [probe.num_audio_tokens([source.num_tokens(key) for source in sources]) for key in usable.keys]
    rates = [
        branch.pooling.tokens_per_second(source.frame_rate)
        for branch, source in zip(probe.branches, sources, strict=True)
    ]
    return {
        "audio_tokens": sum(tokens) / len(tokens),
        "tokens_per_second": sum(rate for number, rate in enumerate(rates) if number not in probe.dropped),
        "trainable_parameters": training["trainable_parameters"],
        "train_seconds": training["train_seconds"],
        "peak_memory_bytes": training["peak_memory_bytes"],
        "peak_memory_method": training["peak_memory_method"],
        "machine": training.get("machine", ""),  # runs of before do not say
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "metric": score.metric,
        "part": score.part,
        "score": score.interval.value,
        "ci_low": score.interval.low,
        "ci_high": score.interval.high,
        "ci_method": score.interval.method,
        "n": score.n,
        "n_invalid": score.n_invalid,
        "chance": score.chance,
    }


def _line(prediction: Prediction) -> str:
    content = vars(prediction) | {"scores": dict(prediction.scores)}
    if not prediction.references:  # the one reference says it all
        del content["references"]
    return json.dumps(content, ensure_ascii=False) + "\n"


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
