"""Resuming exactly: trained tensors, optimiser moments and the step, in one file that is whole or absent."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from palprobe.files import load_tensors, save_tensors
from palprobe.training.probe import Probe

MODEL, FIRST, SECOND, COUNT = "model.", "first_moment.", "second_moment.", "updates."
STEP, SECONDS = "progress.step", "progress.seconds"


def checkpoint_path(run: Path) -> Path:
    return run / "resume" / "state.safetensors"


def save_checkpoint(run: Path, probe: Probe, optimizer: torch.optim.Optimizer, *, step: int, seconds: float) -> None:
    """After `step` finished steps; random state needs no saving, as every step seeds its own."""
    tensors: dict[str, Tensor] = {
        STEP: torch.tensor(step),
        SECONDS: torch.tensor(seconds, dtype=torch.float64),
        **{MODEL + name: value for name, value in probe.trained_state().items()},
    }
    for name, parameter in _trainable(probe).items():
        state = optimizer.state.get(parameter)
        if not state:  # no gradient has reached it yet
            continue
        tensors |= {FIRST + name: state["exp_avg"], SECOND + name: state["exp_avg_sq"], COUNT + name: state["step"]}
    save_tensors(checkpoint_path(run), tensors)


def load_checkpoint(run: Path, probe: Probe, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Puts a checkpoint back, if there is one; returns (finished steps, seconds spent), (0, 0.0) without."""
    path = checkpoint_path(run)
    if not path.is_file():
        return 0, 0.0
    tensors = load_tensors(path)
    probe.load_trained_state({name.removeprefix(MODEL): t for name, t in tensors.items() if name.startswith(MODEL)})
    for name, parameter in _trainable(probe).items():
        if COUNT + name not in tensors:
            continue
        optimizer.state[parameter] = {
            "step": tensors[COUNT + name],
            "exp_avg": tensors[FIRST + name].to(parameter.device),
            "exp_avg_sq": tensors[SECOND + name].to(parameter.device),
        }
    return int(tensors[STEP]), float(tensors[SECONDS])


def remove_checkpoint(run: Path) -> None:
    """Of a finished run, nothing is resumed; a checkpoint is three times the trained weights."""
    checkpoint_path(run).unlink(missing_ok=True)


def _trainable(probe: Probe) -> dict[str, torch.nn.Parameter]:
    return {name: value for name, value in probe.named_parameters() if value.requires_grad}
