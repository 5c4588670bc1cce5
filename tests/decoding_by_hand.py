"""Greedy decoding and beam search without caches, batches or tensors: a forward pass over everything for every step."""

import numpy as np
from small_llms import logits_of, text_of

from palprobe.llm.model import LanguageModel
from palprobe.types import AudioContext


def log_probabilities(llm: LanguageModel, ids: list[int], context: AudioContext) -> np.ndarray:
    logits = logits_of(llm, text_of(ids), context)[0, -1]
    return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()


def greedy(llm: LanguageModel, ids: list[int], context: AudioContext, count: int) -> list[int]:
    made: list[int] = []
    while len(made) < count:
        token = int(log_probabilities(llm, [*ids, *made], context).argmax())
        if token == llm.tokenizer.eos:
            break
        made.append(token)
    return made


def beam_search(llm: LanguageModel, ids: list[int], context: AudioContext, beams: int, count: int) -> list[int]:
    """The beam search of transformers' documentation, its defaults: mean log probability, no early stopping."""
    live: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[tuple[float, list[int]]] = []
    for length in range(1, count + 1):
        longer = []
        for total, made in live:
            logs = log_probabilities(llm, [*ids, *made], context)
            longer += [(total + logs[token], [*made, token]) for token in range(len(logs))]
        longer.sort(key=lambda pair: pair[0], reverse=True)
        for total, made in longer[:beams]:
            if made[-1] == llm.tokenizer.eos:
                ended.append((total / length, made[:-1]))
            elif length == count:
                ended.append((total / length, made))
        ended = sorted(ended, key=lambda pair: pair[0], reverse=True)[:beams]
        live = [(total, made) for total, made in longer if made[-1] != llm.tokenizer.eos][:beams]
        if len(ended) == beams and live[0][0] / length <= ended[-1][0]:
            break
    return ended[0][1]
