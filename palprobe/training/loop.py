"""The one training loop: every integration, task and trainable set, resumed exactly where it stopped."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from palprobe.distributed import machine_name, start
from palprobe.errors import TrainingError
from palprobe.files import append_line, digest, read_lines, save_tensors, write_text
from palprobe.llm.tokenizer import Question
from palprobe.recipe import TrainSection
from palprobe.runs import Run
from palprobe.training.batches import IGNORED, collate, plan_steps
from palprobe.training.checkpoint import load_checkpoint, save_checkpoint
from palprobe.training.cost import Meter
from palprobe.training.probe import STANDARDISE_CLIPS, Probe
from palprobe.training.progress import Progress, Report

if TYPE_CHECKING:
    from accelerate import Accelerator

BETAS = (0.9, 0.98)  # a short memory of squares: a few hundred steps are all there is
NAMED_ITEMS = 8  # ids in an error message

Reader = Callable[[Sequence[int]], list[Tensor]]  # example numbers → (T, D) features each, of one encoder


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Tokenised questions with a way to read their features: a reader for each encoder.

    `num_features` counts the T of each example and encoder without reading.
    """

    ids: Sequence[str]
    questions: Sequence[Question]
    num_features: np.ndarray  # (E, encoders)
    readers: Sequence[Reader]

    def read(self, numbers: Sequence[int]) -> list[list[Tensor]]:
        """For each encoder, the features of those examples."""
        return [reader(numbers) for reader in self.readers]


def train(
    probe: Probe, data: TrainingSet, section: TrainSection, run: Run, *, seed: int, device: str, progress: Progress
) -> dict[str, Any]:
    """Trains to the end and writes probe.safetensors; returns the costs for train.json.

    Args:
        probe: built, on `device`, with what is trainable marked so.
        data: the training split.
        section: steps, rates, masks.
        run: its folder takes log.jsonl and resume/.
        seed: of the order, the masks and the dropout.
        device: cpu, cuda or mps.
        progress: called after every step.

    Raises:
        PalprobeError: an example that is longer than the LLM.
        TrainingError: a loss or gradient that is not finite, no gradient at all, or a batch without an answer.
        KeyboardInterrupt: after the step in hand, with a checkpoint of it saved.
    """
    text_tokens = [len(question.prompt) + len(question.answer) - 1 for question in data.questions]
    probe.check_positions(data.ids, data.num_features.tolist(), text_tokens)
    meter = Meter(device)
    accelerator = start(device)
    standardise(probe, data)
    optimizer = torch.optim.AdamW(_groups(probe, section.weight_decay), lr=section.learning_rate, betas=BETAS)
    done, seconds_before = load_checkpoint(run.folder, probe, optimizer)
    _cut_log(run, done)
    engine, optimizer = accelerator.prepare(probe, optimizer)
    plan = plan_steps(_sort_keys(probe, data), batch_size=section.batch_size, steps=section.steps, seed=seed)
    probe.train()
    with _finishing_the_step() as interrupted:
        for step in range(done, section.steps):
            _seed_step(seed, step)
            record = _step(engine, optimizer, accelerator, data, plan[step], section, step)
            append_line(run.log_file, record | {"seconds": round(seconds_before + meter.seconds, 3)})
            progress(Report(step + 1, section.steps, record["loss"], section.batch_size))
            if interrupted.is_set() or ((step + 1) % section.checkpoint_steps == 0 and step + 1 < section.steps):
                spent = seconds_before + meter.seconds
                save_checkpoint(run.folder, probe, optimizer.optimizer, step=step + 1, seconds=spent)
            if interrupted.is_set():
                raise KeyboardInterrupt
    save_tensors(run.probe_file, probe.trained_state())
    return {
        "steps": section.steps,
        "examples": len(data.ids),
        "trainable_parameters": probe.num_trainable,
        "train_seconds": round(seconds_before + meter.seconds, 3),
        "peak_memory_bytes": meter.peak_bytes,
        "peak_memory_method": meter.method,
        "machine": machine_name(device),
    }


def standardise(probe: Probe, data: TrainingSet) -> None:
    """Measures the features of (at most STANDARDISE_CLIPS evenly chosen) training clips."""
    numbers = np.unique(np.linspace(0, len(data.ids) - 1, STANDARDISE_CLIPS).astype(int))
    chunks = np.array_split(numbers, max(1, len(numbers) // 64))
    for branch, reader in zip(probe.branches, data.readers, strict=True):
        branch.standardise.measure(clip for chunk in chunks for clip in reader(chunk.tolist()))


def learning_rate(step: int, section: TrainSection) -> float:
    """Linear warm-up to the peak, then half a cosine to zero at the last step."""
    warmup = max(1, round(section.warmup_fraction * section.steps))
    if step < warmup:
        return section.learning_rate * (step + 1) / warmup
    share = (step - warmup + 1) / (section.steps - warmup + 1)
    return section.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def answer_loss(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Mean cross-entropy over answer tokens.

    Args:
        logits: (B, A, V).
        targets: (B, A), IGNORED where there is no answer token.
        smoothing: label smoothing.
    """
    return F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, label_smoothing=smoothing
    )


def _step(
    engine: Any,
    optimizer: Any,
    accelerator: Accelerator,
    data: TrainingSet,
    numbers: np.ndarray,
    section: TrainSection,
    step: int,
) -> dict[str, Any]:
    batch = collate([data.questions[number] for number in numbers], accelerator.device)
    if not bool((batch.targets != IGNORED).any()):
        raise _stopped(step, data, numbers, "no answer token to learn from")
    context = engine.context(data.read(numbers.tolist()), section)
    logits = engine(batch.text, context, logits_to_keep=batch.targets.shape[1])
    loss = answer_loss(logits, batch.targets, section.label_smoothing)
    if not bool(torch.isfinite(loss)):
        raise _stopped(step, data, numbers, f"a loss of {float(loss.detach())}")
    if not loss.requires_grad:
        raise _stopped(step, data, numbers, "a loss that depends on nothing trainable")
    accelerator.backward(loss)
    norm = float(accelerator.clip_grad_norm_(engine.parameters(), section.gradient_clip))
    if not math.isfinite(norm) or norm == 0.0:
        raise _stopped(step, data, numbers, f"a gradient norm of {norm}")
    rate = learning_rate(step, section)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {"step": step + 1, "loss": float(loss.detach()), "learning_rate": rate, "gradient_norm": norm}


def _stopped(step: int, data: TrainingSet, numbers: np.ndarray, found: str) -> TrainingError:
    ids = [data.ids[number] for number in numbers]
    shown = ", ".join(repr(name) for name in ids[:NAMED_ITEMS]) + (" …" if len(ids) > NAMED_ITEMS else "")
    return TrainingError(
        f"Training stopped at step {step + 1}: {found}. Items of that step: {shown}. "
        "Try a lower --set train.learning_rate, and look at those items' audio and answers."
    )


def _groups(probe: Probe, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms and other vectors do not."""
    trained = [value for value in probe.parameters() if value.requires_grad]
    return [
        {"params": [value for value in trained if value.ndim >= 2], "weight_decay": weight_decay},
        {"params": [value for value in trained if value.ndim < 2], "weight_decay": 0.0},
    ]


def _sort_keys(probe: Probe, data: TrainingSet) -> np.ndarray:
    """(E, 2): what this integration's batches should have alike, then the other length."""
    audio = np.array([probe.num_audio_tokens(counts) for counts in data.num_features])
    text = np.array([len(question.prompt) + len(question.answer) for question in data.questions])
    if probe.buckets_by == "text":
        return np.stack([text, audio], axis=1)
    return np.stack([audio + text, audio], axis=1)


def _seed_step(seed: int, step: int) -> None:
    """Each step's masks and dropout depend on nothing but (seed, step), so a resumed run repeats them."""
    torch.manual_seed(int(digest([seed, step])[:15], 16))


def _cut_log(run: Run, done: int) -> None:
    """Drops log lines of steps after the checkpoint: they are about to be done again."""
    if run.log_file.is_file():
        lines = [line for line in read_lines(run.log_file) if line["step"] <= done]
        write_text(run.log_file, "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))


@contextmanager
def _finishing_the_step() -> Iterator[threading.Event]:
    """Turns Ctrl-C into a flag, so that no step is left half done; a second Ctrl-C interrupts at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)

    def remember(*_: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, remember)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
