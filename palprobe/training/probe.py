"""The probe: for each encoder, cached features → pooled and standardised → integration; all → LLM → logits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from palprobe.errors import WeightsError
from palprobe.features.pooling import Pooling
from palprobe.integrations.joined import join_contexts
from palprobe.llm.model import LanguageModel, TextBatch
from palprobe.recipe.training import TrainSection
from palprobe.training.masking import Masks, draw_masks, hide_stretches
from palprobe.types import AudioContext, Integration

STANDARDISE_CLIPS = 2000  # enough clips for the mean and deviation of each dimension
SMALLEST_DEVIATION = 1e-4  # a dimension that never changes stays finite
_MEASURED = ".standardise."  # the buffers that are measured, not fixed


class Standardise(nn.Module):
    """Zero mean and unit variance per feature dimension, measured on training clips.

    Encoders differ by orders of magnitude in scale, and some have a few huge dimensions; connectors train alike on all.

    Args:
        dim: numbers of a token.
        measured: False where features are standardised already, and stay as they are.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, dim: int, *, measured: bool = True) -> None:
        super().__init__()
        self._measured = measured
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))

    def measure(self, clips: Iterable[Tensor]) -> None:
        """Sets both from (T, D) features, in one pass."""
        if not self._measured:
            return
        count = 0
        total, squares = (torch.zeros(self.mean.shape, dtype=torch.float64) for _ in range(2))
        for clip in clips:
            values = clip.cpu().double()  # mps has no float64
            count += len(values)
            total += values.sum(0)
            squares += values.square().sum(0)
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        self.mean.copy_(mean)
        self.deviation.copy_(variance.sqrt().clamp(min=SMALLEST_DEVIATION))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation


class LayerMix(nn.Module):
    """A learned softmax over the layers of an encoder, alike at first (the weighted sum of SUPERB, Yang et al. 2021).

    Args:
        num_layers: whose standardised features stand side by side.
    """

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_layers))

    @property
    def weights(self) -> Tensor:
        """(layers,) that add up to one."""
        return self.logits.softmax(0)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, layers · D) → (B, T, D)."""
        layers = features.view(*features.shape[:2], len(self.logits), -1)
        return torch.einsum("btld,l->btd", layers, self.weights)


def pad_frames(clips: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """(T_i, D) each → (B, T, D) padded at the end, and its (B, T) mask."""
    lengths = torch.tensor([len(clip) for clip in clips])
    features = nn.utils.rnn.pad_sequence(list(clips), batch_first=True)
    return features, torch.arange(features.shape[1])[None] < lengths[:, None]


class Branch(nn.Module):
    """The way of one encoder's features to what the LLM is shown.

    Args:
        integration: a module that is an `Integration`.
        dim: numbers of a stored token: D, or layers · D.
        num_layers: of the encoder, that are mixed.
        pooling: of the encoder's tokens, on reading.
        standardised: whether its features are so already.
    """

    def __init__(
        self, integration: nn.Module, *, dim: int, num_layers: int, pooling: Pooling, standardised: bool = False
    ) -> None:
        super().__init__()
        self.standardise = Standardise(dim, measured=not standardised)
        self.layer_mix = LayerMix(num_layers) if num_layers > 1 else None
        self.integration, self.pooling = integration, pooling

    def forward(self, clips: Sequence[Tensor], masks: Masks | None = None) -> AudioContext:
        """What the LLM is shown of C clips; each (T, D) as stored, with those stretches hidden."""
        device = self.standardise.mean.device
        features, mask = (part.to(device) for part in pad_frames([self.pooling.apply(clip.float()) for clip in clips]))
        features = self.standardise(features)
        if self.layer_mix is not None:
            features = self.layer_mix(features)
        if masks is not None:
            features = hide_stretches(features, mask, masks)
        context: AudioContext = self.integration(features, mask)
        return context

    @property
    def buckets_by(self) -> str:
        return cast(Integration, self.integration).buckets_by

    @property
    def layer_weights(self) -> list[float] | None:
        """What the layers count, first to last, if they are mixed."""
        return None if self.layer_mix is None else self.layer_mix.weights.tolist()

    def num_tokens(self, num_features: int) -> int:
        """Audio tokens that the LLM is shown for that many stored ones."""
        return cast(Integration, self.integration).num_tokens(self.pooling.count(num_features))

    def num_positions(self, num_features: int) -> int:
        """Positions of the LLM that those tokens take."""
        return cast(Integration, self.integration).num_positions(self.pooling.count(num_features))


class Probe(nn.Module):
    """All that is trained for one cell, and the frozen LLM it reads with.

    Args:
        branches: one for each encoder, in the order in which the LLM hears them.
        llm: the language model, already frozen or adapted.
        precision: of matrix products. In bfloat16, frozen matrices are rounded to it too; norms, biases and what is
            trained stay in float32 with gradients and the optimiser's state, and so do losses and scores.
    """

    def __init__(
        self, branches: Sequence[Branch], llm: LanguageModel, *, precision: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.branches = cast(Sequence[Branch], nn.ModuleList(branches))
        self.llm, self.precision = llm, precision
        if precision != torch.float32:
            for parameter in llm.parameters():
                if not parameter.requires_grad and parameter.ndim >= 2:
                    parameter.data = parameter.data.to(precision)
        self.dropped: frozenset[int] = frozenset()  # branches that the LLM is not shown

    def context(
        self,
        clips: Sequence[Sequence[Tensor]],
        *,
        masks: Sequence[Masks] | None = None,
        owner: Sequence[int] | None = None,
    ) -> AudioContext:
        """What the LLM is shown of C clips.

        Args:
            clips: for each encoder, the (T, D) features of every clip as stored.
            masks: for each encoder, what training hides of them; from `draw_masks`.
            owner: the clip of each question, where a clip is asked several; its audio is then computed once.
        """
        heard = [number for number in range(len(self.branches)) if number not in self.dropped]
        with self.casting():
            shown = [self.branches[number](clips[number], masks and masks[number]) for number in heard]
        context = join_contexts(shown)
        if owner is None:
            return context
        return replace(context, owner=torch.tensor(owner, dtype=torch.long, device=self.llm.device))

    def draw_masks(self, count: int, section: TrainSection) -> list[Masks]:
        """For each encoder, what a step of training hides of so many clips."""
        shares = {"time": section.time_mask, "feature": section.feature_mask}
        return [draw_masks(count, **shares, device=self.llm.device) for _ in self.branches]

    def forward(self, text: TextBatch, context: AudioContext, *, logits_to_keep: int) -> Tensor:
        with self.casting():
            logits: Tensor = self.llm(text, context, logits_to_keep=logits_to_keep)
        return logits

    def generate(
        self, text: TextBatch, context: AudioContext, *, max_new_tokens: int, beams: int = 1, penalty: float = 1.0
    ) -> list[list[int]]:
        """A continuation of each row; see `LanguageModel.generate`."""
        with self.casting():
            return self.llm.generate(text, context, max_new_tokens=max_new_tokens, beams=beams, penalty=penalty)

    def casting(self) -> AbstractContextManager[object]:
        """Inside, matrix products are computed in the probe's precision."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.llm.device.type, dtype=self.precision)

    def trained_state(self) -> dict[str, Tensor]:
        """The tensors that training makes: trainable parameters and the standardisations."""
        trained = {name: value for name, value in self.named_parameters() if value.requires_grad}
        return trained | {name: value for name, value in self.named_buffers() if _MEASURED in name}

    def load_trained_state(self, state: dict[str, Tensor]) -> None:
        """The reverse.

        Raises:
            WeightsError: a tensor is missing, one too many, or of another shape.
        """
        own = self.trained_state()
        expected, found = ({(name, *value.shape) for name, value in part.items()} for part in (own, state))
        if odd := sorted(name for name, *_ in expected ^ found):
            raise WeightsError(
                f"The saved probe does not fit its model: {odd[0]} is missing, unknown or of another shape. "
                "It is damaged, or was written with another version of peft; delete the run and train again."
            )
        with torch.no_grad():
            for name, value in state.items():
                own[name].copy_(value)

    def num_audio_tokens(self, num_features: Sequence[int]) -> int:
        """Audio tokens that the LLM is shown for that many stored ones of each encoder."""
        return sum(
            self.branches[number].num_tokens(int(count))
            for number, count in enumerate(num_features)
            if number not in self.dropped
        )

    def check_positions(
        self, ids: Sequence[str], num_features: Sequence[Sequence[int]], text_tokens: Sequence[int]
    ) -> None:
        """Refuses the first example that is longer than the LLM, before any time is spent on the others.

        Args:
            ids: of the examples.
            num_features: of each one, the stored tokens of each encoder.
            text_tokens: of each one's prompt and longest answer, without the end that is only predicted.

        Raises:
            PalprobeError: with its id and both numbers.
        """
        for name, counts, text in zip(ids, num_features, text_tokens, strict=True):
            heard = [(self.branches[at], count) for at, count in enumerate(counts) if at not in self.dropped]
            audio = sum(branch.num_positions(int(count)) for branch, count in heard)
            self.llm.check_positions(audio, text, what=f"audio and text of {name!r}")

    @property
    def buckets_by(self) -> str:
        """What a batch should have alike: the text alone where no encoder's audio goes through every layer."""
        kinds = {branch.buckets_by for branch in self.branches}
        return "text" if kinds == {"text"} else "audio and text"

    @property
    def num_trainable(self) -> int:
        return sum(value.numel() for value in self.parameters() if value.requires_grad)
