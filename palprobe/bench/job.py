"""What one process is to measure, as JSON between the parent and the process; loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from palprobe.bench.ways import APART
from palprobe.recipe.training import Trainable


@dataclass(frozen=True)
class Job:
    """An LLM with one integration, or an encoder, and the size of a batch."""

    kind: Literal["llm", "encoder"]
    audio_tokens: int
    batch: int  # clips
    device: str
    way: str = ""  # of an LLM: NAME[:CONNECTOR]
    config: dict[str, Any] | None = None  # as in config.json
    text_tokens: int = 0  # prompt and answer
    answer_tokens: int = 0
    new_tokens: int = 0  # decoded after the first
    dim: int = 0  # D of the features
    trainable: Trainable = "connector"
    dtype: Literal["float32", "bfloat16"] = "float32"
    encoder: str = ""  # of an encoder: its spec

    @property
    def measurements(self) -> tuple[str, ...]:
        """What it is asked for in each round."""
        if self.kind == "encoder":
            return ("encode",)
        return ("train",) if self.way == APART else ("train", "infer")  # decoding has attention of its own
