"""One cell, trained: the probe is put together from the plan, trained, and its run folder finished."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from palprobe.distributed import resolve_device
from palprobe.errors import DataError
from palprobe.features.pooling import Pooling, choose_pooling
from palprobe.features.source import Source
from palprobe.files import digest, load_tensors
from palprobe.integrations import build_integration
from palprobe.integrations.routing import Choice
from palprobe.llm import load_llm
from palprobe.llm.adapters import Lora, make_all_trainable
from palprobe.llm.tokenizer import encode_question
from palprobe.runs import Run
from palprobe.specs import split_encoders
from palprobe.tasks.kinds import learnt_answers
from palprobe.training.checkpoint import remove_checkpoint
from palprobe.training.curriculum import Stage
from palprobe.training.examples import Reader, TrainingSet, mix_of
from palprobe.training.lesson import Lesson
from palprobe.training.loop import train
from palprobe.training.planned import Usable
from palprobe.training.probe import Branch, Probe
from palprobe.training.progress import Progress
from palprobe.training.workspace import Plan, Workspace
from palprobe.types import LLMShape


def build_probe(plan: Plan, sources: Sequence[Source], *, device: str) -> Probe:
    """The cell's probe with initial weights that its seed decides.

    Args:
        plan: of the cell.
        sources: of its features, one for each encoder; their shapes count.
        device: cpu, cuda or mps.
    """
    seed, recipe = plan.cell.seed, plan.recipe
    llm = load_llm(plan.llm, seed=seed, device=device, template=recipe.prompt.template)
    sets = [stage.section.trainable or plan.trainable for stage in plan.course]
    lora = Lora(recipe.train.lora_rank, recipe.train.lora_alpha, recipe.train.lora_dropout)
    make_all_trainable(llm, sets, lora=lora, seed=seed)
    branches = [
        _branch(choice, source, llm.shape, seed=_branch_seed(seed, number))
        for number, (choice, source) in enumerate(zip(plan.integrations, sources, strict=True))
    ]
    llm.checkpointing = recipe.train.checkpointing
    return Probe(branches, llm, precision=getattr(torch, recipe.train.precision)).to(device)


def _branch(choice: Choice, source: Source, shape: LLMShape, *, seed: int) -> Branch:
    dim = source.dim // source.num_layers
    integration = build_integration(choice.name, dim=dim, shape=shape, section=choice.section, seed=seed)
    pooling = Pooling(grid=source.bands)
    if not source.ready:
        pooling = choose_pooling(choice.section, frame_rate=source.frame_rate, bands=source.bands)
    return Branch(integration, dim=source.dim, num_layers=source.num_layers, pooling=pooling, standardised=source.ready)


def _branch_seed(seed: int, number: int) -> int:
    """Of a branch's initial weights: two of the same shape must not begin alike."""
    return seed if number == 0 else int(digest([seed, number])[:15], 16)


def load_probe(plan: Plan, sources: Sequence[Source], *, device: str) -> Probe:
    """The cell's probe as training left it."""
    probe = build_probe(plan, sources, device=device)
    probe.load_trained_state(load_tensors(plan.run.probe_file))
    return probe.eval()


def readers_of(sources: Sequence[Source], keys: Sequence[str]) -> list[Reader]:
    """For each encoder, what reads the features of some of the examples whose clips have those keys."""

    def reader(source: Source) -> Reader:
        return lambda numbers: source.get_many([keys[number] for number in numbers])

    return [reader(source) for source in sources]


def layer_weights(plan: Plan, probe: Probe) -> list[float] | dict[str, list[float]] | None:
    """What the layers of the encoder count if they are mixed; of several encoders, by the names of those that mix."""
    names = split_encoders(plan.cell.encoder)
    found = {name: branch.layer_weights for name, branch in zip(names, probe.branches, strict=True)}
    if len(names) == 1:
        return found[names[0]]
    return {name: weights for name, weights in found.items() if weights is not None} or None


def train_cell(workspace: Workspace, plan: Plan, progress: Progress) -> Run:
    """Trains one cell, or goes on where it stopped; a finished one is left alone.

    Raises:
        UnfinishedError: its features are not there.
        DataError: none of its training clips could be decoded.
        IdentityError: its folder holds another run.
        TrainingError: training cannot go on.
    """
    if plan.run.finished:
        plan.run.check()
        return plan.run
    sources = workspace.sources(plan)
    usable = [_usable(workspace, plan, stage) for stage in plan.course]
    device = resolve_device(workspace.places.device)
    probe = build_probe(plan, sources, device=device)
    lessons = [
        Lesson(_training_set(probe, sources, stage, parts), stage.section, stage.section.trainable)
        for stage, parts in zip(plan.course, usable, strict=True)
    ]
    plan.run.begin(plan.recipe)
    costs = train(probe, lessons, plan.run, seed=plan.cell.seed, device=device, progress=progress)
    plan.run.finish({"id": plan.run.id, "device": device, "layer_weights": layer_weights(plan, probe), **costs})
    remove_checkpoint(plan.run.folder)
    return plan.run


def _usable(workspace: Workspace, plan: Plan, stage: Stage) -> list[Usable]:
    """The examples of a stage that have features, task by task."""
    found = []
    for material in stage.materials:
        usable = workspace.usable_of(plan, material, what="train")
        if not usable.examples:
            raise DataError(f"Task {material.task!r}: none of the training clips could be decoded.")
        found.append(usable)
    return found


def _training_set(probe: Probe, sources: Sequence[Source], stage: Stage, parts: Sequence[Usable]) -> TrainingSet:
    """The examples of a stage, tokenised: a question for each answer that is learnt."""
    asked = [
        (example, key, answer)
        for material, usable in zip(stage.materials, parts, strict=True)
        for example, key in zip(usable.examples, usable.keys, strict=True)
        for answer in learnt_answers(example, material.kind)
    ]
    tokenizer = probe.llm.tokenizer
    keys = [key for _, key, _ in asked]
    return TrainingSet(
        ids=[example.id for example, _, _ in asked],
        questions=[encode_question(tokenizer, example.prompt, answer) for example, _, answer in asked],
        num_features=np.array([[source.num_tokens(key) for source in sources] for key in keys]),
        readers=readers_of(sources, keys),
        keys=keys,
        mix=mix_of([usable.examples for usable in parts]),
    )
