"""Log likelihoods: of every choice of a closed question, with its audio or with none, and of an open one's references.

Likelihood is the default for closed questions: every choice gets a score, nothing is unparsable, and no sampling or
parser stands between the encoder and the number. A score is the sum of the answer's natural-log token probabilities
with the end-of-sequence token, so a label that begins another label is no better off (our choice; not in the paper).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from palprobe.errors import ScoringError
from palprobe.llm.tokenizer import Tokenizer, encode_answer, encode_prompt
from palprobe.scoring.reading import likeliest
from palprobe.scoring.tree import build_tree, score_tree
from palprobe.tasks.options import cyclic_prompts
from palprobe.training.probe import Probe
from palprobe.types import Example, Prediction

MAX_TREE_TOKENS = 1024  # answer tokens in one forward pass; more choices are scored in several
MAX_LOGITS = 1 << 26  # entries of one logits tensor (256 MiB): batches shrink for large vocabularies

Read = Callable[[Sequence[int]], list[list[Tensor]]]  # example numbers → for each encoder, (T, D) features each
Scores = dict[str, float]  # answer → log likelihood
Asked = tuple[tuple[str, ...], tuple[str, ...]]  # the prompts of a question, and its answers


def by_likelihood(
    probe: Probe, examples: Sequence[Example], read: Read, *, batch_size: int, listed: bool = False
) -> list[Prediction]:
    """Each example's most likely choice; in the order of `examples`.

    Args:
        probe: in eval mode.
        examples: closed questions.
        read: gives their features.
        batch_size: clips in a forward pass, at most.
        listed: prompts list their choices; a score is then the mean over the cyclic orders.

    Raises:
        ScoringError: an example without choices, or scores that are not finite.
    """
    for example in examples:
        if not example.choices:
            raise ScoringError(
                f"{example.id!r} is an open question: it has no choices to compare. Use --scoring generation."
            )
    asked = [_closed(example, listed) for example in examples]
    scores = _log_likelihoods(probe, examples, asked, read, batch_size)
    return [likeliest(example, found) for example, found in zip(examples, scores, strict=True)]


def null_scores(
    probe: Probe, examples: Sequence[Example], num_tokens: Sequence[int], *, listed: bool = False
) -> list[Scores]:
    """Of each closed question, the log likelihood of every choice under null audio: what it says hearing nothing.

    Null audio is the mean of the training clips in every token, zero once standardised. Questions that share prompt and
    choices share one forward pass.

    Args:
        probe: in eval mode.
        examples: closed questions.
        num_tokens: of each encoder, how many stored tokens the null audio has.
        listed: as in `by_likelihood`.
    """
    means = [branch.standardise.mean.detach().cpu().float() for branch in probe.branches]
    clips = [[mean.repeat(count, 1)] for mean, count in zip(means, num_tokens, strict=True)]
    asked = [_closed(example, listed) for example in examples]
    firsts = list({question: number for number, question in reversed(list(enumerate(asked)))}.values())
    found = _log_likelihoods(
        probe, [examples[number] for number in firsts], [asked[number] for number in firsts], lambda _: clips, 1
    )
    known = {asked[number]: scores for number, scores in zip(firsts, found, strict=True)}
    return [known[question] for question in asked]


def reference_scores(probe: Probe, examples: Sequence[Example], read: Read) -> list[Scores]:
    """Of each open question, the log likelihood of each of its different references; nothing for a closed one.

    Long references go through in several passes, so that their logits stay within `MAX_LOGITS` unless one alone does
    not.
    """
    numbers = [number for number, example in enumerate(examples) if not example.choices]
    asked: list[Asked] = [((examples[n].prompt,), tuple(dict.fromkeys(examples[n].references))) for n in numbers]
    longest = min(MAX_TREE_TOKENS, MAX_LOGITS // _vocabulary(probe))
    found = _log_likelihoods(
        probe, [examples[number] for number in numbers], asked,
        lambda chosen: read([numbers[place] for place in chosen]), 1, max_tokens=longest,
    )  # fmt: skip
    known = dict(zip(numbers, found, strict=True))
    return [known.get(number, {}) for number in range(len(examples))]


def text_tokens(
    tokenizer: Tokenizer, examples: Sequence[Example], max_new_tokens: int | None, *, listed: bool = False
) -> list[int]:
    """Of each example, the tokens of its prompt and longest answer, without the end that is only predicted.

    Args:
        tokenizer: of the LLM.
        examples: that are scored.
        max_new_tokens: of a generated answer, beside which an open question's references are scored; None: the choices
            are compared.
        listed: prompts list their choices.
    """
    known: dict[Asked, int] = {}  # few prompts and sets of choices make many examples
    asked = [((example.prompt,), example.choices or example.references) for example in examples]
    for question, example in zip(asked, examples, strict=True):
        if question not in known:
            compared = example.choices if max_new_tokens is None else () if example.choices else example.references
            answers = [max_new_tokens or 1, *(len(encode_answer(tokenizer, answer)) for answer in compared)]
            prompts = cyclic_prompts(example) if listed else [example.prompt]
            prompt = max(len(encode_prompt(tokenizer, prompt)) for prompt in prompts)
            known[question] = prompt + max(answers) - 1
    return [known[question] for question in asked]


def _closed(example: Example, listed: bool) -> Asked:
    """Listed, the order of choices in the file has no part in anything, rounding included."""
    if listed:
        return tuple(cyclic_prompts(example)), tuple(sorted(example.choices))
    return (example.prompt,), example.choices


def _log_likelihoods(
    probe: Probe,
    examples: Sequence[Example],
    asked: Sequence[Asked],
    read: Read,
    batch_size: int,
    *,
    max_tokens: int | None = None,
) -> list[Scores]:
    """The scores of each question's answers, averaged over its prompts."""
    groups: dict[Asked, list[int]] = defaultdict(list)  # those that share prompts and answers, hence trees
    for number, question in enumerate(asked):
        groups[question].append(number)
    found: dict[int, Scores] = {}
    for (prompts, answers), numbers in groups.items():
        chunks = list(_chunks(probe.llm.tokenizer, answers, max_tokens or MAX_TREE_TOKENS))
        rows = [_scores(probe, prompt, chunks, numbers, read, batch_size) for prompt in prompts]
        scores = torch.stack(rows).mean(0)  # (len(numbers), answers); of one prompt its own, bit for bit
        if not bool(torch.isfinite(scores).all()):
            name = examples[numbers[0]].id
            raise ScoringError(f"An answer of {name!r} got a score that is not finite: the probe has diverged.")
        found |= {n: dict(zip(answers, row, strict=True)) for n, row in zip(numbers, scores.tolist(), strict=True)}
    return [found[number] for number in range(len(examples))]


def _scores(
    probe: Probe,
    prompt: str,
    chunks: Sequence[Sequence[tuple[int, ...]]],
    numbers: Sequence[int],
    read: Read,
    batch_size: int,
) -> Tensor:
    """(len(numbers), answers) scores, in as many forward passes as the tree and the vocabulary need."""
    ids = encode_prompt(probe.llm.tokenizer, prompt)
    columns = []
    for answers in chunks:
        tree = build_tree(ids, answers)
        size = max(1, min(batch_size, MAX_LOGITS // (tree.kept * _vocabulary(probe))))
        parts = [
            score_tree(probe, tree, read(numbers[start : start + size]), len(answers))
            for start in range(0, len(numbers), size)
        ]
        columns.append(torch.cat(parts))
    return torch.cat(columns, dim=1)


def _chunks(tokenizer: Tokenizer, answers: Sequence[str], max_tokens: int) -> Iterator[list[tuple[int, ...]]]:
    chunk: list[tuple[int, ...]] = []
    for text in answers:
        answer = encode_answer(tokenizer, text)
        if chunk and sum(map(len, chunk)) + len(answer) > max_tokens:
            yield chunk
            chunk = []
        chunk.append(answer)
    yield chunk


def _vocabulary(probe: Probe) -> int:
    size: int = probe.llm.model.get_output_embeddings().weight.shape[0]
    return size
