"""Text ↔ token ids, for the built-in byte-level model and for Hugging Face's tokenizers alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from palprobe.llm.chat import end_of_turn, render_prompt
from palprobe.recipe import Template

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = "{prompt}\n"  # raw; the answer follows, and generation ends at the next newline or end-of-sequence token
PLAIN = {"raw": TEMPLATE, "xares": "{prompt}"}  # xares-llm has nothing between prompt and answer


class Tokenizer(Protocol):
    """What palprobe needs of a tokenizer."""

    bos: int | None  # put before the prompt, once, where the LLM was trained so
    eos: int  # ends an answer; with a chat template, the end of the turn

    def render(self, prompt: str) -> str:
        """The prompt as the LLM reads it, up to where the answer begins."""
        ...

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class ByteTokenizer:
    """UTF-8 bytes as tokens 0..255, then end of sequence: covers any label in any language."""

    bos: int | None = None
    eos: int = 256
    vocabulary_size = 257

    def __init__(self, template: Template = "raw") -> None:
        self._template = PLAIN[template]

    def render(self, prompt: str) -> str:
        return self._template.format(prompt=prompt)

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(token for token in ids if token < self.eos).decode(errors="replace")


class PretrainedTokenizer:
    """A Hugging Face tokenizer without its special tokens, which are placed by `encode_prompt` or by a chat template.

    Args:
        folder: with the tokenizer's files.
        template: `raw`, `chat` or `xares`.

    Raises:
        WeightsError: `chat`, and the tokenizer has no chat template.
    """

    def __init__(self, folder: str | Path, template: Template = "raw") -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self._template = template
        with_special = self._tokenizer("a")["input_ids"]
        begin = self._tokenizer.bos_token_id
        self.bos: int | None = begin if begin is not None and with_special[:1] == [begin] else None
        self.eos: int = self._tokenizer.eos_token_id
        if template == "chat":
            self.bos, self.eos = None, end_of_turn(self._tokenizer)

    def render(self, prompt: str) -> str:
        if self._template == "chat":
            return render_prompt(self._tokenizer, prompt)
        return PLAIN[self._template].format(prompt=prompt)

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text


@dataclass(frozen=True)
class Question:
    """A prompt and one answer as token ids; the answer ends with the end-of-sequence token."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> tuple[int, ...]:
    """Token ids of the templated prompt; the begin-of-sequence token stands where the LLM expects one, and once."""
    ids = tokenizer.encode(tokenizer.render(prompt))
    begins = () if tokenizer.bos is None or ids[:1] == [tokenizer.bos] else (tokenizer.bos,)
    return (*begins, *ids)


def encode_answer(tokenizer: Tokenizer, answer: str) -> tuple[int, ...]:
    """Token ids of an answer and its end, which makes no label the beginning of another."""
    return (*tokenizer.encode(answer), tokenizer.eos)


def encode_question(tokenizer: Tokenizer, prompt: str, answer: str) -> Question:
    return Question(encode_prompt(tokenizer, prompt), encode_answer(tokenizer, answer))
