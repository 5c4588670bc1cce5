import pytest
import torch
from small_llms import HIDDEN, LAYERS, PROMPT, assert_close, random_audio, shown, small_llm, text_of

from palprobe.llm.adapters import make_trainable
from palprobe.llm.memory import capture

POSITIONS = torch.arange(5).expand(2, 5) + 3


def frozen_llm(family="llama"):
    return small_llm(family).requires_grad_(False)


def audio_for(layers=range(LAYERS)):
    return dict.fromkeys(layers, random_audio(2, 5, HIDDEN).requires_grad_())


def flat(pairs):
    return torch.cat([part.flatten() for index in sorted(pairs) for part in (pairs[index].keys, pairs[index].values)])


@pytest.mark.parametrize("layers", [(0, 1, 2), (2, 0)])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral"])
def test_one_product_is_capture_in_values_and_gradients(family, layers):
    """Keys, values and the audio's gradient equal those of the decoder's own layers; biases and k_norm are in them."""
    llm, results = frozen_llm(family), []
    assert llm._fused.applies(audio_for())
    for make in (llm._fused, capture):
        memory = audio_for(layers)
        pairs = make(llm.decoder, memory, POSITIONS)
        assert set(pairs) == set(layers)
        made = flat(pairs)
        (gradient,) = torch.autograd.grad((made * torch.linspace(-1, 1, len(made))).sum(), [memory[layers[0]]])
        results.append((made.detach(), gradient))
    (values, gradient), (expected_values, expected_gradient) = results
    assert_close(values, expected_values, 1e-12)
    assert_close(gradient, expected_gradient, 1e-6)  # the norm is taken in float32, and summed before it or after
    assert expected_gradient.abs().max() > 0


def test_a_step_uses_it_and_logits_do_not_change(monkeypatch):
    """The logits of a frozen LLM are those of the way layer by layer."""
    llm = frozen_llm()
    context = shown("lal", list(random_audio(2, 5, HIDDEN)))
    assert llm._fused.applies(context.memory)
    fused = llm(text_of(PROMPT, PROMPT), context)
    monkeypatch.setattr(llm, "_fused", None)
    assert_close(fused, llm(text_of(PROMPT, PROMPT), context), 1e-12)


@pytest.mark.parametrize("trainable", ["lora", "full"])
def test_trained_layers_go_their_own_way(trainable):
    """Adapters and trained matrices would be passed by, so they are not fused."""
    llm = small_llm()
    make_trainable(llm, trainable, lora_rank=2, seed=0)
    assert not llm._fused.applies(audio_for())


def test_audio_of_its_own_in_every_layer_is_not_fused():
    """One norm for all layers is right only where all layers see the same."""
    memory = {layer: random_audio(2, 5, HIDDEN, seed=layer) for layer in range(LAYERS)}
    assert not frozen_llm()._fused.applies(memory)


def test_families_with_other_norms_or_layers_have_none():
    """OLMo's norm has no scale, Phi-3's projections are one matrix."""
    assert frozen_llm("phi3")._fused is None
    assert not frozen_llm("olmo")._fused.applies(audio_for())


def test_changed_weights_are_stacked_anew():
    """What was stacked before a weight was loaded is not used after it."""
    llm = frozen_llm()
    before = flat(llm._fused(llm.decoder, audio_for(), POSITIONS))
    with torch.no_grad():
        llm.decoder.layers[1].self_attn.v_proj.weight.mul_(2.0)
    after = flat(llm._fused(llm.decoder, audio_for(), POSITIONS))
    assert_close(after.detach(), flat(capture(llm.decoder, audio_for(), POSITIONS)).detach(), 1e-12)
    assert (after - before).abs().max() > 1e-3


def test_what_inference_stacked_can_be_trained_through():
    """The stack outlives the inference mode in which it was first made."""
    llm = frozen_llm()
    with torch.inference_mode():
        llm(text_of(PROMPT), shown("lal", [random_audio(3, HIDDEN)]))
    audio = random_audio(3, HIDDEN).requires_grad_()
    llm(text_of(PROMPT), shown("lal", [audio])).square().sum().backward()
    assert audio.grad.abs().max() > 0
