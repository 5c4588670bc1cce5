"""What a training step keeps for its backward pass: plainly, with layers computed again, with clips shared.

    python results/training-memory/measure.py --out results/training-memory/memory.csv

A Llama in the shape of SmolLM2-135M (random weights, frozen, float32) with a trained connector on 768 numbers a token:
eight questions of 64 text tokens with 8 answer tokens on 250 audio tokens each, forward and backward. They are about
eight clips ("own"), about two clips whose audio is repeated for each question ("repeated"), or about the same two, each
computed once ("shared"). Kept bytes are those of distinct storages handed to the backward pass, weights not counted;
what one layer needs while it is computed again is not in them. Seconds are CPU seconds on one thread, the least of the
repetitions, which take turns.
"""

from __future__ import annotations

import argparse
import csv
import time
from itertools import product
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from palprobe.integrations import build_integration, resolve_section
from palprobe.llm.attention import ATTENTION
from palprobe.llm.model import LanguageModel, TextBatch
from palprobe.llm.tokenizer import ByteTokenizer
from palprobe.recipe import IntegrationSection

DIM, AUDIO, TEXT, ANSWER, QUESTIONS, CLIPS = 768, 250, 64, 8, 8, 2
MIB = 1 << 20


def build(layers: int) -> LanguageModel:
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
        attn_implementation=ATTENTION,
    )
    torch.manual_seed(0)
    return LanguageModel(LlamaForCausalLM(config), ByteTokenizer()).requires_grad_(False)


def step(llm: LanguageModel, name: str, clips: str) -> tuple[int, float]:
    """Bytes kept and CPU seconds of one forward and backward pass."""
    section = resolve_section(name, IntegrationSection())
    integration = build_integration(name, dim=DIM, shape=llm.shape, section=section, seed=0)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(QUESTIONS if clips == "own" else CLIPS, AUDIO, DIM, generator=generator)
    owner = torch.arange(CLIPS).repeat_interleave(QUESTIONS // CLIPS)
    if clips == "repeated":
        features = features[owner]
    ids = torch.randint(0, 256, (QUESTIONS, TEXT), generator=generator)
    kept: dict[int, int] = {}
    weights = {value.untyped_storage().data_ptr() for part in (llm, integration) for value in part.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    begin = time.process_time()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        context = integration(features, torch.ones(features.shape[:2], dtype=torch.bool))
        if clips == "shared":
            context = type(context)(**{**vars(context), "owner": owner})
        logits = llm(TextBatch(ids, torch.ones_like(ids, dtype=torch.bool)), context, logits_to_keep=ANSWER)
    logits.square().mean().backward()
    return sum(kept.values()), time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--repetitions", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    llm = build(chosen.layers)
    cases = list(product(("plits", "lal"), ("own", "repeated", "shared"), (False, True)))
    found: dict[tuple[str, str, bool], list[tuple[int, float]]] = {case: [] for case in cases}
    for _ in range(chosen.repetitions):
        for name, clips, llm.checkpointing in cases:
            found[name, clips, llm.checkpointing].append(step(llm, name, clips))
    with chosen.out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["integration", "clips", "checkpointing", "kept_mib", "cpu_seconds", "layers", "torch"])
        for (name, clips, on), steps in found.items():
            seconds = round(min(seconds for _, seconds in steps), 2)
            row = [name, clips, on, round(steps[0][0] / MIB, 1), seconds, chosen.layers, torch.__version__]
            writer.writerow(row)


if __name__ == "__main__":
    main()
