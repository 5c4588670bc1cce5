"""Writing answers token by token, greedily or with several beams; which model writes, and what it hears, is not known.

B items, W beams of each; the rows of an item follow each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import Cache

from palprobe.llm.masks import EVERYWHERE

# (rows, 1) ids, (rows, 1, columns) visible columns, (rows, 1) positions, (rows, columns) their positions → (rows, V)
Read = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class Continuation:
    """Rows that are read on token by token, and the cache that remembers what they have read.

    Args:
        read: one more token of every row, into `cache`.
        cache: growing; holds the prompts already.
        columns: (B, columns) bool: what is not padding.
        column_positions: (B, columns); `EVERYWHERE` for memory.
    """

    def __init__(self, read: Read, cache: Cache, *, columns: Tensor, column_positions: Tensor) -> None:
        self._read, self._cache = read, cache
        self._columns, self._column_positions = columns, column_positions
        rows_only = column_positions.masked_fill(column_positions == EVERYWHERE, 0)
        self._position = rows_only.amax(dim=1, keepdim=True)  # (B, 1) of the last token

    def read_on(self, tokens: Tensor) -> Tensor:
        """(rows,) one more token of each row → (rows, V) logits after it."""
        self._position = self._position + 1
        self._columns = torch.cat((self._columns, self._columns.new_ones(len(tokens), 1)), dim=1)
        self._column_positions = torch.cat((self._column_positions, self._position), dim=1)
        return self._read(tokens[:, None], self._columns[:, None], self._position, self._column_positions)

    def keep(self, rows: Tensor) -> None:
        """Goes on with these rows, in this order; a row may be named several times."""
        self._cache.reorder_cache(rows)
        self._columns, self._column_positions = self._columns[rows], self._column_positions[rows]
        self._position = self._position[rows]


def penalised(scores: Tensor, written: Tensor, penalty: float) -> Tensor:
    """Scores with those of tokens that were written divided by the penalty, or times it where they are negative.

    Args:
        scores: (rows, V) logits or log probabilities.
        written: (rows, length) token ids.
        penalty: 1 changes nothing.

    Source: Keskar et al. 2019 (arXiv 1909.05858), as transformers has it; the prompt is not counted.
    """
    found = scores.gather(1, written)
    return scores.scatter(1, written, torch.where(found < 0, found * penalty, found / penalty))


def greedy(
    logits: Tensor, rows: Continuation, *, eos: int, max_new_tokens: int, penalty: float = 1.0
) -> list[list[int]]:
    """The likeliest token, again and again.

    Args:
        logits: (B, V) after the prompts.
        rows: that have read the prompts.
        eos: ends a row, and is not part of its answer.
        max_new_tokens: at most so many per row.
        penalty: on tokens that the row has written.
    """
    finished = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
    tokens: list[Tensor] = []
    while True:
        if penalty != 1 and tokens:
            logits = penalised(logits.float(), torch.stack(tokens, dim=1), penalty)
        tokens.append(logits.argmax(-1))  # (B,); what a row writes after its end is cut off below
        finished = finished | (tokens[-1] == eos)
        if finished.all() or len(tokens) == max_new_tokens:
            break
        logits = rows.read_on(tokens[-1])
    answers: list[list[int]] = torch.stack(tokens, dim=1).tolist()
    return [answer[: answer.index(eos)] if eos in answer else answer for answer in answers]


def beam_search(
    logits: Tensor, rows: Continuation, *, beams: int, eos: int, max_new_tokens: int, penalty: float = 1.0
) -> list[list[int]]:
    """The best of what W beams find, each answer judged by the mean log probability of its tokens, its end included.

    The mean is what keeps long answers from losing to an empty one. Rules and ties are those of transformers with
    `length_penalty=1` and `early_stopping=False`, its defaults: an answer counts as finished only where its end is
    among the W best continuations, and an item is done once W answers are finished and the best live beam is no
    better per token than the worst of them.

    Args:
        logits: (B, V) after the prompts.
        rows: that have read the prompts.
        beams: W, at least 2.
        eos: ends a beam, and is not part of its answer.
        max_new_tokens: at most so many per answer; a beam of that length is an answer without an end.
        penalty: on log probabilities of tokens that the beam has written; their sums are of what it leaves.
    """
    count, vocabulary = logits.shape
    items = [_Item(beams) for _ in range(count)]
    sums = logits.new_zeros(count, 1, dtype=torch.float32)  # (B, live beams) log probability so far
    written = logits.new_zeros(count, 0, dtype=torch.long)  # (B · live beams, length)
    for length in range(1, max_new_tokens + 1):
        logs = logits.float().log_softmax(-1)
        if penalty != 1:
            logs = penalised(logs, written, penalty)
        totals = (sums[:, :, None] + logs.view(count, -1, vocabulary)).flatten(1)  # (B, live beams · V)
        totals, places = totals.topk(min(2 * beams, totals.shape[1]))  # 2W, as W of them can be ends
        parents, tokens = places // vocabulary, places % vocabulary
        last = length == max_new_tokens
        going = [
            item.extend(list(zip(*candidates, strict=True)), length=length, eos=eos, last=last)
            for item, *candidates in zip(items, totals.tolist(), parents.tolist(), tokens.tolist(), strict=True)
        ]
        if last or all(item.closed for item in items):
            break
        chosen = torch.tensor(going, device=logits.device)  # (B, W) of the 2W
        first = torch.arange(count, device=logits.device)[:, None] * sums.shape[1]  # each item's first row
        kept, new = (first + parents.gather(1, chosen)).flatten(), tokens.gather(1, chosen).flatten()
        rows.keep(kept)
        sums, written = totals.gather(1, chosen), torch.cat((written[kept], new[:, None]), dim=1)
        logits = rows.read_on(new)
    return [item.finished[0][1] for item in items]


class _Item:
    """One item's beams: those that go on, and the W best that have ended."""

    def __init__(self, beams: int) -> None:
        self.beams, self.closed = beams, False
        self.live: list[list[int]] = [[]]
        self.finished: list[tuple[float, list[int]]] = []  # mean log probability and answer, best first

    def extend(self, candidates: Sequence[tuple[float, int, int]], *, length: int, eos: int, last: bool) -> list[int]:
        """Takes the 2W best continuations, as (sum, beam, token), best first; the ranks of the W that go on."""
        going = [rank for rank, (_, _, token) in enumerate(candidates) if token != eos][: self.beams]
        if not self.closed:
            for total, parent, token in candidates[: self.beams]:
                if last or token == eos:
                    answer = self.live[parent] + ([] if token == eos else [token])
                    self.finished.append((total / length, answer))
            self.finished = sorted(self.finished, key=lambda pair: -pair[0])[: self.beams]
            best = candidates[going[0]][0] / length
            self.closed = len(self.finished) == self.beams and best <= self.finished[-1][0]
        self.live = [[*self.live[candidates[rank][1]], candidates[rank][2]] for rank in going]
        return going
