"""How a probe is trained: what of the LLM moves, in how many steps or stages, and with how much memory."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from palprobe.recipe.section import Section

Trainable = Literal["connector", "lora-attention", "lora", "full"]  # each trains what stands before it too


class StageSection(Section):
    """A stage of a curriculum; whatever it does not say is as in `train`."""

    tasks: list[str] | None = Field(None, min_length=1, description="whose training splits")
    trainable: Trainable
    steps: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    batch_size: int | None = Field(None, ge=1)


BY_STAGE = ("trainable", "steps", "learning_rate")  # what every stage says for itself


class TrainSection(Section):
    """One loop for every integration; the defaults are ours (the paper is silent)."""

    tasks: list[str] | None = Field(
        None, min_length=1, description="whose training splits are trained on; none: that of the task that is tested"
    )
    trainable: Trainable | None = Field(None, description="none: full for tiny, else lora")
    steps: int = Field(400, ge=1)
    batch_size: int = Field(32, ge=1, description="questions in a step")
    accumulate: int = Field(1, ge=1, description="pieces that a step is computed in, to save memory")
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warmup_fraction: float = Field(0.1, ge=0, le=1)
    schedule: Literal["cosine", "linear"] = Field("cosine", description="how the rate falls to nothing after warm-up")
    beta2: float = Field(0.98, gt=0, lt=1, description="how long AdamW remembers squares of gradients")
    gradient_clip: float = Field(1.0, gt=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    time_mask: float = Field(0.2, ge=0, lt=1, description="largest share of frames hidden per clip")
    feature_mask: float = Field(
        0.2, ge=0, lt=1, description="largest share of the feature dimensions hidden in one stretch per clip"
    )
    lora_rank: int = Field(8, ge=1)
    lora_alpha: float | None = Field(None, gt=0, description="adapters are scaled by alpha / rank; none: 2 x rank")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="on what adapters read, in training")
    checkpointing: bool = Field(False, description="compute layers twice instead of keeping what they computed")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of matrix products, and of frozen weights; in scoring too"
    )
    checkpoint_steps: int = Field(200, ge=1)
    stages: list[StageSection] | None = Field(
        None, min_length=1, description="a curriculum, instead of trainable, steps and learning_rate: a list of stages"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        moot = [key for key in BY_STAGE if self.stages and getattr(self, key) != type(self).model_fields[key].default]
        if moot:
            raise ValueError(f"every stage says its own {moot[0]}: leave the one beside stages out")
        smallest = min(stage.batch_size for stage in self.course)
        if self.accumulate > smallest:
            raise ValueError(f"accumulate cuts a batch of {smallest} into {self.accumulate} pieces: lower it")
        return self

    @property
    def named_tasks(self) -> list[str]:
        """The tasks that are trained on by their names, each once."""
        return list(dict.fromkeys(name for part in self.course for name in part.tasks or []))

    def trains_on(self, task: str) -> bool:
        """Whether a probe that is tested on a task is trained on it too, in some stage."""
        return any(part.tasks is None or task in part.tasks for part in self.course)

    @property
    def course(self) -> list[TrainSection]:
        """The section of each stage in turn; without stages, this one alone."""
        own = [stage.model_dump(exclude_none=True) for stage in self.stages or []]
        return [self.model_copy(update={**part, "stages": None}) for part in own] or [self]
