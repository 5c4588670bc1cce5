"""A finished run + a split → predictions.jsonl and result.json, from which every later number is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from palprobe.distributed import resolve_device
from palprobe.errors import DataError, ScoringError
from palprobe.evaluation.heard import hearing
from palprobe.evaluation.measures import load_models, measured
from palprobe.evaluation.portions import portion_fields
from palprobe.evaluation.predict import predict
from palprobe.evaluation.provenance import provenance
from palprobe.evaluation.record import answers, write
from palprobe.evaluation.results import check_scoring, evaluation_of
from palprobe.features.source import Source
from palprobe.llm.tokenizer import TEMPLATE
from palprobe.recipe.rigor import NO_CONTROL
from palprobe.recipe.scoring import ScoringSection
from palprobe.runs import trainable_label
from palprobe.specs import split_encoders
from palprobe.tasks.kinds import KINDS
from palprobe.tasks.options import drawn, lists_options
from palprobe.training.cost import Meter
from palprobe.training.out_of_memory import when_out_of_memory
from palprobe.training.planned import Usable
from palprobe.training.probe import Probe
from palprobe.training.train_cell import layer_weights, load_probe
from palprobe.training.workspace import Plan, Workspace
from palprobe.types import BLOCK, Split

LISTED = "listed: likelihoods are means over the cyclic orders, text is generated from an order drawn by the id"
EVERY_CHOICE = "none: log likelihood of every choice, its end included"
GREEDY, BEAMS = "greedy, to the first newline", "{} beams, mean log probability per token, to the first newline"


def evaluate(
    workspace: Workspace,
    plan: Plan,
    split: Split,
    section: ScoringSection,
    *,
    dropped: Sequence[str] = (),
    heard: str = NO_CONTROL,
) -> Path:
    """Scores a finished run on a split; a result of the same identity is left alone.

    Args:
        workspace: that the plan is of.
        plan: of the run.
        split: test or validation; of a portion's run also the block that the next one adds.
        section: how answers are read; of one method at most.
        dropped: encoders of several that the LLM is not shown, in their order (from `check_dropped`).
        heard: what is heard in place of the clips (from `check_heard`).

    Returns:
        the folder with predictions.jsonl and result.json.

    Raises:
        UnfinishedError: the run is not trained to its end, or features are not there.
        IdentityError: the run folder was made from something else than it is now asked for.
        DataError: the split is empty.
        RecipeError: the task cannot be scored so.
        ScoringError: there is too little memory, or what `palprobe.scoring` raises.
    """
    training = plan.run.summary()
    plan.run.check()
    evaluation = evaluation_of(plan, split, section, dropped, heard)
    if evaluation.is_there:
        return evaluation.folder
    check_scoring(replace(plan.task, examples=plan.examples(split)), evaluation.section)
    usable = workspace.usable(plan, split)
    if not usable.examples:
        raise DataError(f"Task {plan.cell.task!r}: the {split} split is empty, so there is nothing to score.")
    device = resolve_device(workspace.places.device)
    meter = Meter(device)
    probe = load_probe(plan, workspace.sources(plan), device=device)
    metrics = KINDS[plan.task.kind].metrics
    models = load_models(evaluation.section, metrics, device=device)
    given = hearing(heard, workspace, plan, usable, probe)
    sources = given.sources
    names = split_encoders(plan.cell.encoder)
    probe.dropped = frozenset(names.index(name) for name in dropped)
    with when_out_of_memory(lambda: _starved(device, section)):
        listed = _lists_options(plan, split)
        predictions = predict(probe, sources, usable, evaluation.section, listed=listed)
        found = measured(predictions, models, metrics if section.method == "generation" else ())
    result = _result(plan, sources, usable, listed=listed) | {
        "layer_weights": layer_weights(plan, probe),
        "decoding": _decoding(evaluation.section),
        "device": device,
        **answers(evaluation, found.predictions, usable.examples, metrics, reasons=found.reasons),
        **portion_fields(workspace, plan),
        **({"heard": given.told} if given.told else {}),
        "cost": _cost(probe, sources, usable, training) | {"eval_seconds": round(meter.seconds, 3)},
    }
    write(evaluation.folder, found.predictions, result)
    return evaluation.folder


def _lists_options(plan: Plan, split: Split) -> bool:
    """Whether scoring writes the options: those of a block stand in its prompts already, in the order of training."""
    return split != BLOCK and lists_options(plan.recipe.prompt, plan.task.kind)


def _starved(device: str, section: ScoringSection) -> ScoringError:
    return ScoringError(
        f"Scoring ran out of memory on {device} with batches of {section.batch_size}. Lower it with "
        f"--set scoring.batch_size={max(1, section.batch_size // 4)}; training need not be done again."
    )


def _decoding(section: ScoringSection) -> str:
    if section.method == "likelihood":
        return EVERY_CHOICE
    decoding = GREEDY if section.beams == 1 else BEAMS.format(section.beams)
    return (
        decoding
        if section.repetition_penalty == 1
        else f"{decoding}, repetition penalty {section.repetition_penalty:g}"
    )


def _result(plan: Plan, sources: Sequence[Source], usable: Usable, *, listed: bool) -> dict[str, Any]:
    first = usable.examples[0]
    return {
        **provenance(plan, sources, usable, trainable=trainable_label(plan.recipe)),
        "llm_revision": plan.llm.revision,
        "template": TEMPLATE if plan.recipe.prompt.template == "raw" else plan.recipe.prompt.template,
        "prompt": drawn(first).prompt if listed else first.prompt,
        **({"options": LISTED} if listed else {}),
    }


def _cost(probe: Probe, sources: Sequence[Source], usable: Usable, training: dict[str, Any]) -> dict[str, Any]:
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
