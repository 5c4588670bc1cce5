"""Which examples make up each step: fixed by the seed, alike for every integration, and cheap to pad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from palprobe.llm.model import TextBatch, left_padded
from palprobe.llm.tokenizer import Question

WINDOW_BATCHES = 16  # examples are sorted by length among so many batches, so order stays nearly random
# Lengths are compared in units of so many tokens. Exact lengths would sort short answers by label: a batch of "dog"
# alone teaches nothing else.
LENGTH_UNIT = 16
IGNORED = -100  # of cross_entropy: no target here


@dataclass(frozen=True, eq=False)
class Mix:
    """Sets of examples, and how often each is drawn from."""

    sets: np.ndarray  # (E,) the number of each example's set
    shares: np.ndarray  # (sets,) that add up to one


def plan_steps(
    sort_keys: np.ndarray,
    *,
    batch_size: int,
    steps: int,
    seed: int,
    clips: np.ndarray | None = None,
    mix: Mix | None = None,
) -> list[np.ndarray]:
    """The example numbers of every step.

    Epochs follow each other without a gap; among `WINDOW_BATCHES` batches, examples of like length go together. Two
    integrations that sort by different lengths still train on the same examples in every such window. Questions about
    one clip follow each other, so that most of them meet in one step, where their audio is computed once.

    Args:
        sort_keys: (E, any) token counts that a batch should have alike, most important column first.
        batch_size: examples in a step; a set smaller than that is repeated within a step.
        steps: how many.
        seed: of the order.
        clips: (E,) the number of each example's clip; None: every example has its own.
        mix: draws each place in the order from a set, whose own epochs follow each other; None: one set.
    """
    rng = np.random.default_rng(seed)
    needed = steps * batch_size
    if clips is None:
        clips = np.arange(len(sort_keys))
    longest = np.zeros((clips.max() + 1, sort_keys.shape[1]), sort_keys.dtype)
    np.maximum.at(longest, clips, sort_keys)
    sort_keys = longest[clips]  # alike for all questions of a clip, or sorting would part them
    stream = _stream(clips, needed, rng) if mix is None else _mixed(clips, mix, needed, rng)
    plan: list[np.ndarray] = []
    window = WINDOW_BATCHES * batch_size
    for start in range(0, needed, window):
        among = stream[start : start + window]
        order = np.lexsort(-(-sort_keys[among].T[::-1] // LENGTH_UNIT))  # stable: equal lengths stay in random order
        batches = among[order].reshape(-1, batch_size)
        plan += list(batches[rng.permutation(len(batches))])
    return plan


def _stream(clips: np.ndarray, needed: int, rng: np.random.Generator) -> np.ndarray:
    """(needed,) example numbers, epoch after epoch."""
    epochs = [_epoch(clips, rng) for _ in range(-(-needed // len(clips)))]
    return np.concatenate(epochs)[:needed]


def _mixed(clips: np.ndarray, mix: Mix, needed: int, rng: np.random.Generator) -> np.ndarray:
    """The same of several sets, each of which keeps its own order wherever its share places it."""
    drawn = rng.choice(len(mix.shares), size=needed, p=mix.shares)
    stream = np.empty(needed, dtype=np.int64)
    for number in range(len(mix.shares)):
        places, members = np.flatnonzero(drawn == number), np.flatnonzero(mix.sets == number)
        if len(places):
            own = np.unique(clips[members], return_inverse=True)[1]  # its clips, numbered from 0
            stream[places] = members[_stream(own, len(places), rng)]
    return stream


def _epoch(clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(E,) example numbers: clips in random order, the questions of each in theirs."""
    order = rng.permutation(clips.max() + 1)
    turn = np.empty_like(order)
    turn[order] = np.arange(len(order))
    return np.argsort(turn[clips], kind="stable")


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """Teacher-forced text rows and the targets of their last columns."""

    text: TextBatch  # prompt and answer but its last token, (B, L)
    targets: Tensor  # (B, A) the answers, right-aligned; IGNORED elsewhere


def collate(questions: Sequence[Question], device: torch.device | str) -> TrainingBatch:
    """Loss on answer tokens only: logits are asked for the last A columns, A being the longest answer."""
    text = left_padded([(*question.prompt, *question.answer[:-1]) for question in questions], device=device)
    answers = left_padded([question.answer for question in questions], device=device)
    return TrainingBatch(text, answers.ids.masked_fill(~answers.mask, IGNORED))
