"""A first example as the LLM reads it, so that a person sees template, tokens and where the loss is."""

from __future__ import annotations

from palprobe.llm import LLMSource
from palprobe.llm.tokenizer import ByteTokenizer, PretrainedTokenizer, Tokenizer, encode_question
from palprobe.types import Example


def load_tokenizer(source: LLMSource) -> Tokenizer:
    """The tokenizer alone, without weights."""
    return ByteTokenizer() if source.folder is None else PretrainedTokenizer(source.folder)


def preview(source: LLMSource, example: Example) -> list[str]:
    """Lines that show prompt and answer of one example, as text and as token ids."""
    question = encode_question(load_tokenizer(source), example.prompt, example.references[0])
    return [
        f"prompt {example.prompt!r} answer {example.references[0]!r} choices {len(example.choices)}",
        f"tokens of the prompt: {' '.join(map(str, question.prompt))}",
        f"tokens of the answer, which alone are trained: {' '.join(map(str, question.answer))}",
    ]
