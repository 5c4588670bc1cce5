"""One prompt and several answers in one row: what they share is computed once, and all are ranked in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from palprobe.llm.model import TextBatch
from palprobe.training.probe import Probe


@dataclass(frozen=True, eq=False)
class Tree:
    """A prompt and several answers in one row: [prompt ; answer 1 ; answer 2 ; …], each seeing the prompt and itself.

    What several answers begin with stands there once. Their last tokens do not stand there: they are only predicted.
    The first token of each is predicted by the prompt's last row.
    """

    ids: Tensor  # (L,)
    positions: Tensor  # (L,): every answer starts after the prompt
    visible: Tensor  # (L, L) bool
    rows: Tensor  # (answer tokens,): which kept row predicts each token, 0 being the prompt's last
    targets: Tensor  # (answer tokens,)
    owner: Tensor  # (answer tokens,): whose token it is
    kept: int  # rows that need logits


def build_tree(prompt: Sequence[int], answers: Sequence[Sequence[int]]) -> Tree:
    """Lays out a prompt and its answers; each answer has at least one token."""
    ids, positions = list(prompt), list(range(len(prompt)))
    kept_row: dict[tuple[int, ...], int] = {(): 0}  # how an answer begins → the kept row that reads this far
    rows: list[int] = []
    for answer in answers:
        for length in range(len(answer)):
            begun = tuple(answer[:length])
            if begun not in kept_row:
                kept_row[begun] = len(kept_row)
                ids.append(begun[-1])
                positions.append(len(prompt) + length - 1)
            rows.append(kept_row[begun])
    visible = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
    last = len(prompt) - 1
    for begun, row in kept_row.items():
        if begun:  # sees what the beginning one token shorter sees, and itself
            visible[last + row] = visible[last + kept_row[begun[:-1]]]
            visible[last + row, last + row] = True
    return Tree(
        ids=torch.tensor(ids),
        positions=torch.tensor(positions),
        visible=visible,
        rows=torch.tensor(rows),
        targets=torch.tensor([token for answer in answers for token in answer]),
        owner=torch.tensor([number for number, answer in enumerate(answers) for _ in answer]),
        kept=len(kept_row),
    )


@torch.inference_mode()
def score_tree(probe: Probe, tree: Tree, clips: Sequence[Sequence[Tensor]], num_answers: int) -> Tensor:
    """(B, answers) log likelihood of each answer, natural log, for B clips that share prompt and answers.

    Args:
        probe: in eval mode.
        tree: of the prompt and the answers.
        clips: for each encoder, the features of the B clips.
        num_answers: in the tree.
    """
    device, batch = probe.llm.device, len(clips[0])

    def repeated(part: Tensor) -> Tensor:
        return part.to(device).expand(batch, *part.shape)

    text = TextBatch(
        repeated(tree.ids),
        torch.ones(batch, len(tree.ids), dtype=torch.bool, device=device),
        visible=repeated(tree.visible),
        positions=repeated(tree.positions),
    )
    logits = probe(text, probe.context(clips), logits_to_keep=tree.kept)  # (B, kept, V)
    logs = logits.float().log_softmax(-1)
    tokens = logs[:, tree.rows, tree.targets]  # (B, answer tokens)
    scores = torch.zeros(batch, num_answers, dtype=torch.float64)  # on the CPU: mps has no float64
    return scores.index_add(1, tree.owner, tokens.cpu().double())
