"""How answers are read out of a probe: by the likelihood of choices under a rule, or as text by a parser."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from palprobe.recipe.section import Section

Method = Literal["likelihood", "generation"]
Rule = Literal["sum", "per-byte", "audio-pmi", "batch-calibrated"]  # what each does: palprobe/scoring/rules.py
Parse = Literal["strict", "contains"]  # palprobe/scoring/reading.py


class ScoringSection(Section):
    method: Method | list[Method] | None = Field(
        None, description="likelihood | generation | [likelihood, generation]; if not given, that of the kind of task"
    )
    rule: Rule = Field("sum", description="likelihood: what a choice is ranked by; the sum is what training maximises")
    parse: Parse = Field("strict", description="generation: the text is a choice, or contains one and no other")
    max_new_tokens: int = Field(24, ge=1)
    beams: int = Field(1, ge=1, le=64, description="of generation; 1 is greedy; memory grows with their number")
    repetition_penalty: float = Field(
        1.0, gt=0, description="of generation: above 1, tokens that were written become less likely"
    )
    embedder: str | None = Field(
        None,
        description="generation: folder of a sentence encoder; of closed questions the choice nearest to the text is a "
        "column beside its reading, of captions the likeness to the references",
    )
    bertscore_model: str | None = Field(None, description="captions: folder of the model that BERTScore compares by")
    bertscore_layer: int | None = Field(
        None, ge=0, description="of that model; 0 is the input of its first block; if not given, the last"
    )
    batch_size: int = Field(32, ge=1)
    bootstrap_draws: int = Field(2000, ge=100)

    @model_validator(mode="after")
    def _layer_of_a_model(self) -> Self:
        if self.bertscore_layer is not None and self.bertscore_model is None:
            raise ValueError("bertscore_layer is of a model, and bertscore_model names none: add it")
        return self

    @field_validator("method", mode="before")
    @classmethod
    def _methods(cls, value: Any) -> Any:
        asked = value if isinstance(value, list) else [value]
        if value is not None and (not asked or any(name not in get_args(Method) for name in asked)):
            raise ValueError("write likelihood, generation, or both: [likelihood, generation]")
        if len(asked) > len(get_args(Method)) or asked[1:] == asked[:1]:
            raise ValueError("the same entry stands there twice")
        return asked[0] if len(asked) == 1 else asked
