"""Texts as vectors by an encoder from a local folder: one for a text (the mean over its tokens), or one for each token.

Shape letters: B texts of a batch, L tokens of the longest, H size of the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer

from palprobe.encoders.hf.quiet import quiet
from palprobe.errors import WeightsError

BATCH = 64  # texts in a forward pass
LONGEST = 128  # tokens of a text that are read, as is usual for sentence encoders
UNUSED = ("pooler.",)  # weights of a head that is not read
CLOSE = 1e-3  # of the self-check, in a cosine
TRIED = ("a dog", "a dog barks while it rains on the roof")
# How transformers says that a folder holds something that cannot be used so.
UNFIT = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, IndexError)


@dataclass(frozen=True, eq=False)
class TokenStates:
    """The tokens of a text at length one, and which of them the text itself is made of."""

    vectors: Tensor  # (L, H) float32
    own: Tensor  # (L,) bool; False for what the tokenizer puts around a text


class TextEncoder:
    """An encoder of texts, in float32.

    Args:
        folder: holds config.json, a tokenizer and safetensors weights.
        layer: of which states are read; 0 is the input of the first block, None the last.
        device: where it runs.

    Raises:
        WeightsError: it cannot be loaded, weights are missing, it has fewer layers, or padding changes what it makes of
            a text.
    """

    def __init__(self, folder: Path, *, layer: int | None = None, device: str = "cpu") -> None:
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            with quiet():
                model, info = AutoModel.from_pretrained(
                    folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **local
                )
                self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, **local)
        except UNFIT as error:
            raise WeightsError(f"{folder} cannot be loaded as an encoder of texts: {_first_line(error)}") from error
        if missing := sorted(key for key in info["missing_keys"] if not key.startswith(UNUSED)):
            raise WeightsError(f"{folder} lacks {len(missing)} weights, which would be random: {missing[0]} …")
        if layer is not None and layer > model.config.num_hidden_layers:
            raise WeightsError(f"{folder} has {model.config.num_hidden_layers} layers, and no layer {layer}.")
        self._tokenizer.padding_side = "right"
        self._model: Any = model.to(device).eval()
        self._layer, self._device = -1 if layer is None else layer, device
        self._check(folder)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """(texts, H) at length one, on the CPU: the mean over each text's tokens, those around it too."""
        found = []
        for part in _batches(texts):
            states, mask, _ = self._read(part)
            weights = mask[..., None].to(states.dtype)  # (B, L, 1)
            found.append(normalize((states * weights).sum(1) / weights.sum(1).clamp(min=1), dim=-1))
        return torch.cat(found)

    def tokens(self, texts: Sequence[str]) -> list[TokenStates]:
        """Each text's tokens, those around it too, on the CPU."""
        found = []
        for part in _batches(texts):
            states, mask, around = self._read(part)
            vectors = normalize(states, dim=-1)
            found += [
                TokenStates(row[real], ~special[real]) for row, real, special in zip(vectors, mask, around, strict=True)
            ]
        return found

    @torch.inference_mode()
    def _read(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """(B, L, H) states of the layer, the (B, L) mask of what is no padding, and that of what is no text."""
        longest = min(LONGEST, self._tokenizer.model_max_length)
        read = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=longest,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        around = read.pop("special_tokens_mask").bool()
        found = self._model(**read.to(self._device), output_hidden_states=True).hidden_states[self._layer]
        return found.float().cpu(), read["attention_mask"].bool().cpu(), around

    def _check(self, folder: Path) -> None:
        try:
            together, alone = self.embed(TRIED)[0], self.embed(TRIED[:1])[0]
        except UNFIT as error:
            raise WeightsError(f"{folder} cannot be used to compare texts: {_first_line(error)}") from error
        if not float(together @ alone) > 1 - CLOSE:
            raise WeightsError(f"{folder} cannot be used to compare texts: padding changes what it makes of them.")


def bertscore_f1(answer: TokenStates, reference: TokenStates) -> float:
    """F1 of BERTScore: each token with the likest one of the other text; what stands around a text counts for nothing.

    No rarity of words and no baseline is put in. 0 where a text is empty.

    Source: Zhang et al. (2020), arXiv 1904.09675, eq. 1 to 3; that tokens around a text can be matched is the usage of
    its published numbers.
    """
    likeness = answer.vectors @ reference.vectors.T  # (L answer, L reference)
    if not bool(answer.own.any()) or not bool(reference.own.any()):
        return 0.0
    precision = float(likeness.max(dim=1).values[answer.own].mean())
    recall = float(likeness.max(dim=0).values[reference.own].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _batches(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
