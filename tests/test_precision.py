"""bfloat16: matrix products and frozen weights are rounded, what is trained and its optimiser are not."""

from dataclasses import replace

import pytest
import torch
from small_llms import small_llm
from test_step import DIM, make_data
from test_training import log_of, run_in, tensors_of

from palprobe.features.pooling import Pooling
from palprobe.files import load_tensors
from palprobe.integrations import build_integration, resolve_section
from palprobe.llm.adapters import make_trainable
from palprobe.recipe import IntegrationSection
from palprobe.recipe.training import TrainSection
from palprobe.training.batches import collate
from palprobe.training.checkpoint import checkpoint_path
from palprobe.training.lesson import Lesson
from palprobe.training.loop import train
from palprobe.training.probe import Branch, Probe

FAMILIES = ("llama", "qwen3", "phi3", "gpt_neox", "gemma2", "gemma3_text", "olmo2")
NAMES = ("plits", "lal", "pal@v3", "flamingo")
HALF = torch.bfloat16
ROUNDING = 8 * 2.0**-8  # eight times the spacing of bfloat16: three layers add up


def make_probe(name, trainable="lora", *, family="llama", precision=HALF, connector=None):
    """In float32, as models are loaded, with open gates and adapters that do something."""
    llm = small_llm(family)
    llm.float()
    make_trainable(llm, trainable, lora_rank=2, seed=0)
    section = resolve_section(name, IntegrationSection(connector=connector, summary_tokens=2, queries=2, window=4))
    integration = build_integration(name, dim=DIM, shape=llm.shape, section=section, seed=0)
    for part, parameter in [*integration.named_parameters(), *llm.named_parameters()]:
        if part.endswith("_gate") or "lora_B" in part:
            torch.nn.init.constant_(parameter, 0.1)
    return Probe([Branch(integration, dim=DIM, num_layers=1, pooling=Pooling(grid=1))], llm, precision=precision)


def logits_of(probe):
    data = make_data()
    batch = collate(data.questions, "cpu")
    return probe(batch.text, probe.context(data.read(range(7))), logits_to_keep=batch.targets.shape[1])


def distance(found, expected):
    """Root mean square of the difference, relative."""
    return float((found.detach().float() - expected).square().mean().sqrt() / expected.square().mean().sqrt())


@pytest.mark.parametrize("trainable", ["connector", "full"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_architecture_runs_in_bfloat16(family, name, trainable):
    """Through every integration, with frozen weights in bfloat16 or trained ones in float32: close to float32."""
    expected = logits_of(make_probe(name, trainable, family=family, precision=torch.float32)).detach()
    probe = make_probe(name, trainable, family=family)
    found = logits_of(probe)
    assert found.dtype == HALF
    assert 0 < distance(found, expected) < ROUNDING
    found.float().square().mean().backward()
    gradients = [value.grad for value in probe.parameters() if value.requires_grad]
    assert all(gradient is None or bool(torch.isfinite(gradient).all()) for gradient in gradients)
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)


def test_a_q_former_runs_in_bfloat16():
    """The one connector with attention of its own."""
    expected = logits_of(make_probe("plits", connector="qformer", precision=torch.float32)).detach()
    assert 0 < distance(logits_of(make_probe("plits", connector="qformer")), expected) < ROUNDING


@pytest.mark.parametrize("trainable", ["connector", "lora-attention", "lora", "full"])
def test_trained_tensors_stay_float32(trainable):
    """Parameters, gradients and both moments of what is trained; frozen matrices are bfloat16."""
    probe = make_probe("lal", trainable)
    for value in probe.parameters():
        assert value.dtype == (torch.float32 if value.requires_grad or value.ndim < 2 else HALF)
    assert all(value.dtype != HALF for value in probe.buffers())
    section = TrainSection(steps=3, batch_size=4, checkpoint_steps=2)
    train(probe, [Lesson(make_data(), section)], run_in("run"), seed=0, device="cpu", progress=lambda _: None)
    assert len(log_of("run")) == 3
    states = [*tensors_of("run").values(), *load_tensors(checkpoint_path(run_in("run").folder)).values()]
    assert HALF not in {value.dtype for value in states}


def test_bfloat16_keeps_fewer_bytes_for_the_backward_pass():
    """Activations of the frozen LLM take half of the room."""
    kept = []
    for precision in (torch.float32, HALF):
        probe, sizes = make_probe("plits", "connector", precision=precision), {}
        weights = {value.untyped_storage().data_ptr() for value in probe.parameters()}

        def keep(tensor, sizes=sizes, weights=weights):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            held = logits_of(probe)
        assert held.requires_grad
        kept.append(sum(sizes.values()))
    assert kept[1] < 0.8 * kept[0]


def test_generation_has_the_probe_s_precision():
    """Greedy text of a bfloat16 probe is what its own forward passes rank first, token by token."""
    probe, data = make_probe("lal"), make_data()
    batch = collate([replace(question, answer=(256,)) for question in data.questions[2:3]], "cpu")
    context = probe.context(data.read([2]))
    with torch.no_grad():
        first = int(probe(batch.text, context, logits_to_keep=1)[0, -1].argmax())
        ids = probe.generate(batch.text, context, max_new_tokens=1)[0]
    assert ids == ([] if first == 256 else [first])
    assert probe(batch.text, context, logits_to_keep=1).dtype == HALF
