"""From a model's inputs to tokens: how each family is run, and how its output is put in order of time.

X is what a model gives before that; T tokens, D encoder size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from palprobe.encoders.hf.family import Foreign, Inputs, Outputs
from palprobe.encoders.hf.geometry import ast_grid

SPECIAL_TOKENS = 2  # AST's class and distillation tokens
LOUDNESS_FLOOR = 1e-8  # of EnCodec's normalisation, so that silence stays silence


def transformer(model: Foreign, inputs: Inputs, hidden: bool) -> Outputs:
    """A model of transformers that gives its last hidden state, and on request those of its blocks."""
    output = model(**inputs, output_hidden_states=hidden)
    return Outputs(output.last_hidden_state, output.hidden_states if hidden else ())


def qwen2_audio(model: Foreign, inputs: Inputs, hidden: bool) -> Outputs:
    """With the mask that Qwen2-Audio makes for its tower: attention sees no token behind the clip."""
    from transformers.masking_utils import create_bidirectional_mask

    mask = inputs["input_features_mask"]  # (1, mel frames)
    num_valid = (mask.sum(-1) - 1) // 2 + 1
    is_valid = torch.arange(mask.shape[-1] // 2, device=mask.device)[None] < num_valid[:, None]  # (1, X)
    widths = torch.zeros(*is_valid.shape, 1, device=mask.device)  # only its shape, type and device are read
    attention = create_bidirectional_mask(
        config=model.config, inputs_embeds=widths, attention_mask=is_valid.to(torch.long)
    )
    features = {"input_features": inputs["input_features"], "attention_mask": attention}
    return transformer(model, features, hidden)


def encodec(model: Foreign, inputs: Inputs, hidden: bool) -> Outputs:  # noqa: ARG001 - no layers
    """Before the quantiser; the 48 kHz model hears its chunk at a fixed loudness, as its own `encode` does."""
    waveform = inputs["input_values"]  # (1, channels, S)
    if model.config.normalize:
        loudness = waveform.mean(dim=1, keepdim=True).square().mean(dim=-1, keepdim=True).sqrt()
        waveform = waveform / (loudness + LOUDNESS_FLOOR)
    return Outputs(model.encoder(waveform))


def dac(model: Foreign, inputs: Inputs, hidden: bool) -> Outputs:  # noqa: ARG001 - no layers
    return Outputs(model.encoder(inputs["input_values"]))


def mimi(model: Foreign, inputs: Inputs, hidden: bool) -> Outputs:  # noqa: ARG001 - its layers have twice the rate
    return Outputs(model(**inputs).latents)


def clap(model: Foreign, inputs: Inputs, hidden: bool) -> Outputs:  # noqa: ARG001 - its stages differ in shape
    return Outputs(model(**inputs).last_hidden_state)


def in_order(values: Tensor, config: Foreign, is_last: bool) -> Tensor:  # noqa: ARG001 - nothing to change
    """(1, T, D) → (T, D)."""
    return values[0]


def pooled(values: Tensor, config: Foreign, is_last: bool) -> Tensor:  # noqa: ARG001
    """Averages two neighbours of an inner layer, as the model does before its last norm: (1, 2 T, D) → (T, D)."""
    return values[0] if is_last else F.avg_pool1d(values.transpose(1, 2), 2)[0].T


def without_class_token(values: Tensor, config: Foreign, is_last: bool) -> Tensor:  # noqa: ARG001
    """Of an inner layer; the model itself takes it off its output: (1, 1 + T, D) → (T, D)."""
    return values[0] if is_last else values[0, 1:]


def channels_first(values: Tensor, config: Foreign, is_last: bool) -> Tensor:  # noqa: ARG001
    """(1, D, T) → (T, D)."""
    return values[0].T


def ast_patches(values: Tensor, config: Foreign, is_last: bool) -> Tensor:  # noqa: ARG001
    """Band after band behind two special tokens → step after step: (1, 2 + bands steps, D) → (steps bands, D)."""
    grid = values[0, SPECIAL_TOKENS:].reshape(*ast_grid(config), -1)  # (bands, steps, D)
    return grid.transpose(0, 1).flatten(0, 1)


def clap_cells(values: Tensor, config: Foreign, is_last: bool) -> Tensor:  # noqa: ARG001
    """(1, D, bands, steps) → (steps bands, D)."""
    return values[0].permute(2, 1, 0).flatten(0, 1)
