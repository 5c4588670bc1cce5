"""One cell, trained: the probe is put together from the plan, trained, and its run folder finished."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from palprobe.distributed import resolve_device
from palprobe.errors import DataError
from palprobe.features.pooling import choose_pooling
from palprobe.features.source import FeatureSource
from palprobe.files import load_tensors
from palprobe.integrations import build_integration
from palprobe.llm import load_llm
from palprobe.llm.adapters import make_trainable
from palprobe.llm.tokenizer import encode_question
from palprobe.runs import Run
from palprobe.training.checkpoint import remove_checkpoint
from palprobe.training.loop import TrainingSet, train
from palprobe.training.probe import Probe
from palprobe.training.progress import Progress
from palprobe.training.workspace import Plan, Workspace


def build_probe(plan: Plan, source: FeatureSource, *, device: str) -> Probe:
    """The cell's probe with initial weights that its seed decides.

    Args:
        plan: of the cell.
        source: of its features; their shape counts.
        device: cpu, cuda or mps.
    """
    seed, recipe = plan.cell.seed, plan.recipe
    llm = load_llm(plan.llm, seed=seed, device=device)
    make_trainable(llm, plan.trainable, lora_rank=recipe.train.lora_rank, seed=seed)
    integration = build_integration(
        plan.cell.integration, dim=source.dim // source.num_layers, shape=llm.shape, section=plan.integration, seed=seed
    )
    pooling = choose_pooling(plan.integration, frame_rate=source.frame_rate, bands=source.bands)
    return Probe(integration, llm, dim=source.dim, num_layers=source.num_layers, pooling=pooling).to(device)


def load_probe(plan: Plan, source: FeatureSource, *, device: str) -> Probe:
    """The cell's probe as training left it."""
    probe = build_probe(plan, source, device=device)
    probe.load_trained_state(load_tensors(plan.run.probe_file))
    return probe.eval()


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
    source, usable = workspace.source(plan), workspace.usable(plan, "train")
    if not usable.examples:
        raise DataError(f"Task {plan.cell.task!r}: none of the training clips could be decoded.")
    device = resolve_device(workspace.places.device)
    probe = build_probe(plan, source, device=device)
    tokenizer = probe.llm.tokenizer

    def read(numbers: Sequence[int]) -> list[Tensor]:
        return source.get_many([usable.keys[number] for number in numbers])

    data = TrainingSet(
        ids=[example.id for example in usable.examples],
        questions=[encode_question(tokenizer, example.prompt, example.references[0]) for example in usable.examples],
        num_features=np.array([source.num_tokens(key) for key in usable.keys]),
        read=read,
    )
    plan.run.begin(plan.recipe)
    costs = train(probe, data, plan.recipe.train, plan.run, seed=plan.cell.seed, device=device, progress=progress)
    plan.run.finish({"id": plan.run.id, "device": device, "layer_weights": probe.layer_weights, **costs})
    remove_checkpoint(plan.run.folder)
    return plan.run
