"""Text ↔ token ids, for the built-in byte-level model and for Hugging Face's tokenizers alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = "{prompt}\n"  # the answer follows; generation ends at the next newline or at the end-of-sequence token


class Tokenizer(Protocol):
    """What palprobe needs of a tokenizer."""

    bos: int | None  # put before the prompt, once, where the LLM was trained so
    eos: int

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class ByteTokenizer:
    """UTF-8 bytes as tokens 0..255, then end of sequence: covers any label in any language."""

    bos: int | None = None
    eos: int = 256
    vocabulary_size = 257

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(token for token in ids if token < self.eos).decode(errors="replace")


class PretrainedTokenizer:
    """A Hugging Face tokenizer without its special tokens, which are placed by `encode_prompt`."""

    def __init__(self, folder: str | Path) -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with_special = self._tokenizer("a")["input_ids"]
        begin = self._tokenizer.bos_token_id
        self.bos: int | None = begin if begin is not None and with_special[:1] == [begin] else None
        self.eos: int = self._tokenizer.eos_token_id

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
    """Token ids of the templated prompt, with the begin-of-sequence token where the LLM expects one."""
    ids = tokenizer.encode(TEMPLATE.format(prompt=prompt))
    return (*(() if tokenizer.bos is None else (tokenizer.bos,)), *ids)


def encode_answer(tokenizer: Tokenizer, answer: str) -> tuple[int, ...]:
    """Token ids of an answer and its end, which makes no label the beginning of another."""
    return (*tokenizer.encode(answer), tokenizer.eos)


def encode_question(tokenizer: Tokenizer, prompt: str, answer: str) -> Question:
    return Question(encode_prompt(tokenizer, prompt), encode_answer(tokenizer, answer))
