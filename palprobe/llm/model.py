"""A decoder-only LLM that is shown audio: masks, positions, forward pass. It never asks which integration it serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from palprobe.errors import PalprobeError
from palprobe.llm.attention import KeyValue, additive_mask, as_argument, growing_cache, reading_cache
from palprobe.llm.fused import FusedProjection
from palprobe.llm.memory import Make, capture, find_layers, fits, project
from palprobe.llm.tokenizer import Tokenizer
from palprobe.types import AudioContext, Block, LLMShape


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
    visible: Tensor | None  # (B, N + L, M + N + L) bool; None: plain causal
    memory_positions: Tensor | None  # (B, M)


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
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        config = model.config.get_text_config()
        self._groups: int = config.num_attention_heads // (
            getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        )
        self._window: int | None = _sliding_window(config)
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
            context: what the integration shows; `AudioContext()` for none, which gives the base LLM's logits.
            logits_to_keep: only the last so many rows get logits; 0: all text rows.

        Returns:
            (B, logits_to_keep or L, V)

        Raises:
            PalprobeError: the rows do not fit the model's sliding window.
        """
        layout = self._lay_out(text, context)
        cache, mask = None, None
        if layout.visible is not None:
            mask = additive_mask(layout.visible, self._groups, layout.rows.dtype)
            if context.memory:
                length = layout.columns.shape[1] - layout.rows.shape[1]
                cache = reading_cache(self._audio_layers(context, layout), length)
        with self._running(context.blocks, layout.columns):
            return self._call(layout.rows, mask, layout.positions, cache, logits_to_keep or text.ids.shape[1])

    @torch.inference_mode()
    def generate(self, text: TextBatch, context: AudioContext, *, max_new_tokens: int) -> list[list[int]]:
        """Greedy continuation of each row, without the end-of-sequence token.

        Args:
            text: prompts, padded on the left where they differ in length.
            context: as in `forward`.
            max_new_tokens: at most so many per row, and at least one.
        """
        assert bool(text.mask[:, -1].all()), "prompts end in the last column"  # noqa: S101 - see left_padded
        layout = self._lay_out(text, context, new_tokens=max_new_tokens)
        cache = growing_cache(self._audio_layers(context, layout))
        columns = layout.columns
        mask = None if layout.visible is None else additive_mask(layout.visible, self._groups, layout.rows.dtype)
        position = layout.positions.amax(dim=1, keepdim=True)
        finished = torch.zeros(len(text.ids), dtype=torch.bool, device=text.ids.device)
        tokens: list[Tensor] = []
        with self._running(context.blocks, layout.columns):
            logits = self._call(layout.rows, mask, layout.positions, cache, 1)
            for _ in range(max_new_tokens):
                token = logits[:, -1].argmax(-1)  # (B,); what a row writes after its end is cut off below
                tokens.append(token)
                finished = finished | (token == self.tokenizer.eos)
                if finished.all() or len(tokens) == max_new_tokens:
                    break
                position = position + 1
                columns = torch.cat((columns, columns.new_ones(len(columns), 1)), dim=1)
                mask = additive_mask(columns[:, None], self._groups, layout.rows.dtype)
                logits = self._call(self._embed(token[:, None]), mask, position, cache, 1)
        rows = torch.stack(tokens, dim=1).tolist()
        return [row[: row.index(self.tokenizer.eos)] if self.tokenizer.eos in row else row for row in rows]

    def _call(self, rows: Tensor, mask: Tensor | None, positions: Tensor, cache: Cache | None, keep: int) -> Tensor:
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

    def _audio_layers(self, context: AudioContext, layout: _Layout) -> list[KeyValue | None]:
        pairs: dict[int, KeyValue] = {}
        if context.memory:
            assert layout.memory_positions is not None  # noqa: S101 - set with memory
            make: Make = self._project
            if self._fused is not None and self._fused.applies(context.memory):
                make = self._fused
            pairs = make(self.decoder, context.memory, layout.memory_positions)
            deaf = sorted(context.memory.keys() - pairs.keys())
            if deaf:
                raise PalprobeError(f"Layers {deaf} of {type(self.model).__name__} have no attention to show audio to.")
        return [pairs.get(index) for index in range(self.shape.num_layers)]

    def _lay_out(self, text: TextBatch, context: AudioContext, *, new_tokens: int = 0) -> _Layout:
        """Memory before prefix before text; positions consecutive per sample, padding not counted."""
        rows, real = self._embed(text.ids), text.mask
        start = real.new_zeros(len(real), 1, dtype=torch.long)  # (B, 1) position of the next real column
        memory_real, memory_positions = real[:, :0], None
        if context.memory:
            assert context.memory_mask is not None  # noqa: S101 - a mask comes with every memory
            memory_real = context.memory_mask
            memory_positions = _count(memory_real, start)
            if context.memory_positions == "none":  # rotation by 0 is none: all audio stands where the text begins
                memory_positions = torch.zeros_like(memory_positions)
            else:
                start = start + memory_real.sum(1, keepdim=True)
        prefix_positions = real.new_zeros(len(real), 0, dtype=torch.long)
        if context.prefix is not None:
            assert context.prefix_mask is not None  # noqa: S101 - a mask comes with every prefix
            rows, real = torch.cat((context.prefix, rows), 1), torch.cat((context.prefix_mask, real), 1)
            prefix_positions = _count(context.prefix_mask, start)
            start = start + context.prefix_mask.sum(1, keepdim=True)
        text_positions = _count(text.mask, start) if text.positions is None else text.positions + start
        positions = torch.cat((prefix_positions, text_positions), 1)
        self._check_window(memory_real.shape[1] + rows.shape[1] + new_tokens)
        own_order = text.visible is not None or text.positions is not None  # else transformers guesses it is packed
        plain = not (memory_real.shape[1] or own_order) and bool(real.all())
        visible = None if plain else _visibility(memory_real, real, text.visible)
        if visible is not None and not context.prefix_sees_memory:
            visible[:, : real.shape[1] - text.mask.shape[1], : memory_real.shape[1]] = False
        return _Layout(rows, positions, torch.cat((memory_real, real), 1), visible, memory_positions)

    def _check_window(self, columns: int) -> None:
        if self._window is not None and columns > self._window:
            raise PalprobeError(
                f"{type(self.model).__name__} attends within a sliding window of {self._window}, and audio, text and "
                f"answer take {columns} positions. Pool the audio (--set integration.pool=time:4) or take another LLM."
            )

    @contextmanager
    def _running(self, blocks: Mapping[int, Block], columns: Tensor) -> Iterator[None]:
        """Runs each block before its layer; the rows are the last columns, as many as the layer is given."""
        layers: Sequence[nn.Module] = list(find_layers(self.decoder, self.shape.num_layers)) if blocks else []
        handles = []
        for index, block in blocks.items():

            def before(_: nn.Module, arguments: tuple[Any, ...], block: Block = block) -> tuple[Any, ...]:
                rows = arguments[0]
                return (block(rows, columns[:, -rows.shape[1] :]), *arguments[1:])

            handles.append(layers[index].register_forward_pre_hook(before))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _count(real: Tensor, start: Tensor) -> Tensor:
    """(B, n) positions that count real columns from `start`; padding gets some valid position, and is never seen."""
    return (real.long().cumsum(1) - 1).clamp(min=0) + start


def _visibility(memory_real: Tensor, real: Tensor, text_visible: Tensor | None) -> Tensor:
    """(B, rows, memory + rows) bool: every row sees all real memory and the real rows before it.

    Args:
        memory_real: (B, M) bool.
        real: (B, N + L) bool, prefix then text.
        text_visible: (B, L, L) bool in place of causal order among the text rows.
    """
    length = real.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=real.device).tril()
    among = (causal & real[:, None, :]).clone()  # (B, rows, rows)
    if text_visible is not None:
        text_rows = text_visible.shape[1]
        among[:, -text_rows:, -text_rows:] = text_visible
    among |= torch.eye(length, dtype=torch.bool, device=real.device)  # a padded row sees itself: softmax needs one
    return torch.cat((memory_real[:, None, :].expand(-1, length, -1), among), dim=2)


def _in_one_piece(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The head's rows without gaps: of the last rows of several texts, torch reads the vocabulary once for each."""
    return (arguments[0].contiguous(), *arguments[1:])


def _sliding_window(config: Any) -> int | None:
    """The window, when some layer has one: palprobe's own masks do not cut at it, so longer inputs are refused."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and "sliding_attention" not in kinds:
        return None
    return getattr(config, "sliding_window", None)
