"""What of the LLM is trained: nothing, LoRA adapters (peft), or all of it."""

from __future__ import annotations

import torch
from torch import nn

from palprobe.llm.model import LanguageModel
from palprobe.recipe import Trainable

LORA_ALPHA_PER_RANK = 2  # alpha = 2 r: the usual ratio
LORA_ADAPTER = "palprobe"


def make_trainable(llm: LanguageModel, trainable: Trainable, *, lora_rank: int, seed: int) -> None:
    """Freezes and unfreezes the LLM in place; adapters go on every linear layer but the vocabulary head.

    Args:
        llm: as loaded.
        trainable: `connector` freezes the whole LLM, `lora` trains adapters only, `full` trains everything.
        lora_rank: of each adapter.
        seed: of the adapters' initial weights.
    """
    llm.requires_grad_(trainable == "full")
    if trainable == "lora":
        from peft import LoraConfig, inject_adapter_in_model

        heads = {id(llm.model.get_output_embeddings())}
        names = [
            name
            for name, module in llm.model.named_modules()
            if isinstance(module, nn.Linear) and id(module) not in heads
        ]
        config = LoraConfig(r=lora_rank, lora_alpha=LORA_ALPHA_PER_RANK * lora_rank, target_modules=names)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inject_adapter_in_model(config, llm.model, adapter_name=LORA_ADAPTER)
