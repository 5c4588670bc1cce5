"""`tiny`: a small decoder trained from scratch, so that the demo and the tests need no download."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from palprobe.llm.attention import ATTENTION
from palprobe.llm.model import LanguageModel
from palprobe.llm.tokenizer import ByteTokenizer

VERSION = 1  # of the shape below; part of every run's identity

HIDDEN_SIZE = 128
NUM_LAYERS = 2
NUM_HEADS = 4
FEED_FORWARD_SIZE = 4 * HIDDEN_SIZE
MAX_POSITIONS = 8192
INITIAL_DEVIATION = HIDDEN_SIZE**-0.5  # keeps variance through a layer; 0.02, usual for wide models, learns slower here


def tiny_config() -> LlamaConfig:
    """Its sizes, as transformers takes them."""
    return LlamaConfig(
        vocab_size=ByteTokenizer.vocabulary_size,
        hidden_size=HIDDEN_SIZE,
        intermediate_size=FEED_FORWARD_SIZE,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=NUM_HEADS,
        num_key_value_heads=NUM_HEADS,
        max_position_embeddings=MAX_POSITIONS,
        initializer_range=INITIAL_DEVIATION,
        bos_token_id=None,
        eos_token_id=ByteTokenizer.eos,
        attn_implementation=ATTENTION,
    )


def build_tiny(*, seed: int) -> LanguageModel:
    """A 2-layer, 128-wide Llama over bytes, with random weights from `seed`; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(tiny_config())
    return LanguageModel(model, ByteTokenizer())
