"""One step of training: in as many pieces as memory asks for, with the gradients of the whole batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from palprobe.errors import TrainingError
from palprobe.recipe.training import TrainSection
from palprobe.training.batches import IGNORED, TrainingBatch, collate
from palprobe.training.examples import TrainingSet, heard_by
from palprobe.training.out_of_memory import advice, when_out_of_memory
from palprobe.types import AudioContext

if TYPE_CHECKING:
    from accelerate import Accelerator

NAMED_ITEMS = 8  # ids in an error message


@dataclass(frozen=True, eq=False)
class Machinery:
    """What takes the steps: the probe and its optimiser, as accelerate prepared them."""

    engine: Any
    optimizer: Any
    accelerator: Accelerator


def take_step(
    machinery: Machinery, data: TrainingSet, numbers: np.ndarray, section: TrainSection, *, step: int, rate: float
) -> dict[str, float]:
    """Moves what is trained, and says how it went.

    Args:
        machinery: with the gradients cleared.
        data: of the stage.
        numbers: the examples of this step.
        section: masks, pieces, smoothing, clipping.
        step: steps that were taken before.
        rate: learning rate.

    Raises:
        TrainingError: a loss or gradient that is not finite, no gradient at all, no answer, or too little memory.
    """
    stop = Stop(data, numbers, step)
    with when_out_of_memory(lambda: stop.starved(machinery, section)):
        loss = sum(
            _piece(machinery, piece, section, stop) for piece in _pieces(machinery, data, numbers, section, stop)
        )
        norm = float(machinery.accelerator.clip_grad_norm_(machinery.engine.parameters(), section.gradient_clip))
        if not math.isfinite(norm) or norm == 0.0:
            raise stop.because(f"a gradient norm of {norm}")
        for group in machinery.optimizer.param_groups:
            group["lr"] = rate
        machinery.optimizer.step()
    machinery.optimizer.zero_grad(set_to_none=True)
    return {"step": step + 1, "loss": loss, "learning_rate": rate, "gradient_norm": norm}


@dataclass(frozen=True, eq=False)
class Piece:
    """Some rows of a step, and what they count in it."""

    batch: TrainingBatch
    context: AudioContext
    share: float  # of the step's answer tokens


def _pieces(
    machinery: Machinery, data: TrainingSet, numbers: np.ndarray, section: TrainSection, stop: Stop
) -> Iterator[Piece]:
    """The step, cut into `accumulate` pieces; each is made when the one before is done with."""
    engine = machinery.engine
    questions = [data.questions[number] for number in numbers]
    answers = np.array([len(question.answer) for question in questions])
    if not answers.sum():
        raise stop.because("no answer token to learn from")
    heard = heard_by(data, numbers.tolist())
    clips = data.read(heard.examples)
    masks = engine.draw_masks(len(heard.examples), section)  # of all clips: pieces must not change what is hidden
    for rows in np.array_split(np.arange(len(numbers)), section.accumulate):
        if not answers[rows].any():
            continue  # a mean over nothing
        part = heard.part(rows.tolist())
        places = torch.tensor(part.examples)
        context = engine.context(
            [[of_encoder[place] for place in part.examples] for of_encoder in clips],
            masks=[mask.of(places) for mask in masks],
            owner=None if part.one_each else part.owner,
        )
        batch = collate([questions[row] for row in rows], machinery.accelerator.device)
        yield Piece(batch, context, float(answers[rows].sum() / answers.sum()))


def _piece(machinery: Machinery, piece: Piece, section: TrainSection, stop: Stop) -> float:
    """Adds the gradients of a piece; returns what it adds to the step's loss."""
    logits = machinery.engine(piece.batch.text, piece.context, logits_to_keep=piece.batch.targets.shape[1])
    loss = answer_loss(logits, piece.batch.targets, section.label_smoothing) * piece.share
    found = float(loss.detach())
    if not math.isfinite(found):
        raise stop.because(f"a loss of {found}")
    if not loss.requires_grad:
        raise stop.because("a loss that depends on nothing trainable")
    machinery.accelerator.backward(loss)
    return found


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


@dataclass(frozen=True, eq=False)
class Stop:
    """Where training is, for a message that says why it cannot go on."""

    data: TrainingSet
    numbers: np.ndarray
    step: int

    def because(self, found: str) -> TrainingError:
        ids = [self.data.ids[number] for number in self.numbers]
        shown = ", ".join(repr(name) for name in ids[:NAMED_ITEMS]) + (" …" if len(ids) > NAMED_ITEMS else "")
        return TrainingError(
            f"Training stopped at step {self.step + 1}: {found}. Items of that step: {shown}. "
            "Try a lower --set train.learning_rate, and look at those items' audio and answers."
        )

    def starved(self, machinery: Machinery, section: TrainSection) -> TrainingError:
        questions: Sequence[Any] = [self.data.questions[number] for number in self.numbers]
        audio = max(machinery.engine.num_audio_tokens(self.data.num_features[number]) for number in self.numbers)
        text = max(len(question.prompt) + len(question.answer) for question in questions)
        return TrainingError(
            f"Training stopped at step {self.step + 1}: out of memory on {machinery.accelerator.device} with "
            f"batch_size {len(self.numbers)}, up to {audio} audio tokens and {text} text tokens each. {advice(section)}"
        )
