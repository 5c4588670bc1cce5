"""Reading answers out of a probe: the likelihood of every choice in one forward pass, or generated text read strictly.

Likelihood is the default for closed questions: every choice gets a score, nothing is unparsable, and no sampling or
parser stands between the encoder and the number. A choice's score is the sum of its tokens' log probabilities with the
end-of-sequence token, so a label that begins another label is no better off (our choice; not in the paper).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from palprobe.errors import ScoringError
from palprobe.llm.model import TextBatch, left_padded
from palprobe.llm.tokenizer import Tokenizer, encode_answer, encode_prompt
from palprobe.training.probe import Probe
from palprobe.types import Example, Prediction

MAX_TREE_TOKENS = 1024  # answer tokens in one forward pass; more choices are scored in several
MAX_LOGITS = 1 << 26  # entries of one logits tensor (256 MiB): batches shrink for large vocabularies

Read = Callable[[Sequence[int]], list[list[Tensor]]]  # example numbers → for each encoder, (T, D) features each


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


def by_likelihood(probe: Probe, examples: Sequence[Example], read: Read, *, batch_size: int) -> list[Prediction]:
    """Each example's most likely choice; in the order of `examples`.

    Raises:
        ScoringError: an example without choices, or scores that are not finite.
    """
    predictions: dict[int, Prediction] = {}
    for numbers in _alike(examples):
        first = examples[numbers[0]]
        if not first.choices:
            raise ScoringError(
                f"{first.id!r} is an open question: it has no choices to compare. Use --scoring generation."
            )
        scores = _choice_scores(probe, first, numbers, read, batch_size)
        if not bool(torch.isfinite(scores).all()):
            raise ScoringError(f"A choice of {first.id!r} got a score that is not finite: the probe has diverged.")
        for number, row in zip(numbers, scores.tolist(), strict=True):
            predictions[number] = _best_choice(examples[number], row)
    return [predictions[number] for number in range(len(examples))]


def by_generation(
    probe: Probe,
    examples: Sequence[Example],
    read: Read,
    *,
    batch_size: int,
    max_new_tokens: int,
    beams: int = 1,
    penalty: float = 1.0,
) -> list[Prediction]:
    """Each example's generated answer up to a newline; a closed question's answer must be one of its choices.

    Text that is no choice (after trimming and ignoring case) is wrong, and counted as invalid. One beam is greedy.

    Raises:
        ScoringError: an answer of several lines, which could never be right.
    """
    for example in examples:
        if any("\n" in answer for answer in (*example.choices, *example.references)):
            raise ScoringError(
                f"{example.id!r} has an answer of several lines, and generated text ends with its first. "
                "Use --scoring likelihood, or put answers on one line."
            )
    predictions = []
    for start in range(0, len(examples), batch_size):
        numbers = range(start, min(start + batch_size, len(examples)))
        prompts = [encode_prompt(probe.llm.tokenizer, examples[number].prompt) for number in numbers]
        text = left_padded(prompts, device=probe.llm.device)
        with torch.inference_mode():
            context = probe.context(read(list(numbers)))
        answers = probe.generate(text, context, max_new_tokens=max_new_tokens, beams=beams, penalty=penalty)
        for number, ids in zip(numbers, answers, strict=True):
            predictions.append(parse_answer(examples[number], probe.llm.tokenizer.decode(ids)))
    return predictions


def text_tokens(tokenizer: Tokenizer, examples: Sequence[Example], max_new_tokens: int | None) -> list[int]:
    """Of each example, the tokens of its prompt and longest answer, without the end that is only predicted.

    Args:
        tokenizer: of the LLM.
        examples: that are scored.
        max_new_tokens: of a generated answer; None: the choices are compared.
    """
    known: dict[tuple[str, tuple[str, ...]], int] = {}  # few prompts and sets of choices make many examples
    for example in examples:
        if (example.prompt, example.choices) not in known:
            answers = [len(encode_answer(tokenizer, choice)) for choice in example.choices]
            longest = max(answers, default=1) if max_new_tokens is None else max_new_tokens
            known[example.prompt, example.choices] = len(encode_prompt(tokenizer, example.prompt)) + longest - 1
    return [known[example.prompt, example.choices] for example in examples]


def parse_answer(example: Example, text: str) -> Prediction:
    """Strict reading: the first line, trimmed; case counts only where some choices differ by nothing else."""
    answer = text.split("\n")[0].strip()
    alike = len({choice.casefold() for choice in example.choices}) < len(example.choices)
    fold: Callable[[str], str] = str if alike else str.casefold
    known = {fold(choice): choice for choice in example.choices}
    valid = fold(answer) in known if example.choices else bool(answer)
    answer = known.get(fold(answer), answer)
    right = {fold(reference) for reference in example.references}
    return _prediction(example, answer, {}, correct=valid and fold(answer) in right, valid=valid)


def _best_choice(example: Example, scores: Sequence[float]) -> Prediction:
    best = max(range(len(scores)), key=scores.__getitem__)
    answer = example.choices[best]
    named = dict(zip(example.choices, scores, strict=True))
    return _prediction(example, answer, named, correct=answer in example.references, valid=True)


def _prediction(example: Example, answer: str, scores: dict[str, float], *, correct: bool, valid: bool) -> Prediction:
    return Prediction(
        id=example.id,
        group=example.group,
        part=example.part,
        reference=example.references[0],
        prediction=answer,
        scores=scores,
        correct=correct,
        valid=valid,
        references=example.references if len(example.references) > 1 else (),
    )


def _alike(examples: Sequence[Example]) -> list[list[int]]:
    """Numbers of the examples that share prompt and choices, hence a tree."""
    groups: dict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        groups[example.prompt, example.choices].append(number)
    return list(groups.values())


def _choice_scores(probe: Probe, first: Example, numbers: list[int], read: Read, batch_size: int) -> Tensor:
    """(len(numbers), choices) scores, in as many forward passes as the tree and the vocabulary need."""
    tokenizer = probe.llm.tokenizer
    prompt = encode_prompt(tokenizer, first.prompt)
    columns = []
    for answers in _chunks(tokenizer, first.choices):
        tree = build_tree(prompt, answers)
        vocabulary = probe.llm.model.get_output_embeddings().weight.shape[0]
        size = max(1, min(batch_size, MAX_LOGITS // (tree.kept * vocabulary)))
        parts = [
            score_tree(probe, tree, read(numbers[start : start + size]), len(answers))
            for start in range(0, len(numbers), size)
        ]
        columns.append(torch.cat(parts))
    return torch.cat(columns, dim=1)


def _chunks(tokenizer: Tokenizer, choices: Sequence[str]) -> Iterator[list[tuple[int, ...]]]:
    chunk: list[tuple[int, ...]] = []
    for choice in choices:
        answer = encode_answer(tokenizer, choice)
        if chunk and sum(map(len, chunk)) + len(answer) > MAX_TREE_TOKENS:
            yield chunk
            chunk = []
        chunk.append(answer)
    yield chunk
