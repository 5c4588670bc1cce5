"""What of the LLM is trained: each set is what it says, on several architectures."""

import pytest
import torch
from small_llms import LAYERS, PROMPT, random_audio, shown, small_llm, text_of

from palprobe.errors import PalprobeError
from palprobe.llm.adapters import Lora, make_all_trainable, make_trainable, set_trainable
from palprobe.llm.memory import find_layers

SEPARATE = {"q_proj", "k_proj", "v_proj", "o_proj"}
ATTENTION = {  # family → the child of a decoder layer that is its attention, and the projections in it
    "llama": ("self_attn", SEPARATE),
    "qwen3": ("self_attn", SEPARATE),
    "gemma3_text": ("self_attn", SEPARATE),
    "cohere2": ("self_attn", SEPARATE),
    "phi3": ("self_attn", {"qkv_proj", "o_proj"}),
    "gpt_neox": ("attention", {"query_key_value", "dense"}),
}


def adapted(llm):
    """(layer, child, projection) of every linear layer with an adapter."""
    names = [name for name, _ in llm.named_parameters() if ".lora_" in name]
    return {tuple(name.split(".lora_")[0].split(".")[-3:]) for name in names}


@pytest.mark.parametrize("family", ATTENTION)
def test_attention_alone_is_adapted(family):
    """q, k, v and o of every layer, or fused ones, and no feed-forward network, by the names in each architecture."""
    llm = small_llm(family)
    make_trainable(llm, "lora-attention", lora_rank=2, seed=0)
    child, projections = ATTENTION[family]
    assert adapted(llm) == {(str(layer), child, name) for layer in range(LAYERS) for name in projections}


@pytest.mark.parametrize("how", ["plits", "lal"])
def test_only_the_adapters_of_attention_learn(how):
    """The loss reaches the audio and every adapter, and no weight that was there before."""
    llm = small_llm()
    make_trainable(llm, "lora-attention", lora_rank=2, seed=0)
    for name, parameter in llm.named_parameters():
        if "lora_B" in name:
            parameter.data.add_(0.1)  # it starts at 0, through which no gradient flows to the other half
    llm.double()
    audio = random_audio(3, 32).requires_grad_()
    llm(text_of(PROMPT), shown(how, [audio])).square().sum().backward()
    moved = {name for name, parameter in llm.named_parameters() if parameter.grad is not None}
    assert moved == {name for name, _ in llm.named_parameters() if ".lora_" in name}
    assert audio.grad.abs().max() > 0


def test_alpha_and_dropout_by_hand():
    """What an adapter adds is alpha / rank of B A x, 2 by default; dropout changes it in training alone."""
    for lora, scale in ((Lora(4), 2.0), (Lora(4, alpha=32), 8.0), (Lora(4, alpha=32, dropout=0.5), 8.0)):
        llm = small_llm()
        before = find_layers(llm.decoder, LAYERS)[0].mlp.up_proj
        weight = before.weight.detach().clone()
        make_all_trainable(llm, ["lora"], lora=lora, seed=0)
        layer = find_layers(llm.decoder, LAYERS)[0].mlp.up_proj
        down, up = (getattr(layer, name)["palprobe"].weight for name in ("lora_A", "lora_B"))
        up.data.normal_()
        row = random_audio(3, weight.shape[1]).to(down.dtype)
        expected = row @ weight.T.to(row.dtype) + scale * (row @ down.T) @ up.T
        layer.eval()
        torch.testing.assert_close(layer(row.to(weight.dtype)), expected.to(weight.dtype))
        layer.train()
        same = torch.allclose(layer(row.to(weight.dtype)), expected.to(weight.dtype))
        assert same == (lora.dropout == 0)


def trained(llm):
    return {name for name, parameter in llm.named_parameters() if parameter.requires_grad}


def test_sets_contain_each_other():
    """From nothing over attention's adapters and all adapters to everything, and back, with the same adapters."""
    llm = small_llm()
    make_trainable(llm, "lora", lora_rank=2, seed=0)
    everything = {name for name, _ in llm.named_parameters()}
    adapters = {name for name in everything if ".lora_" in name}
    attention = {name for name in adapters if ".self_attn." in name}
    for trainable, expected in (
        ("connector", set()),
        ("lora-attention", attention),
        ("full", everything),
        ("lora", adapters),
    ):
        set_trainable(llm, trainable)
        assert trained(llm) == expected
    assert set() < attention < adapters < everything


def test_an_llm_without_a_known_attention_is_refused():
    """A layer in which no attention is found is named, with what to use instead; nothing is adapted in silence."""
    llm = small_llm()
    odd = find_layers(llm.decoder, LAYERS)[1]
    odd.self_attn.__class__ = type("Mixer", (type(odd.self_attn),), {})
    with pytest.raises(PalprobeError, match=r"Layer 1 of LlamaForCausalLM .* Use train\.trainable=lora"):
        make_trainable(llm, "lora-attention", lora_rank=2, seed=0)
