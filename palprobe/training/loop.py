"""The one training loop: every integration, task and trainable set, resumed exactly where it stopped."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palprobe.distributed import machine_name, start
from palprobe.files import append_line, digest, read_lines, save_tensors, write_text
from palprobe.llm.adapters import set_trainable
from palprobe.runs import Run
from palprobe.training.checkpoint import load_moments, load_progress, save_checkpoint
from palprobe.training.cost import Meter
from palprobe.training.examples import standardise
from palprobe.training.lesson import Lesson, learning_rate, plan_lesson
from palprobe.training.probe import Probe
from palprobe.training.progress import Progress, Report
from palprobe.training.step import Machinery, take_step

if TYPE_CHECKING:
    from accelerate import Accelerator

BETA1 = 0.9  # of AdamW; the usual beta2 is short, as a few hundred steps are all there is


def train(
    probe: Probe, lessons: Sequence[Lesson], run: Run, *, seed: int, device: str, progress: Progress
) -> dict[str, Any]:
    """Trains to the end and writes probe.safetensors; returns the costs for train.json.

    Args:
        probe: built, on `device`, with everything marked as trainable that any lesson trains.
        lessons: in turn; each has an optimiser and a course of the learning rate of its own.
        run: its folder takes log.jsonl and resume/.
        seed: of the order, the masks and the dropout.
        device: cpu, cuda or mps.
        progress: called after every step.

    Raises:
        PalprobeError: an example that is longer than the LLM.
        TrainingError: a loss or gradient that is not finite, no gradient at all, a batch without an answer, or too
            little memory.
        KeyboardInterrupt: after the step in hand, with a checkpoint of it saved.
    """
    for data in (lesson.data for lesson in lessons):
        text_tokens = [len(question.prompt) + len(question.answer) - 1 for question in data.questions]
        probe.check_positions(data.ids, data.num_features.tolist(), text_tokens)
    meter = Meter(device)
    accelerator = start(device)
    standardise(probe, [lesson.data for lesson in lessons])
    state, trainable_parameters = probe.trained_state(), probe.num_trainable  # before a lesson freezes some of it
    done, seconds_before = load_progress(run.folder, probe)
    _cut_log(run, done)
    probe.train()
    with _finishing_the_step() as interrupted:
        session = _Session(probe, lessons, run, accelerator, meter, state, seed, done, seconds_before, interrupted)
        for number in range(len(lessons)):
            session.teach(number, progress)
    save_tensors(run.probe_file, state)
    return {
        "steps": session.num_steps,
        "examples": sum(len(lesson.data.ids) for lesson in lessons),
        "trainable_parameters": trainable_parameters,
        "train_seconds": round(session.seconds, 3),
        "peak_memory_bytes": meter.peak_bytes,
        "peak_memory_method": meter.method,
        "machine": machine_name(device),
    }


@dataclass(frozen=True, eq=False)
class _Session:
    """Training from where it stopped to its end, or to the next interruption."""

    probe: Probe
    lessons: Sequence[Lesson]
    run: Run
    accelerator: Accelerator
    meter: Meter
    state: dict[str, Tensor]  # of all that any lesson trains
    seed: int
    done: int  # steps, before
    seconds_before: float
    interrupted: threading.Event

    @property
    def num_steps(self) -> int:
        return sum(lesson.section.steps for lesson in self.lessons)

    @property
    def seconds(self) -> float:
        return self.seconds_before + self.meter.seconds

    def teach(self, number: int, progress: Progress) -> None:
        """Takes those steps of a lesson that are left."""
        lesson, before = self.lessons[number], self.lessons[:number]
        section, first = lesson.section, sum(earlier.section.steps for earlier in before)
        clips = sum(earlier.section.steps * earlier.section.batch_size for earlier in before)
        if self.done >= first + section.steps:
            return
        machinery = self._begin(lesson, resumed=self.done > first)
        plan = plan_lesson(self.probe, lesson, number=number, seed=self.seed)
        stage = {"stage": number + 1} if len(self.lessons) > 1 else {}
        for step in range(max(self.done, first), first + section.steps):
            _seed_step(self.seed, step)
            here = step - first
            rate = learning_rate(here, section)
            record = take_step(machinery, lesson.data, plan[here], section, step=step, rate=rate)
            append_line(self.run.log_file, record | stage | {"seconds": round(self.seconds, 3)})
            progress(Report(step + 1, self.num_steps, record["loss"], clips + (here + 1) * section.batch_size))
            self._save_if_due(machinery, section.checkpoint_steps, step + 1)

    def _begin(self, lesson: Lesson, *, resumed: bool) -> Machinery:
        if lesson.trainable is not None:
            set_trainable(self.probe.llm, lesson.trainable)
        section = lesson.section
        groups, betas = _groups(self.probe, section.weight_decay), (BETA1, section.beta2)
        optimizer = torch.optim.AdamW(groups, lr=section.learning_rate, betas=betas)
        if resumed:
            load_moments(self.run.folder, self.probe, optimizer)
        engine, prepared = self.accelerator.prepare(self.probe, optimizer)
        return Machinery(engine, prepared, self.accelerator)

    def _save_if_due(self, machinery: Machinery, every: int, step: int) -> None:
        if self.interrupted.is_set() or (step % every == 0 and step < self.num_steps):
            optimizer = machinery.optimizer.optimizer
            save_checkpoint(self.run.folder, self.probe, self.state, optimizer, step=step, seconds=self.seconds)
        if self.interrupted.is_set():
            raise KeyboardInterrupt


def _groups(probe: Probe, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms and other vectors do not."""
    trained = [value for value in probe.parameters() if value.requires_grad]
    return [
        {"params": [value for value in trained if value.ndim >= 2], "weight_decay": weight_decay},
        {"params": [value for value in trained if value.ndim < 2], "weight_decay": 0.0},
    ]


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
