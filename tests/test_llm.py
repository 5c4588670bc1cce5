import copy

import numpy as np
import pytest
import torch
from reference_llama import ReferenceLlama
from small_llms import (
    HIDDEN,
    LAYERS,
    PROMPT,
    SIZES,
    assert_close,
    logits_of,
    random_audio,
    shown,
    small_llm,
    text_of,
)

from palprobe.errors import PalprobeError
from palprobe.llm import find_llm, load_llm
from palprobe.llm.model import TextBatch, left_padded
from palprobe.types import AudioContext


@pytest.fixture(scope="module")
def llm():
    return small_llm()


@pytest.fixture(scope="module")
def reference(llm):
    return ReferenceLlama(llm)


# --- against the reference in plain loops; transformers computes norms and rotations in float32, hence 1e-6


@pytest.mark.parametrize("positions", ["before", "none"])
@pytest.mark.parametrize("layers", [(0, 1, 2), (1, 2), (0, 2)])
def test_lal_is_the_reference(llm, reference, layers, positions):
    """LAL is audio as extra keys and values of the chosen layers and nothing else; and the audio matters."""
    audio, ids = random_audio(5, HIDDEN), list(PROMPT.encode())
    found = logits_of(llm, text_of(ids), shown("lal", [audio], layers=layers, memory_positions=positions))[0]
    memory = dict.fromkeys(layers, audio.numpy())
    assert_close(found, reference.logits(ids, memory=memory, rotated=positions == "before"), 1e-6)
    assert np.abs(found - reference.logits(ids)).max() > 1e-3


def test_lal_with_other_tokens_in_every_layer_is_the_reference(llm, reference):
    """A memory may differ from layer to layer (connector per_layer)."""
    memory = {layer: random_audio(4, HIDDEN, seed=layer) for layer in range(LAYERS)}
    ids = list(PROMPT.encode())
    context = AudioContext(
        memory={layer: audio[None] for layer, audio in memory.items()},
        memory_mask=torch.ones(1, 4, dtype=torch.bool),
    )
    expected = reference.logits(ids, memory={layer: audio.numpy() for layer, audio in memory.items()})
    assert_close(logits_of(llm, text_of(ids), context)[0], expected, 1e-6)


def test_plits_is_the_reference(llm, reference):
    """PLITS is audio rows before the text through every layer; and the audio matters."""
    audio, ids = random_audio(5, HIDDEN), list(PROMPT.encode())
    found = logits_of(llm, text_of(ids), shown("plits", [audio]))[0]
    assert_close(found, reference.logits(ids, prefix=audio.numpy()), 1e-6)
    assert np.abs(found - reference.logits(ids)).max() > 1e-3


def test_memory_and_prefix_together_stand_in_that_order(llm, reference):
    """Memory takes the first positions, then the prefix, then the text."""
    memory, prefix, ids = random_audio(4, HIDDEN), random_audio(3, HIDDEN, seed=2), list(PROMPT.encode())
    one = torch.ones(1, 4, dtype=torch.bool)
    context = AudioContext(
        prefix=prefix[None], prefix_mask=one[:, :3], memory=dict.fromkeys(range(LAYERS), memory[None]), memory_mask=one
    )
    expected = reference.logits(ids, prefix=prefix.numpy(), memory=dict.fromkeys(range(LAYERS), memory.numpy()))
    assert_close(logits_of(llm, text_of(ids), context)[0], expected, 1e-6)


def test_only_the_last_rows_get_logits_when_asked(llm):
    """logits_to_keep cuts the text rows at their end; 0 keeps all, and the audio never gets any."""
    text, context = text_of(PROMPT), shown("plits", [random_audio(5, HIDDEN)])
    everything = logits_of(llm, text, context)
    assert everything.shape == (1, len(PROMPT), SIZES["vocab_size"])
    assert_close(llm(text, context, logits_to_keep=3).detach(), everything[:, -3:])


# --- without audio


def no_audio() -> list[AudioContext]:
    empty, mask = torch.zeros(2, 0, HIDDEN, dtype=torch.float64), torch.zeros(2, 0, dtype=torch.bool)
    return [
        AudioContext(),
        AudioContext(prefix=empty, prefix_mask=mask),
        AudioContext(memory=dict.fromkeys(range(LAYERS), empty), memory_mask=mask),
    ]


@pytest.mark.parametrize("context", no_audio(), ids=["nothing", "empty prefix", "empty memory"])
@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gemma2"])
def test_no_audio_leaves_the_base_llm(family, context):
    """Bit for bit the model as transformers calls it, and its own eager attention to within rounding."""
    llm = small_llm(family)
    text = text_of("tone", "beep")
    eager = copy.deepcopy(llm.model)
    eager.set_attn_implementation("eager")
    found = logits_of(llm, text, context)
    with torch.no_grad():
        assert np.array_equal(found, llm.model(text.ids).logits.numpy())
        assert_close(found, eager(text.ids).logits.numpy(), 1e-6)


def test_softcapped_attention_is_that_of_transformers():
    """Gemma 2 caps its attention logits; with padding and with a prefix too, palprobe equals the eager model."""
    llm = small_llm("gemma2", attn_logit_softcapping=0.5)  # far below the logits, so that it matters
    text, audio = text_of("a tone", "beep"), random_audio(2, 3, HIDDEN)
    embedded = torch.cat((audio, llm.model.get_input_embeddings()(text.ids)), 1)
    mask = torch.cat((torch.ones(2, 3, dtype=torch.bool), text.mask), 1)
    eager = copy.deepcopy(llm.model)
    eager.set_attn_implementation("eager")
    with torch.no_grad():
        positions = (mask.long().cumsum(1) - 1).clamp(min=0)
        expected = eager(inputs_embeds=embedded, attention_mask=mask.long(), position_ids=positions).logits[:, 3:]
    found = logits_of(llm, text, shown("plits", list(audio)))
    real = text.mask.numpy()
    assert_close(found[real], expected.numpy()[real], 1e-5)
    plain = small_llm("gemma2", attn_logit_softcapping=None)
    assert np.abs(logits_of(plain, text, shown("plits", list(audio)))[real] - found[real]).max() > 1e-3


# --- batches and padding


@pytest.mark.parametrize("how", ["plits", "lal"])
@pytest.mark.parametrize("audio_pad", ["left", "right"])
@pytest.mark.parametrize("text_pad", ["left", "right"])
def test_a_batch_is_its_items(llm, how, audio_pad, text_pad):
    """Audio and text of other lengths beside an item, and padding on either side of both, change nothing."""
    texts, clips = ["tone", "how many?", "x"], [random_audio(n, HIDDEN, seed=n) for n in (6, 1, 4)]
    batch = text_of(*texts, pad=text_pad)
    together = logits_of(llm, batch, shown(how, clips, pad=audio_pad))
    for row, (text, clip) in enumerate(zip(texts, clips, strict=True)):
        alone = logits_of(llm, text_of(text), shown(how, [clip]))[0]
        assert_close(together[row][batch.mask[row].numpy()], alone)


def test_a_clip_of_nothing_beside_others_is_no_audio(llm):
    """A row whose audio is all padding gets the base LLM's logits."""
    clips = [random_audio(3, HIDDEN), random_audio(0, HIDDEN)]
    text = text_of("tone", "beep")
    base = logits_of(llm, text, AudioContext())
    for how in ("plits", "lal"):
        assert_close(logits_of(llm, text, shown(how, clips))[1], base[1])


def test_left_padded_by_hand():
    """Rows end in the last column."""
    text = left_padded([[1, 2, 3], [4]])
    assert text.ids.tolist() == [[1, 2, 3], [0, 0, 4]]
    assert text.mask.tolist() == [[True] * 3, [False, False, True]]


def test_positions_of_the_text_may_be_given(llm):
    """Positions that restart are only positions: no row is hidden from another because of them."""
    text = text_of(PROMPT)
    positions = torch.arange(len(PROMPT))[None] % 4
    given = TextBatch(text.ids, text.mask, positions=positions)
    causal = torch.ones(1, len(PROMPT), len(PROMPT), dtype=torch.bool).tril()
    by_mask = TextBatch(text.ids, text.mask, visible=causal, positions=positions)
    found = logits_of(llm, given, AudioContext())
    assert_close(found, logits_of(llm, by_mask, AudioContext()))
    assert np.abs(found - logits_of(llm, text, AudioContext())).max() > 1e-3


# --- the built-in LLM


def test_tiny_is_what_its_seed_says():
    """Equal seeds give equal weights, other seeds others; the global random state is untouched."""
    before = torch.random.get_rng_state()
    weights = [load_llm(find_llm("tiny"), seed=seed).model.lm_head.weight for seed in (3, 3, 4)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_shape_tells_the_scale_of_the_embeddings(llm):
    """embedding_rms is the root mean square of the input embeddings."""
    weight = llm.model.get_input_embeddings().weight.detach().numpy()
    assert llm.shape.embedding_rms == pytest.approx(np.sqrt(np.mean(weight**2)))
    assert (llm.shape.hidden_size, llm.shape.num_layers) == (HIDDEN, LAYERS)


def test_attention_refuses_sinks():
    """A model with attention sinks would be computed wrongly, so it is not computed."""
    from palprobe.llm.attention import folded_attention

    rows = torch.zeros(1, 1, 1, 2)
    with pytest.raises(PalprobeError, match="sinks"):
        folded_attention(torch.nn.Identity(), rows, rows, rows, None, s_aux=torch.zeros(1))


# --- more than the model has positions for


def test_more_than_the_model_has_positions_for_is_refused():
    """One position too many is named with its counts, in forward and in generation; padding and memory without
    positions take none."""
    llm = small_llm(max_position_embeddings=16)
    fits, long = random_audio(12, HIDDEN), random_audio(13, HIDDEN)
    for how in ("plits", "lal"):
        logits_of(llm, text_of("beep"), shown(how, [fits]))
        with pytest.raises(PalprobeError, match=r"has 16 positions, .* take 17 \(13 of audio, 4 of prompt") as caught:
            logits_of(llm, text_of("beep"), shown(how, [long]))
        assert "integration.pool" in str(caught.value) and "\n" not in str(caught.value)
    logits_of(llm, text_of("beep"), shown("lal", [long], memory_positions="none"))
    logits_of(llm, text_of("a", "hello there"), shown("lal", [long, long[:2]]))  # 13 + 11 columns, 14 positions
    assert len(llm.generate(text_of("be"), shown("lal", [fits]), max_new_tokens=3)[0]) == 3
    with pytest.raises(PalprobeError, match=r"take 17 \(12 of audio, 5 of prompt"):
        llm.generate(text_of("be"), shown("lal", [fits]), max_new_tokens=4)


def test_longrope_reads_as_far_as_it_rotates_alike():
    """Phi-3's long variants change all angles beyond their first length, so that is the limit."""
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [3.0] * 4}
    llm = small_llm("phi3", rope_parameters=rope, original_max_position_embeddings=16)
    assert llm.model.config.max_position_embeddings == 256
    logits_of(llm, text_of("beep"), shown("lal", [random_audio(12, HIDDEN)]))
    with pytest.raises(PalprobeError, match="has 16 positions"):
        logits_of(llm, text_of("beep"), shown("lal", [random_audio(13, HIDDEN)]))
