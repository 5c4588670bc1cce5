"""A first example as the LLM reads it, so that a person sees template, tokens and where the loss is."""

from __future__ import annotations

from palprobe.llm import LLMSource, load_tokenizer
from palprobe.llm.tokenizer import encode_question
from palprobe.recipe import Template
from palprobe.types import Example


def preview(source: LLMSource, example: Example, template: Template = "raw") -> list[str]:
    """Lines that show prompt and answer of one example, as text and as token ids."""
    tokenizer = load_tokenizer(source, template)
    question = encode_question(tokenizer, example.prompt, example.references[0])
    return [
        f"prompt {example.prompt!r} answer {example.references[0]!r} choices {len(example.choices)}",
        f"the LLM reads, after the audio: {tokenizer.render(example.prompt)!r}",
        f"tokens of the prompt: {' '.join(map(str, question.prompt))}",
        f"tokens of the answer, which alone are trained: {' '.join(map(str, question.answer))}",
    ]
