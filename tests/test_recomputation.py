"""Gradient checkpointing: the same numbers from a fraction of what is kept."""

import pytest
import torch
from small_llms import HIDDEN, LAYERS, PROMPT, SIZES, assert_close, random_audio, shown, small_llm, text_of
from test_training import go, log_of, make_probe, same, tensors_of

from palprobe.integrations.flamingo import GatedBlock, Reading
from palprobe.llm.adapters import make_trainable
from palprobe.llm.memory import find_layers
from palprobe.types import AudioContext

FAMILIES = ("llama", "qwen3", "phi3", "gpt_neox", "gemma2", "gemma3_text", "olmo2")
HOW = ("plits", "lal", "flamingo", "all at once")


def block(seed: int) -> GatedBlock:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = GatedBlock(HIDDEN).double()
    for gate in (made.attention_gate, made.feed_forward_gate):
        torch.nn.init.constant_(gate, 0.5)
    return made


def context_of(how: str, audio: torch.Tensor, blocks: dict[int, GatedBlock]) -> AudioContext:
    """(2, N, H) audio, the last token of the second clip being padding."""
    clips = [audio[0], audio[1, :-1]]
    mask = shown("plits", clips).prefix_mask
    placed = {index: Reading(made, audio, mask) for index, made in blocks.items()}
    if how == "flamingo":
        return AudioContext(blocks=placed)
    prefix, memory = shown("plits", clips), shown("lal", clips)
    if how in ("plits", "lal"):
        return prefix if how == "plits" else memory
    return AudioContext(prefix=prefix.prefix, prefix_mask=mask, memory=memory.memory, memory_mask=mask, blocks=placed)


def outcome(llm, how, *, checkpointing, tokens=5):
    """Logits, and gradients to the audio, the LLM and the blocks; and the bytes that were kept, weights not counted."""
    llm.checkpointing = checkpointing
    audio, blocks = random_audio(2, tokens, HIDDEN).requires_grad_(), {1: block(1), 2: block(2)}
    weights = [*llm.parameters(), *(value for made in blocks.values() for value in made.parameters())]
    kept, known = {}, {weight.untyped_storage().data_ptr() for weight in weights}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = llm(text_of(PROMPT, "beep?"), context_of(how, audio, blocks))
    logits.square().mean().backward()
    found = [logits.detach(), audio.grad, *(weight.grad for weight in weights)]
    for weight in weights:
        weight.grad = None
    return found, sum(kept.values())


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("family", FAMILIES)
def test_recomputed_layers_give_the_same_gradients(family, how):
    """Logits and all gradients are those of layers that keep everything, with less kept, and no wrapper left behind."""
    llm = small_llm(family)
    (expected, usual), (found, kept) = (outcome(llm, how, checkpointing=on) for on in (False, True))
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert_close(one, other, 1e-12)
    assert expected[1].abs().max() > 0
    assert kept < 0.5 * usual
    assert not any("forward" in vars(layer) for layer in find_layers(llm.decoder, LAYERS))


def test_what_is_kept_of_audio_is_small():
    """With direct projections not even keys and values are kept: more audio adds itself, and no more for each layer."""
    llm = small_llm()
    kept = [outcome(llm, "lal", checkpointing=True, tokens=tokens)[1] for tokens in (20, 60)]
    of_keys_and_values = 40 * 2 * 2 * SIZES["num_key_value_heads"] * (HIDDEN // SIZES["num_attention_heads"]) * 8
    of_audio = 40 * 2 * HIDDEN * 8
    assert kept[1] - kept[0] < of_audio + 0.5 * LAYERS * of_keys_and_values


def test_dropout_is_the_same_the_second_time():
    """A layer that draws random numbers draws them again when it is recomputed."""
    llm = small_llm(attention_dropout=0.4)
    llm.train()
    results = []
    for on in (False, True):
        torch.manual_seed(0)
        results.append(outcome(llm, "lal", checkpointing=on)[0])
    for found, expected in zip(*results, strict=True):
        if expected is not None:
            assert_close(found, expected, 1e-12)
    torch.manual_seed(1)
    assert not torch.equal(outcome(llm, "lal", checkpointing=True)[0][0], results[0][0]), "dropout was off"


@pytest.mark.parametrize("trainable", ["full", "lora"])
def test_training_with_it_is_training_without_it(trainable):
    """Bit for bit, so that a run may go on with it: no identity knows of it."""
    for folder, on in (("kept", False), ("again", True)):
        probe = make_probe()
        make_trainable(probe.llm, trainable, lora_rank=2, seed=0)
        probe.llm.checkpointing = on
        go(folder, probe=probe)
    assert same(tensors_of("kept"), tensors_of("again"))
    assert log_of("kept") == log_of("again")
