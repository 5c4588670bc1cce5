"""One contract for every decoder family that is served, on small random models; windows are small enough to matter."""

import numpy as np
import pytest
import torch
from decoding_by_hand import beam_search, greedy, log_probabilities
from reference_gemma2 import ReferenceGemma2
from reference_llama import ReferenceLlama
from small_llms import (
    FAMILIES,
    HIDDEN,
    LAYERS,
    PROMPT,
    SLIDING,
    assert_close,
    eager,
    logits_of,
    random_audio,
    shown,
    small_llm,
    stored,
    text_of,
    windowed_llm,
)
from torch import nn

from palprobe.integrations import build_integration, resolve_section
from palprobe.llm.adapters import make_trainable
from palprobe.llm.attention import as_argument
from palprobe.llm.memory import capture
from palprobe.llm.model import LanguageModel, TextBatch
from palprobe.recipe import IntegrationSection
from palprobe.scoring.tree import build_tree
from palprobe.types import AudioContext

WINDOW = 4  # of positions, in the families that have any; texts and clips are longer
EAGER = 1e-5  # transformers' eager attention takes its softmax in float32
TEXTS, CLIPS = ["tone", "how many beeps?", "x"], [random_audio(n, HIDDEN, seed=n) for n in (6, 1, 9)]
MEMORY = {layer: random_audio(1, 7, HIDDEN, seed=layer) for layer in range(LAYERS)}
FEATURES = torch.randn(1, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(scope="module", params=FAMILIES)
def llm(request) -> LanguageModel:
    return windowed_llm(request.param, WINDOW)


def family_of(llm: LanguageModel) -> str:
    return llm.model.config.model_type


# --- right against the model's own attention


def masks_by_hand(model, memory: int, length: int):
    """Additive masks as eager attention wants them: memory always, rows causally and within the window."""

    def mask(window: float) -> torch.Tensor:
        seen = [
            [at < memory or 0 <= memory + row - at < window for at in range(memory + length)] for row in range(length)
        ]
        least = torch.finfo(torch.float64).min
        return torch.tensor([[[[0.0 if one else least for one in line] for line in seen]]], dtype=torch.float64)

    full = mask(float("inf"))
    if model.config.model_type not in SLIDING:
        return full
    kinds = {"full_attention": full, "sliding_attention": mask(WINDOW)}
    return kinds if getattr(model.config, "layer_types", None) else kinds["sliding_attention"]


@torch.no_grad()
def test_lal_is_the_models_own_attention_over_stored_audio(llm):
    """LAL equals the eager model with the audio's keys and values in its own cache: all rows see all audio, in sliding
    layers too, and each other within the window."""
    context = AudioContext(memory=MEMORY, memory_mask=torch.ones(1, 7, dtype=torch.bool))
    text, model = text_of(PROMPT), eager(llm)
    cache = stored(model.base_model, MEMORY, torch.arange(7)[None])
    expected = model(
        inputs_embeds=model.get_input_embeddings()(text.ids),
        position_ids=torch.arange(7, 7 + len(PROMPT))[None],
        attention_mask=masks_by_hand(model, 7, len(PROMPT)),
        **as_argument(model, cache),
    ).logits
    found = logits_of(llm, text, context)
    assert_close(found, expected, EAGER)
    assert np.abs(found - logits_of(llm, text, AudioContext())).max() > 1e-3


def test_lal_is_the_capture_oracle(llm):
    """However keys and values are made, logits are those of captured ones."""
    context = AudioContext(memory=MEMORY, memory_mask=torch.ones(1, 7, dtype=torch.bool))
    found = logits_of(llm, text_of(PROMPT), context)
    chosen, llm._project = llm._project, capture
    expected = logits_of(llm, text_of(PROMPT), context)
    llm._project = chosen
    assert_close(found, expected, 1e-12)


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_plits_is_transformers_on_a_long_prefix(family):
    """Prefix and text are the eager model on the same rows, with its own windows and soft caps."""
    llm = windowed_llm(family, WINDOW)
    text, audio = text_of(PROMPT), random_audio(9, HIDDEN)
    model = eager(llm)
    rows = torch.cat((audio[None], model.get_input_embeddings()(text.ids)), 1)
    found = logits_of(llm, text, shown("plits", [audio]))
    assert_close(found, model(inputs_embeds=rows).logits[:, 9:], EAGER)
    if family in SLIDING:  # the window matters here, so the comparison can fail
        wide = logits_of(windowed_llm(family, 64), text, shown("plits", [audio]))
        assert np.abs(found - wide).max() > 1e-3


@pytest.mark.parametrize("how", ["plits", "lal"])
@pytest.mark.parametrize(("family", "reference"), [("mistral", ReferenceLlama), ("gemma2", ReferenceGemma2)])
def test_windows_and_soft_caps_are_the_reference_in_plain_loops(family, reference, how):
    """Against loops without any library: rows within the window, audio as memory from everywhere, caps that matter."""
    caps = {"attn_logit_softcapping": 0.5, "final_logit_softcapping": 2.0} if family == "gemma2" else {}
    llm = windowed_llm(family, WINDOW, **caps)
    audio, ids = random_audio(7, HIDDEN), list(PROMPT.encode())
    shown_as = {"prefix": audio.numpy()} if how == "plits" else {"memory": dict.fromkeys(range(LAYERS), audio.numpy())}
    expected = reference(llm).logits(ids, **shown_as)
    assert_close(logits_of(llm, text_of(ids), shown(how, [audio]))[0], expected, 1e-6)
    if caps:
        loose = windowed_llm(family, WINDOW, **(caps | {"attn_logit_softcapping": 50.0}))
        assert np.abs(logits_of(loose, text_of(ids), shown(how, [audio]))[0] - expected).max() > 1e-3


def test_far_text_is_out_of_sight_and_far_audio_is_not():
    """Where all layers slide, a token beyond what three windows reach changes nothing; audio that far does."""
    llm = windowed_llm("mistral", WINDOW)
    far = LAYERS * (WINDOW - 1) + 1  # positions that the last row cannot reach through all layers
    text, changed = [1] + [5] * far, [2] + [5] * far
    assert np.array_equal(*(logits_of(llm, text_of(ids), AudioContext())[0, -1] for ids in (text, changed)))
    audio = random_audio(8, HIDDEN)
    other = torch.cat((-audio[:1], audio[1:]))
    first, second = (logits_of(llm, text_of(text), shown("lal", [clip]))[0, -1] for clip in (audio, other))
    assert np.abs(first - second).max() > 1e-4


# --- batches, trees and generation agree with one plain forward pass


@pytest.mark.parametrize("how", ["plits", "lal"])
@pytest.mark.parametrize("pad", ["left", "right"])
def test_a_batch_is_its_items(llm, how, pad):
    """Padding beside audio and text changes nothing, windows or not."""
    batch = text_of(*TEXTS, pad=pad)
    together = logits_of(llm, batch, shown(how, CLIPS, pad=pad))
    for row, (text, clip) in enumerate(zip(TEXTS, CLIPS, strict=True)):
        alone = logits_of(llm, text_of(text), shown(how, [clip]))[0]
        assert_close(together[row][batch.mask[row].numpy()], alone)


@torch.no_grad()
@pytest.mark.parametrize("how", ["plits", "lal"])
def test_a_tree_is_one_pass_per_answer(llm, how):
    """Answers that share a forward pass get the log likelihood that each gets alone: windows go by positions."""
    prompt, answers = list(PROMPT.encode()), [[1, 2, 9, 4, 5, 6, 256], [256], [3, 9, 256]]
    context = shown(how, [CLIPS[0]])
    tree = build_tree(prompt, answers)
    text = TextBatch(
        tree.ids[None],
        torch.ones(1, len(tree.ids), dtype=torch.bool),
        visible=tree.visible[None],
        positions=tree.positions[None],
    )
    logs = llm(text, context, logits_to_keep=tree.kept)[0].log_softmax(-1)[tree.rows, tree.targets]
    found = torch.zeros(3, dtype=torch.float64).index_add(0, tree.owner, logs)
    expected = [
        sum(log_probabilities(llm, prompt + answer[:at], context)[token] for at, token in enumerate(answer))
        for answer in answers
    ]
    assert_close(found, expected)


@pytest.mark.parametrize("beams", [1, 3])
def test_generation_is_the_loop_from_scratch(llm, beams):
    """Greedy and with beams: a padded batch with a growing cache writes what forward passes from scratch write."""
    free = llm.generate(text_of(*TEXTS), shown("lal", CLIPS), max_new_tokens=5)
    llm.tokenizer.eos = free[0][2]  # so that some rows end and others go on
    found = llm.generate(text_of(*TEXTS), shown("lal", CLIPS), max_new_tokens=5, beams=beams)
    for text, clip, made in zip(TEXTS, CLIPS, found, strict=True):
        ids, context = list(text.encode()), shown("lal", [clip])
        expected = greedy(llm, ids, context, 5) if beams == 1 else beam_search(llm, ids, context, beams, 5)
        assert made == expected
    llm.tokenizer.eos = 256


# --- what trains


def test_adapters_act_on_audio(llm):
    """With LoRA, audio keys and values are those that the adapted layers store, and gradients reach the adapters."""
    adapted = small_llm(family_of(llm))
    positions = torch.arange(7)[None]
    before = adapted._project(adapted.decoder, MEMORY, positions)
    make_trainable(adapted, "lora", lora_rank=2, seed=0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    adapted.double()
    after = adapted._project(adapted.decoder, MEMORY, positions)
    with torch.no_grad():
        expected = stored(adapted.decoder, MEMORY, positions)
    for index, layer in enumerate(expected.layers):
        assert_close(after[index].keys.detach(), layer.keys, 1e-12)
        assert_close(after[index].values.detach(), layer.values, 1e-12)
        assert (after[index].keys - before[index].keys).abs().max() > 1e-3
        assert (after[index].values - before[index].values).abs().max() > 1e-3
    sum(pair.keys.square().sum() + pair.values.square().sum() for pair in after.values()).backward()
    moved = [name for name, parameter in adapted.named_parameters() if parameter.grad is not None]
    assert len(moved) >= 2 * LAYERS and all("lora" in name for name in moved)


@pytest.mark.parametrize("name", ["lal", "plits", "pal@v3", "flamingo"])
def test_a_training_step_reaches_the_connector(llm, name):
    """The loss moves every weight of the integration, with finite gradients, and nothing of a frozen LLM."""
    llm.requires_grad_(False)
    section = resolve_section(name, IntegrationSection(summary_tokens=3))
    integration = build_integration(name, dim=5, shape=llm.shape, section=section, seed=0).double()
    for parameter in integration.parameters():
        nn.init.normal_(parameter, std=0.1)  # some start at 0, where nothing flows through
    context = integration(FEATURES, torch.ones(1, 6, dtype=torch.bool))
    llm(text_of(PROMPT), context, logits_to_keep=3).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in integration.parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in integration.parameters())
    assert all(parameter.grad is None for parameter in llm.parameters())
