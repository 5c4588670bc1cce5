"""The counts behind the printed bounds, against torch's own counter, real caches, and figures worked out elsewhere."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from palprobe.bench.bound import cached_numbers, decoding, prefill, training
from palprobe.bench.cell import LLMCell
from palprobe.bench.job import Job
from palprobe.bench.shapes import find_shape
from palprobe.bench.ways import DEFAULT_WAYS, Load, load_of, parse_way

AUDIO, TEXT, ANSWER, DIM = 70, 12, 3, 24  # 70: two windows of a Q-Former, the second not full
HIDDEN, LAYERS = 64, 6
CONFIG = {
    "model_type": "llama",
    "vocab_size": 90,
    "hidden_size": HIDDEN,
    "intermediate_size": 96,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
WAYS = (*DEFAULT_WAYS, "plits:linear", "lal:per_layer")


@pytest.fixture
def folder(tmp_path):
    import json

    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def cell_of(way, *, trainable="connector", audio_tokens=AUDIO):
    return LLMCell(
        Job("llm", audio_tokens, 1, "cpu", way, CONFIG, TEXT, ANSWER, new_tokens=2, dim=DIM, trainable=trainable)
    )


def counted_by_torch(run):
    """Operations of matrix products; the fused kernels of attention are not among them."""
    run()  # the first call checks the way in which keys and values are made
    with FlopCounterMode(display=False) as counter:
        run()
    return sum(
        count
        for name, count in counter.get_flop_counts()["Global"].items()
        if str(name) in ("aten.mm", "aten.addmm", "aten.bmm")
    )


def attention_in_blocks(load):
    return 4 * HIDDEN * TEXT * load.block_audio * len(load.block_layers)


@pytest.mark.parametrize("trainable", ["connector", "lora", "full"])
@pytest.mark.parametrize("way", WAYS)
def test_a_step_is_what_torch_counts(folder, way, trainable):
    """Every matrix product of a real step, forward and backward, is in the count, and no other."""
    load = load_of(parse_way(way), find_shape(str(folder)), audio_tokens=AUDIO, dim=DIM)
    flops = training(
        find_shape(str(folder)), load, text_tokens=TEXT, answer_tokens=ANSWER, trainable=trainable, lora_rank=8
    )
    elsewhere = 3.5 * (load.own_attention + attention_in_blocks(load))
    assert flops.linears + flops.trained + flops.head - elsewhere == counted_by_torch(
        cell_of(way, trainable=trainable).train
    )


@pytest.mark.parametrize("way", WAYS)
def test_inference_is_what_torch_counts(folder, way):
    """Reading the prompt and writing two more tokens."""
    shape = find_shape(str(folder))
    load = load_of(parse_way(way), shape, audio_tokens=AUDIO, dim=DIM)
    first, further = prefill(shape, load, text_tokens=TEXT), decoding(shape, load, text_tokens=TEXT)
    attention = load.own_attention + attention_in_blocks(load) * (1 + 2 / TEXT)
    expected = first.linears + first.trained + first.head + 2 * (further.linears + further.trained + further.head)
    cell = cell_of(way)
    cell.integration.requires_grad_(False)  # torch's counter wants hooks on what needs gradients
    assert expected - attention == counted_by_torch(cell.infer)


def test_attention_by_hand():
    """Pairs of rows and columns, two products of so many numbers as all heads have, once forward and 3.5 in a step."""
    shape = replace(find_shape("SmolLM2-135M"), num_layers=2)
    per_pair = 4 * 576
    plain, memory = Load(prefix=5), Load(memory=5, memory_layers=(1,))
    assert prefill(shape, plain, text_tokens=3).attention == per_pair * 2 * 8 * 8 / 2  # causal: half of the square
    assert prefill(shape, memory, text_tokens=3).attention == per_pair * (3 * 3 + 3 * 8)  # masked: all of it
    step = training(shape, memory, text_tokens=3, answer_tokens=1)
    assert step.attention == 3.5 * per_pair * (3 * 3 + 3 * 8)
    assert prefill(shape, Load(prefix=5, apart=True), text_tokens=3).attention == per_pair * 2 * 3 * 8
    assert decoding(shape, memory, text_tokens=3).attention == per_pair * (4 + 4 + 5)


@pytest.mark.parametrize(
    ("llm", "audio", "text", "expected"),
    [
        ("SmolLM2-135M", 32, 32, 1.80),
        ("SmolLM2-135M", 250, 32, 5.59),
        ("SmolLM2-135M", 250, 64, 3.69),
        ("SmolLM2-135M", 250, 128, 2.43),
        ("Qwen2-0.5B", 64, 64, 1.90),
        ("Qwen2-0.5B", 250, 64, 4.36),
        ("Qwen2-0.5B", 500, 64, 7.29),
        ("Qwen2-0.5B", 1500, 64, 16.4),
    ],
)
def test_the_bound_of_lal_is_that_of_an_independent_count(llm, audio, text, expected):
    """Figures of an earlier prototype, which left connectors out and let every layer have its whole backward pass."""
    shape = find_shape(llm)
    steps = [
        training(shape, replace(load, maps=()), text_tokens=text, answer_tokens=8).total
        for load in (load_of(parse_way(way), shape, audio_tokens=audio, dim=768) for way in ("plits", "lal"))
    ]
    assert steps[0] / steps[1] == pytest.approx(expected, rel=0.012)


@pytest.mark.parametrize("way", WAYS)
def test_cached_numbers_are_those_in_the_cache(folder, way):
    """All keys and values that are there after the prompt, those that Flamingo's blocks keep too."""
    cell, caches = cell_of(way), []

    def note(_, __, options):
        caches.append(options.get("cache", options.get("past_key_values")))

    cell.llm.model.register_forward_pre_hook(note, with_kwargs=True)
    with torch.inference_mode():
        context = cell.integration(cell.features, cell.mask)
        cell.llm.generate(cell.text, context, max_new_tokens=1)
    found = sum(layer.keys.numel() + layer.values.numel() for layer in caches[0].layers)
    found += sum(part.numel() for block in context.blocks.values() for part in block._pair)
    shape = find_shape(str(folder))
    load = load_of(parse_way(way), shape, audio_tokens=AUDIO, dim=DIM)
    assert cached_numbers(shape, load, text_tokens=TEXT) == found
