"""A tokenizer's own chat template: the prompt as one user turn, and the token with which an answer ends.

The template alone decides which special tokens there are, the beginning of the sequence too: none is put before it.
What a template would take from the clock or from a switch is fixed, so that a probe is evaluated on the prompts it was
trained on: the date, and no thinking before the answer.
"""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError

from palprobe.errors import WeightsError

VERSION = 1  # of what is fixed here; part of the identity of runs with a chat template

TODAY = {"%d": "01", "%-d": "1", "%m": "01", "%b": "Jan", "%B": "January", "%Y": "2025", "%y": "25", "%A": "Wednesday"}
REPLACED = "".join(f"|replace('{code}', '{text}')" for code, text in TODAY.items())
CLOCK = "{%- macro strftime_now(form) -%}{{ form" + REPLACED + " }}{%- endmacro %}"
SWITCHES = {"enable_thinking": False, "date_string": "01 Jan 2025"}  # Qwen3 and SmolLM3; Llama 3
ANSWER = "ANSWER"  # stands where an answer would, to see what follows it


def render_prompt(tokenizer: Any, prompt: str) -> str:
    """The text that the LLM reads before it answers.

    Args:
        tokenizer: transformers'.
        prompt: of the user.

    Raises:
        WeightsError: the tokenizer has no chat template, or one that cannot be used.
    """
    return _render(tokenizer, [{"role": "user", "content": prompt}], add_generation_prompt=True)


def end_of_turn(tokenizer: Any) -> int:
    """The special token that the template writes after an answer, else the end-of-sequence token."""
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": ANSWER}]
    _, found, after = _render(tokenizer, turns, add_generation_prompt=False).rpartition(ANSWER)
    ids = tokenizer(after.lstrip(), add_special_tokens=False)["input_ids"] if found else []
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    end: int = ids[0] if ids and ids[0] in special else tokenizer.eos_token_id
    return end


def _render(tokenizer: Any, turns: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    if not tokenizer.chat_template:
        raise WeightsError(
            f"prompt.template = chat: the tokenizer of {tokenizer.name_or_path} has no chat template. "
            "Use --set prompt.template=raw, or an instruction-tuned LLM."
        )
    try:
        text: str = tokenizer.apply_chat_template(
            turns,
            chat_template=CLOCK + tokenizer.get_chat_template(),
            add_generation_prompt=add_generation_prompt,
            tokenize=False,
            **SWITCHES,
        )
    except (TemplateError, ValueError, TypeError) as error:
        raise WeightsError(
            f"prompt.template = chat: the chat template of {tokenizer.name_or_path} does not take one user turn "
            f"({' '.join(str(error).split())}). Use --set prompt.template=raw."
        ) from error
    return text
