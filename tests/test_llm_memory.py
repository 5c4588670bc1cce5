import pytest
import torch
from small_llms import (
    HIDDEN,
    LAYERS,
    PROMPT,
    assert_close,
    logits_of,
    random_audio,
    shown,
    small_llm,
    stored,
    text_of,
)

from palprobe.llm.adapters import make_trainable
from palprobe.llm.memory import capture, find_layers, project
from palprobe.types import AudioContext

DIRECT = ("llama", "qwen2", "qwen3", "mistral")
CAPTURED = ("phi3", "olmo2", "gpt_neox", "gemma3_text", "cohere2")


@pytest.fixture(scope="module")
def llm():
    return small_llm()


# --- keys and values of other architectures


@pytest.mark.parametrize("family", [*DIRECT, *CAPTURED, "gemma2"])
def test_captured_keys_are_those_the_model_stores(family):
    """Capture is right for every architecture: equal to the cache after the real layers ran on the audio."""
    llm = small_llm(family)
    memory = {layer: random_audio(2, 5, HIDDEN, seed=layer) for layer in range(LAYERS)}
    positions = torch.arange(5).expand(2, 5) + 3
    with torch.no_grad():
        found, expected = capture(llm.decoder, memory, positions), stored(llm.decoder, memory, positions)
    for index, layer in enumerate(expected.layers):
        assert torch.equal(found[index].keys, layer.keys)
        assert torch.equal(found[index].values, layer.values)


@pytest.mark.parametrize("family", DIRECT)
def test_direct_projection_is_capture_in_values_and_gradients(family):
    """The cheap way gives the same keys, values, and gradients to the audio, k_proj, v_proj and the norms."""
    llm = small_llm(family)
    assert llm._project is project
    results = []
    for make in (project, capture):
        audio = random_audio(2, 5, HIDDEN).requires_grad_()
        pairs = make(llm.decoder, dict.fromkeys((0, 2), audio), torch.arange(5).expand(2, 5))
        assert sorted(pairs) == [0, 2]
        flat = torch.cat([part.flatten() for layer in (0, 2) for part in (pairs[layer].keys, pairs[layer].values)])
        wanted = [audio] + [
            parameter
            for name, parameter in llm.decoder.named_parameters()
            if name.startswith(("layers.0.", "layers.2."))
            and any(part in name for part in ("k_proj", "v_proj", "k_norm", "input_layernorm"))
        ]
        results.append([flat.detach(), *torch.autograd.grad((flat * torch.linspace(-1, 1, len(flat))).sum(), wanted)])
    for direct, captured in zip(*results, strict=True):
        assert_close(direct, captured, 1e-12)
        assert captured.abs().max() > 0


@pytest.mark.parametrize("family", CAPTURED)
def test_capture_is_chosen_where_direct_would_be_wrong(family):
    """The check at construction finds fused, interleaved, partial and layer-typed variants; LAL then works on them."""
    llm = small_llm(family)
    assert llm._project is capture
    assert not any("forward" in vars(layer) for layer in find_layers(llm.decoder, LAYERS)), "a patch was left behind"
    audio = random_audio(1, 4, HIDDEN).requires_grad_()
    context = shown("lal", [audio[0]])
    with_audio = llm(text_of(PROMPT), context)
    assert (with_audio - llm(text_of(PROMPT), AudioContext())).abs().max() > 1e-3
    with_audio.square().sum().backward()
    assert audio.grad.abs().max() > 0


# --- gradients


@pytest.mark.parametrize("how", ["plits", "lal"])
@pytest.mark.parametrize("trainable", ["connector", "lora", "full"])
def test_gradients_go_where_they_should(how, trainable):
    """Always to the audio; to nothing, to the adapters alone, or to all of the LLM."""
    llm = small_llm()
    make_trainable(llm, trainable, lora_rank=2, seed=0)
    with torch.no_grad():  # adapters start at 0, through which no gradient flows to their first half
        for name, parameter in llm.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1)
    llm.double()
    audio = random_audio(3, HIDDEN).requires_grad_()
    llm(text_of(PROMPT), shown(how, [audio])).square().sum().backward()
    assert audio.grad.abs().max() > 0
    moved = {name for name, parameter in llm.named_parameters() if parameter.grad is not None}
    everything = {name for name, _ in llm.named_parameters()}
    adapters = {name for name in everything if "lora" in name}
    assert moved == {"connector": set(), "lora": adapters, "full": everything}[trainable]
    assert len(adapters) == (2 * 7 * LAYERS if trainable == "lora" else 0)  # q k v o gate up down, but not the head


def test_adapters_repeat_with_their_seed_and_leave_the_generator_alone():
    """Equal seeds give equal adapters; the global random state is untouched."""
    before = torch.random.get_rng_state()
    states = []
    for seed in (1, 1, 2):
        llm = small_llm()
        make_trainable(llm, "lora", lora_rank=2, seed=seed)
        states.append(torch.cat([value.flatten() for name, value in llm.named_parameters() if "lora_A" in name]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    assert torch.equal(before, torch.random.get_rng_state())


def test_lal_from_a_layer_leaves_the_layers_below_alone(llm):
    """What enters layer 1 is the same with and without audio from layer 1 on; what enters layer 2 is not."""
    entered: dict[int, list[torch.Tensor]] = {1: [], 2: []}
    layers = find_layers(llm.decoder, LAYERS)
    handles = [
        layers[index].register_forward_pre_hook(lambda _, arguments, index=index: entered[index].append(arguments[0]))
        for index in entered
    ]
    text, audio = text_of(PROMPT), random_audio(4, HIDDEN)
    with torch.no_grad():
        logits_of(llm, text, shown("lal", [audio], layers=(1, 2)))
        logits_of(llm, text, shown("lal", [audio * -2], layers=(1, 2)))
    for handle in handles:
        handle.remove()
    assert torch.equal(*entered[1])
    assert not torch.allclose(*entered[2])
