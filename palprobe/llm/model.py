"""A decoder-only LLM that is shown audio: masks, positions, forward pass. It never asks which integration it serves."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from palprobe.errors import PalprobeError
from palprobe.llm.attention import KeyValue, Supply, as_argument, growing_cache, reading_cache
from palprobe.llm.blocks import running
from palprobe.llm.fused import FusedProjection
from palprobe.llm.generation import Continuation, beam_search, greedy
from palprobe.llm.masks import EVERYWHERE, Mask, find_windows, layer_masks, visibility
from palprobe.llm.memory import capture, find_layers, fits, project
from palprobe.llm.tokenizer import Tokenizer
from palprobe.types import AudioContext, LLMShape


@dataclass(frozen=True, eq=False)
class TextBatch:
    """Rows of token ids.

    Unless given, row i sees the real rows up to itself, and positions count the real rows.
    """

    ids: Tensor  # (B, L) long
    mask: Tensor  # (B, L) bool
    visible: Tensor | None = None  # (B, L, L) bool: row i sees row j
    positions: Tensor | None = None  # (B, L) long, from 0


@dataclass(frozen=True, eq=False)
class _Layout:
    """Where everything stands: columns are memory, then prefix, then text; rows are prefix, then text."""

    rows: Tensor  # (B, N + L, H) input rows
    positions: Tensor  # (B, N + L)
    columns: Tensor  # (B, M + N + L) bool: what is not padding
    column_positions: Tensor  # (B, M + N + L); EVERYWHERE for memory
    visible: Tensor | None  # (B, N + L, M + N + L) bool, without any window; None: plain causal
    memory_positions: Tensor | None  # (C, M)


def left_padded(rows: Sequence[Sequence[int]], *, device: torch.device | str = "cpu") -> TextBatch:
    """Token rows aligned at their ends, so that the last `logits_to_keep` columns hold every answer."""
    length = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for index, row in enumerate(rows):
        ids[index, length - len(row) :] = torch.tensor(row, dtype=torch.long)
        mask[index, length - len(row) :] = True
    return TextBatch(ids.to(device), mask.to(device))


class LanguageModel(nn.Module):
    """A pretrained (or tiny) decoder with its tokenizer.

    Args:
        model: loaded with the attention function of `palprobe.llm.attention`.
        tokenizer: of that model.

    Set `checkpointing` to save memory in training: decoder layers and blocks are then computed again going backward.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.model, self.tokenizer, self.checkpointing = model, tokenizer, False
        config = model.config.get_text_config()
        self._groups: int = config.num_attention_heads // (
            getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        )
        self._windows = find_windows(config)
        self.max_positions = _max_positions(config)
        model.get_output_embeddings().register_forward_pre_hook(_in_one_piece)
        with torch.no_grad():
            weight = model.get_input_embeddings().weight
            sample = model.get_input_embeddings()(torch.arange(min(4096, weight.shape[0]), device=weight.device))
        self.shape = LLMShape(
            config.hidden_size, config.num_hidden_layers, float(sample.float().square().mean().sqrt())
        )
        self._project = project if fits(self.decoder) else capture
        self._fused = FusedProjection(self.decoder) if self._project is project else None

    @property
    def decoder(self) -> Any:
        """The model without its vocabulary head."""
        return self.model.base_model

    @property
    def stacked_weights(self) -> list[Tensor]:
        """Rearranged copies of frozen weights that are kept beside the model."""
        return [] if self._fused is None else self._fused.stacked

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    def forward(self, text: TextBatch, context: AudioContext, *, logits_to_keep: int = 0) -> Tensor:
        """Logits after each text row.

        Args:
            text: B rows of L tokens, padded on either side.
            context: what the integration shows; `AudioContext()` for none, which gives the base LLM's logits. Several
                rows about one clip share what is computed of its audio alone.
            logits_to_keep: only the last so many rows get logits; 0: all text rows.

        Returns:
            (B, logits_to_keep or L, V)

        Raises:
            PalprobeError: audio and text take more positions than the model has.
        """
        layout = self._lay_out(text, context)
        cache, mask = None, None
        if layout.visible is not None:
            mask = self._masks(layout.visible, layout.positions, layout.column_positions, layout.rows.dtype)
            if context.memory:
                length = layout.columns.shape[1] - layout.rows.shape[1]
                cache = reading_cache(self._audio_layers(context, layout), length)
        with self._running(context, layout):
            return self._call(layout.rows, mask, layout.positions, cache, logits_to_keep or text.ids.shape[1])

    @torch.inference_mode()
    def generate(
        self, text: TextBatch, context: AudioContext, *, max_new_tokens: int, beams: int = 1, penalty: float = 1.0
    ) -> list[list[int]]:
        """A continuation of each row, without the end-of-sequence token.

        Args:
            text: prompts, padded on the left where they differ in length.
            context: as in `forward`.
            max_new_tokens: at most so many per row, and at least one.
            beams: 1 is greedy; more: `palprobe.llm.generation.beam_search`.
            penalty: on repeated tokens; see `palprobe.llm.generation.penalised`.

        Raises:
            PalprobeError: audio, text and answer take more positions than the model has.
        """
        assert bool(text.mask[:, -1].all()), "prompts end in the last column"  # noqa: S101 - see left_padded
        layout = self._lay_out(text, context, new_tokens=max_new_tokens)
        cache = growing_cache(self._audio_layers(context, layout))

        def read(ids: Tensor, visible: Tensor, positions: Tensor, column_positions: Tensor) -> Tensor:
            rows = self._embed(ids)
            mask = self._masks(visible, positions, column_positions, rows.dtype)
            return self._call(rows, mask, positions, cache, 1)[:, -1]

        mask = None
        if layout.visible is not None:
            mask = self._masks(layout.visible, layout.positions, layout.column_positions, layout.rows.dtype)
        written = Continuation(read, cache, columns=layout.columns, column_positions=layout.column_positions)
        with self._running(context, layout):
            logits = self._call(layout.rows, mask, layout.positions, cache, 1)[:, -1]
            write = greedy if beams == 1 else partial(beam_search, beams=beams)
            return write(logits, written, eos=self.tokenizer.eos, max_new_tokens=max_new_tokens, penalty=penalty)

    def _masks(self, visible: Tensor, positions: Tensor, column_positions: Tensor, dtype: torch.dtype) -> Mask:
        return layer_masks(visible, positions, column_positions, self._windows, groups=self._groups, dtype=dtype)

    def _call(self, rows: Tensor, mask: Mask | None, positions: Tensor, cache: Cache | None, keep: int) -> Tensor:
        logits: Tensor = self.model(
            inputs_embeds=rows,
            attention_mask=mask,
            position_ids=positions,
            use_cache=False,
            logits_to_keep=keep,
            **as_argument(self.model, cache),
        ).logits
        return logits

    def _embed(self, ids: Tensor) -> Tensor:
        rows: Tensor = self.model.get_input_embeddings()(ids)
        return rows

    @property
    def _recomputes(self) -> bool:
        return self.checkpointing and torch.is_grad_enabled()

    def _running(self, context: AudioContext, layout: _Layout) -> AbstractContextManager[None]:
        layers = list(find_layers(self.decoder, self.shape.num_layers))
        return running(layers, context, layout.columns, again=self._recomputes)

    def _audio_layers(self, context: AudioContext, layout: _Layout) -> list[Supply | None]:
        supplies: dict[int, Supply] = {}
        if context.memory:
            positions, make = layout.memory_positions, self._project
            assert positions is not None  # noqa: S101 - set with memory
            fused = self._fused is not None and self._fused.applies(context.memory)
            if self._recomputes and make is project and not fused:  # with its layer, so that nothing of it is kept
                one = partial(_projected, self.decoder, positions=positions, owner=context.owner)
                supplies = {index: partial(one, index, audio) for index, audio in context.memory.items()}
            else:
                pairs = (self._fused if self._fused and fused else make)(self.decoder, context.memory, positions)
                supplies = {index: partial(pair.rows, context.owner) for index, pair in pairs.items()}
            deaf = sorted(context.memory.keys() - supplies.keys())
            if deaf:
                raise PalprobeError(f"Layers {deaf} of {type(self.model).__name__} have no attention to show audio to.")
        return [supplies.get(index) for index in range(self.shape.num_layers)]

    def _lay_out(self, text: TextBatch, context: AudioContext, *, new_tokens: int = 0) -> _Layout:
        """Memory before prefix before text; positions consecutive per sample, padding not counted."""
        rows, real = self._embed(text.ids), text.mask
        start = real.new_zeros(len(real), 1, dtype=torch.long)  # (B, 1) position of the next real column
        memory_real, memory_positions = real[:, :0], None
        if context.memory:
            assert context.memory_mask is not None  # noqa: S101 - a mask comes with every memory
            memory_real = _of_rows(context.memory_mask, context.owner)
            memory_positions = _count(context.memory_mask, start[:1])
            if context.memory_positions == "none":  # rotation by 0 is none: all audio stands where the text begins
                memory_positions = torch.zeros_like(memory_positions)
            else:
                start = start + memory_real.sum(1, keepdim=True)
        prefix_positions = real.new_zeros(len(real), 0, dtype=torch.long)
        if context.prefix is not None:
            assert context.prefix_mask is not None  # noqa: S101 - a mask comes with every prefix
            prefix, prefix_real = (_of_rows(part, context.owner) for part in (context.prefix, context.prefix_mask))
            rows, real = torch.cat((prefix, rows), 1), torch.cat((prefix_real, real), 1)
            prefix_positions = _count(prefix_real, start)
            start = start + prefix_real.sum(1, keepdim=True)
        text_positions = _count(text.mask, start) if text.positions is None else text.positions + start
        positions = torch.cat((prefix_positions, text_positions), 1)
        self._check_layout(positions, text_positions - start, memory_real.shape[1], new_tokens)
        own_order = text.visible is not None or text.positions is not None  # else transformers guesses it is packed
        cut = self._windows.size is not None and rows.shape[1] > self._windows.size
        plain = not (memory_real.shape[1] or own_order or cut) and bool(real.all())
        visible = None if plain else visibility(memory_real, real, text.visible)
        if visible is not None and not context.prefix_sees_memory:
            visible[:, : real.shape[1] - text.mask.shape[1], : memory_real.shape[1]] = False
        column_positions = torch.cat((torch.full_like(memory_real, EVERYWHERE, dtype=torch.long), positions), 1)
        columns = torch.cat((memory_real, real), 1)
        return _Layout(rows, positions, columns, column_positions, visible, memory_positions)

    def _check_layout(self, positions: Tensor, text_positions: Tensor, memory: int, new_tokens: int) -> None:
        """`check_positions` of a layout; columns are counted first, as positions would have to come from the device."""
        if self.max_positions is not None and memory + positions.shape[1] + new_tokens > self.max_positions:
            text = int(text_positions.amax()) + 1
            audio = int(positions.amax()) + 1 - text
            self.check_positions(audio, text + max(0, new_tokens - 1))  # the last token is only predicted

    def check_positions(self, audio: int, text: int, *, what: str = "audio and text") -> None:
        """Refuses what is longer than the model.

        Args:
            audio: positions that the audio takes.
            text: tokens of prompt and answer.
            what: is so long; begins the message.

        Raises:
            PalprobeError: more than the model has.
        """
        if self.max_positions is not None and audio + text > self.max_positions:
            raise PalprobeError(
                f"The LLM has {self.max_positions} positions, and {what} take {audio + text} ({audio} of audio, {text} "
                "of prompt and answer). Pool the audio (--set integration.pool=time:4), or take an LLM with more."
            )


def _max_positions(config: Any) -> int | None:
    """How many positions the model reads; with longrope, at most those up to which all are rotated alike.

    Beyond, text would be rotated by other angles than the audio that was rotated before it.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        return int(rope.get("original_max_position_embeddings") or config.original_max_position_embeddings)
    found: int | None = getattr(config, "max_position_embeddings", None)
    return found


def _projected(decoder: Any, index: int, audio: Tensor, *, positions: Tensor, owner: Tensor | None) -> KeyValue:
    return project(decoder, {index: audio}, positions)[index].rows(owner)


def _of_rows(clips: Tensor, owner: Tensor | None) -> Tensor:
    """What a context has of each clip, for each text row."""
    return clips if owner is None else clips[owner]


def _count(real: Tensor, start: Tensor) -> Tensor:
    """(B, n) positions that count real columns from `start`; padding gets some valid position, and is never seen."""
    return (real.long().cumsum(1) - 1).clamp(min=0) + start


def _in_one_piece(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The head's rows without gaps: of the last rows of several texts, torch reads the vocabulary once for each."""
    return (arguments[0].contiguous(), *arguments[1:])
