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


def save_checkpoint(
    run: Path, probe: Probe, state: dict[str, Tensor], optimizer: torch.optim.Optimizer, *, step: int, seconds: float
) -> None:
    """After `step` finished steps; random state needs no saving, as every step seeds its own.

    Args:
        run: the folder.
        probe: what of it is trainable now has moments in the optimiser.
        state: all that training makes, in this stage or in another.
        optimizer: of this stage.
        step: over all stages.
        seconds: spent so far.
    """
    tensors: dict[str, Tensor] = {
        STEP: torch.tensor(step),
        SECONDS: torch.tensor(seconds, dtype=torch.float64),
        **{MODEL + name: value for name, value in state.items()},
    }
    for name, parameter in _trainable(probe).items():
        known = optimizer.state.get(parameter)
        if not known:  # no gradient has reached it yet
            continue
        tensors |= {FIRST + name: known["exp_avg"], SECOND + name: known["exp_avg_sq"], COUNT + name: known["step"]}
    save_tensors(checkpoint_path(run), tensors)


def load_progress(run: Path, probe: Probe) -> tuple[int, float]:
    """Puts back what was trained, if there is a checkpoint; returns (finished steps, seconds), (0, 0.0) without."""
    path = checkpoint_path(run)
    if not path.is_file():
        return 0, 0.0
    tensors = load_tensors(path)
    probe.load_trained_state({name.removeprefix(MODEL): t for name, t in tensors.items() if name.startswith(MODEL)})
    return int(tensors[STEP]), float(tensors[SECONDS])


def load_moments(run: Path, probe: Probe, optimizer: torch.optim.Optimizer) -> None:
    """Puts back what the optimiser knew, in the stage that the checkpoint was made in."""
    tensors = load_tensors(checkpoint_path(run))
    for name, parameter in _trainable(probe).items():
        if COUNT + name not in tensors:
            continue
        optimizer.state[parameter] = {
            "step": tensors[COUNT + name],
            "exp_avg": tensors[FIRST + name].to(parameter.device),
            "exp_avg_sq": tensors[SECOND + name].to(parameter.device),
        }


def remove_checkpoint(run: Path) -> None:
    """Of a finished run, nothing is resumed; a checkpoint is three times the trained weights."""
    checkpoint_path(run).unlink(missing_ok=True)


def _trainable(probe: Probe) -> dict[str, torch.nn.Parameter]:
    return {name: value for name, value in probe.named_parameters() if value.requires_grad}
