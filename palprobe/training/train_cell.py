"""One cell, trained: the probe is put together from the plan, trained, and its run folder finished."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from palprobe.distributed import resolve_device
from palprobe.errors import DataError
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


def build_probe(plan: Plan, *, dim: int, device: str) -> Probe:
    """The cell's probe with initial weights that its seed decides.

    Args:
        plan: of the cell.
        dim: D of the stored features.
        device: cpu, cuda or mps.
    """
    seed, recipe = plan.cell.seed, plan.recipe
    llm = load_llm(plan.llm, seed=seed, device=device)
    make_trainable(llm, plan.trainable, lora_rank=recipe.train.lora_rank, seed=seed)
    integration = build_integration(
        plan.cell.integration, dim=dim, shape=llm.shape, section=plan.integration, seed=seed
    )
    return Probe(integration, llm, dim=dim, pool=plan.integration.pool).to(device)


def load_probe(plan: Plan, *, dim: int, device: str) -> Probe:
    """The cell's probe as training left it."""
    probe = build_probe(plan, dim=dim, device=device)
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
    store, usable = workspace.store(plan), workspace.usable(plan, "train")
    if not usable.examples:
        raise DataError(f"Task {plan.cell.task!r}: none of the training clips could be decoded.")
    device = resolve_device(workspace.places.device)
    probe = build_probe(plan, dim=store.dim, device=device)
    tokenizer = probe.llm.tokenizer

    def read(numbers: Sequence[int]) -> list[Tensor]:
        return store.get_many([usable.keys[number] for number in numbers])

    data = TrainingSet(
        ids=[example.id for example in usable.examples],
        questions=[encode_question(tokenizer, example.prompt, example.references[0]) for example in usable.examples],
        num_features=np.array([store.num_tokens(key) for key in usable.keys]),
        read=read,
    )
    plan.run.begin(plan.recipe)
    costs = train(probe, data, plan.recipe.train, plan.run, seed=plan.cell.seed, device=device, progress=progress)
    plan.run.finish({"id": plan.run.id, "device": device, **costs})
    remove_checkpoint(plan.run.folder)
    return plan.run
