"""What of the LLM is trained: nothing, LoRA adapters (peft) on attention alone or on all layers, or all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import nn

from palprobe.errors import PalprobeError
from palprobe.llm.memory import find_layers
from palprobe.llm.model import LanguageModel
from palprobe.recipe.training import Trainable

LORA_ALPHA_PER_RANK = 2  # alpha = 2 r: the usual ratio
LORA_ADAPTER = "palprobe"
ADAPTING = ("lora-attention", "lora")


@dataclass(frozen=True)
class Lora:
    """The size of adapters."""

    rank: int
    alpha: float | None = None  # what they add is scaled by alpha / rank; None: the usual ratio
    dropout: float = 0.0  # on what they read, in training


def make_trainable(llm: LanguageModel, trainable: Trainable, *, lora_rank: int, seed: int) -> None:
    """Freezes and unfreezes the LLM in place, once it has the adapters that the set asks for.

    Args:
        llm: as loaded.
        trainable: `connector` freezes the whole LLM; `lora-attention` trains adapters on the projections of attention,
            so that feed-forward networks stay as they are (an ablation of arXiv 2506.10423 v2); `lora` trains adapters
            on every linear layer but the vocabulary head; `full` trains everything.
        lora_rank: of each adapter.
        seed: of the adapters' initial weights.

    Raises:
        PalprobeError: `lora-attention` of an LLM with a layer whose attention is not to be found.
    """
    make_all_trainable(llm, [trainable], lora=Lora(lora_rank), seed=seed)


def make_all_trainable(llm: LanguageModel, sets: Sequence[Trainable], *, lora: Lora, seed: int) -> None:
    """The same for stages with a set each: whatever any of them trains is there, and marked.

    Args:
        llm: as loaded.
        sets: of the stages.
        lora: of each adapter.
        seed: of the adapters' initial weights.
    """
    if adapting := [trainable for trainable in sets if trainable in ADAPTING]:
        names = _linear_layers(llm) if "lora" in adapting else _attention_projections(llm)
        _add_adapters(llm, names, lora=lora, seed=seed)
    set_trainable(llm, max(sets, key=get_args(Trainable).index))


def set_trainable(llm: LanguageModel, trainable: Trainable) -> None:
    """Freezes and unfreezes what is there; adapters are trained with every set that contains them.

    Args:
        llm: with the adapters of the widest set that is ever asked for.
        trainable: as in `make_trainable`.
    """
    llm.requires_grad_(trainable == "full")
    if trainable in ADAPTING:
        chosen = set(_linear_layers(llm) if trainable == "lora" else _attention_projections(llm))
        for name, parameter in llm.model.named_parameters():
            host, found, _ = name.partition(".lora_")
            parameter.requires_grad_(bool(found) and host in chosen)


def _add_adapters(llm: LanguageModel, names: list[str], *, lora: Lora, seed: int) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    alpha = LORA_ALPHA_PER_RANK * lora.rank if lora.alpha is None else lora.alpha
    config = LoraConfig(r=lora.rank, lora_alpha=alpha, lora_dropout=lora.dropout, target_modules=names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, llm.model, adapter_name=LORA_ADAPTER)


def _linear_layers(llm: LanguageModel) -> list[str]:
    """Names of all linear layers but the vocabulary head; of an adapted one, not of its insides."""
    heads = {id(llm.model.get_output_embeddings())}
    return [name for name, module in llm.model.named_modules() if id(module) not in heads and _is_linear(name, module)]


def _attention_projections(llm: LanguageModel) -> list[str]:
    """Names of the linear layers inside the attention of every decoder layer: q, k, v and o, or fused ones."""
    names = {id(module): name for name, module in llm.model.named_modules()}
    found: list[str] = []
    for index, layer in enumerate(find_layers(llm.decoder, llm.shape.num_layers)):
        attentions = [module for module in layer.children() if "attention" in type(module).__name__.lower()]
        inside = [names[id(part)] for attention in attentions for part in attention.modules()]
        linear = [name for name in inside if _is_linear(name, llm.model.get_submodule(name))]
        if not linear:
            raise PalprobeError(
                f"Layer {index} of {type(llm.model).__name__} has no attention module with linear layers that could "
                "be adapted alone. Use train.trainable=lora."
            )
        found += linear
    return found


def _is_linear(name: str, module: nn.Module) -> bool:
    """A linear layer of the LLM, or one with an adapter around it."""
    if ".lora_" in name or name.endswith(".base_layer"):
        return False
    return isinstance(module, nn.Linear) or isinstance(getattr(module, "base_layer", None), nn.Linear)
