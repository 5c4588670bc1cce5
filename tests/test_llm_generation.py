from itertools import product

import numpy as np
import pytest
import torch
from decoding_by_hand import beam_search as by_hand_beams
from decoding_by_hand import greedy, log_probabilities
from small_llms import HIDDEN, PROMPT, eager, logits_of, random_audio, shown, small_llm, text_of, windowed_llm

from palprobe.integrations import build_integration, resolve_section
from palprobe.llm.generation import penalised
from palprobe.llm.model import LanguageModel
from palprobe.recipe import IntegrationSection
from palprobe.types import AudioContext


@pytest.fixture(scope="module")
def llm():
    return small_llm()


# --- blocks


def by_hand(llm: LanguageModel, rows: torch.Tensor, blocks) -> torch.Tensor:
    """The Llama run layer by layer without its own loop; `rows` (1, L, H)."""
    positions = torch.arange(rows.shape[1])[None]
    rotary = llm.decoder.rotary_emb(rows, positions)
    for index, layer in enumerate(llm.decoder.layers):
        if index in blocks:
            rows = blocks[index](rows, torch.ones(rows.shape[:2], dtype=torch.bool))
        rows = layer(rows, attention_mask=None, position_embeddings=rotary, position_ids=positions)
    return llm.model.lm_head(llm.decoder.norm(rows))


def test_a_block_runs_before_its_layer(llm):
    """Exactly the layers run by hand with the block between them, and gone after the call."""
    text = text_of(PROMPT)
    blocks = {
        1: lambda rows, mask, owner=None: rows.tanh() * mask[..., None],
        2: lambda rows, mask, owner=None: rows + 0.5,
    }
    found = logits_of(llm, text, AudioContext(blocks=blocks))
    with torch.no_grad():
        expected = by_hand(llm, llm.model.get_input_embeddings()(text.ids), blocks)
    assert np.array_equal(found, expected.numpy())
    assert not np.allclose(found, logits_of(llm, text, AudioContext()))
    assert not any(layer._forward_pre_hooks for layer in llm.decoder.layers)


def test_a_block_gets_the_mask_of_the_rows_it_gets(llm):
    """Prefix rows are rows; padding of both is marked; while decoding the new row is real."""
    masks = []

    def note(rows, mask, owner=None):
        assert rows.shape[:2] == mask.shape
        masks.append(mask.tolist())
        return rows

    context = shown("plits", [random_audio(2, HIDDEN), random_audio(1, HIDDEN)])
    context = AudioContext(prefix=context.prefix, prefix_mask=context.prefix_mask, blocks={0: note})
    llm.generate(text_of("a", "bc"), context, max_new_tokens=2)
    assert masks == [[[True, True, False, True], [True, False, True, True]], [[True], [True]]]


# --- generation


@pytest.mark.parametrize(
    ("how", "options"),
    [
        ("plits", {}),
        ("lal", {}),
        ("lal", {"layers": (1, 2)}),
        ("lal", {"memory_positions": "none"}),
        ("lal", {"layers": (1, 2), "memory_positions": "none"}),
    ],
)
def test_generation_is_the_loop_from_scratch(llm, how, options):
    """A padded batch decoded with a growing cache equals one item at a time without any."""
    texts, clips = ["tone", "how many beeps?", "x"], [random_audio(n, HIDDEN, seed=n) for n in (6, 1, 4)]
    found = llm.generate(text_of(*texts), shown(how, clips, **options), max_new_tokens=6)
    for text, clip, made in zip(texts, clips, found, strict=True):
        assert made == greedy(llm, list(text.encode()), shown(how, [clip], **options), 6)
        assert len(made) == 6
    assert len({tuple(row) for row in found}) == 3


def test_generation_without_audio_and_with_blocks_is_the_loop_from_scratch(llm):
    """The other two seams decode right too."""
    texts = ["tone", "how many beeps?"]
    for context in (AudioContext(), AudioContext(blocks={1: lambda rows, mask, owner=None: rows * 1.5})):
        found = llm.generate(text_of(*texts), context, max_new_tokens=5)
        assert found == [greedy(llm, list(text.encode()), context, 5) for text in texts]


def test_generation_ends_at_the_end_token():
    """Each row ends at its own end-of-sequence token, without it, whatever the others still write."""
    llm = small_llm()
    texts, clips = ["tone", "how many beeps?", "x"], [random_audio(n, HIDDEN, seed=n) for n in (6, 1, 4)]
    free = llm.generate(text_of(*texts), shown("lal", clips), max_new_tokens=6)
    llm.tokenizer.eos = free[0][3]  # of this tokenizer alone
    expected = [row[: row.index(free[0][3])] if free[0][3] in row else row for row in free]
    assert llm.generate(text_of(*texts), shown("lal", clips), max_new_tokens=6) == expected
    assert len(expected[0]) <= 3
    assert any(len(row) > len(expected[0]) for row in expected)


def test_generation_without_padding_is_the_loop_from_scratch(llm):
    """Rows of one length need no mask for the prompt, and get the same tokens."""
    texts, clips = ["tone", "beep"], [random_audio(4, HIDDEN, seed=seed) for seed in (1, 2)]
    for how in ("plits", "lal"):
        found = llm.generate(text_of(*texts), shown(how, clips), max_new_tokens=6)
        for text, clip, made in zip(texts, clips, found, strict=True):
            assert made == greedy(llm, list(text.encode()), shown(how, [clip]), 6)


# --- beams


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gemma3_text", "gpt_neox"])
@pytest.mark.parametrize("beams", [1, 2, 5])
def test_without_audio_it_is_the_generate_of_transformers(family, beams):
    """Greedy and with beams, text alone, windows that cut: token for token what `generate` of transformers writes."""
    llm = windowed_llm(family, 4)
    model = eager(llm)
    for text in ("a tone", "how many beeps?"):
        ids = text_of(text).ids
        free = llm.generate(text_of(text), AudioContext(), max_new_tokens=6)[0]
        for eos in (free[0], free[2], 256):
            llm.tokenizer.eos = eos
            written = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                num_beams=beams,
                do_sample=False,
                max_new_tokens=6,
                eos_token_id=eos,
                pad_token_id=eos,
            )[0, ids.shape[1] :].tolist()
            expected = written[: written.index(eos)] if eos in written else written
            assert llm.generate(text_of(text), AudioContext(), max_new_tokens=6, beams=beams) == [expected]


@pytest.mark.parametrize("family", ["llama", "gemma2"])
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.filterwarnings("ignore:Passing .repetition_penalty. with .inputs_embeds.")  # the point of the test
@pytest.mark.parametrize("penalty", [1.05, 1.5, 0.8])
def test_repeated_tokens_are_penalised_as_in_transformers(family, beams, penalty):
    """Of what was written alone, not of the prompt: what its `generate` writes after embedded prompts."""
    llm = small_llm(family)
    model = eager(llm)
    changed = 0
    for text in ("a tone", "how many beeps?", "x"):
        ids = text_of(text).ids
        written = model.generate(
            inputs_embeds=model.get_input_embeddings()(ids),
            attention_mask=torch.ones_like(ids),
            num_beams=beams,
            do_sample=False,
            max_new_tokens=12,
            repetition_penalty=penalty,
            eos_token_id=256,
            pad_token_id=256,
        )[0].tolist()
        expected = written[: written.index(256)] if 256 in written else written
        found = llm.generate(text_of(text), AudioContext(), max_new_tokens=12, beams=beams, penalty=penalty)[0]
        assert found == expected
        changed += found != llm.generate(text_of(text), AudioContext(), max_new_tokens=12, beams=beams)[0]
    assert changed or penalty == 1.05


def test_a_penalty_by_hand():
    """Positive scores of written tokens are divided, negative ones multiplied; one that stands twice counts once."""
    scores = torch.tensor([[1.0, -1.0, 2.0, 3.0]])
    assert penalised(scores, torch.tensor([[0, 1, 0]]), 2.0).tolist() == [[0.5, -2.0, 2.0, 3.0]]
    assert penalised(scores, torch.zeros(1, 0, dtype=torch.long), 2.0).tolist() == scores.tolist()


def test_enough_beams_find_the_best_answer():
    """With a beam for everything that could be written, the answer is the best of all 40 of up to three tokens."""
    llm = small_llm(vocab_size=4, eos_token_id=3)
    llm.tokenizer.eos = 3
    memory_mask = torch.ones(1, 5, dtype=torch.bool)
    ids, context = [0, 1, 2], AudioContext(memory={0: random_audio(1, 5, HIDDEN)}, memory_mask=memory_mask)

    def mean(answer: list[int]) -> float:
        whole = answer if len(answer) == 3 else [*answer, 3]
        logs = [log_probabilities(llm, ids + whole[:at], context)[token] for at, token in enumerate(whole)]
        return sum(logs) / len(logs)

    answers = [[*made] for length in range(4) for made in product(range(3), repeat=length)]
    assert llm.generate(text_of(ids), context, max_new_tokens=3, beams=36) == [max(answers, key=mean)]


def test_beams_of_one_item_leave_the_others_alone(llm):
    """A batch with prefix, memory and blocks of several lengths is its items: caches and audio follow their beams."""
    clips = [random_audio(n, HIDDEN, seed=n) for n in (6, 1, 4)]
    integration = build_integration(
        "flamingo", dim=HIDDEN, shape=llm.shape, section=resolve_section("flamingo", IntegrationSection()), seed=0
    ).double()
    for parameter in integration.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    features = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    mask = torch.arange(6)[None] < torch.tensor([6, 1, 4])[:, None]
    texts = ["tone", "how many beeps?", "x"]
    with torch.no_grad():
        together = llm.generate(text_of(*texts), integration(features, mask), max_new_tokens=5, beams=4)
        for text, clip, made in zip(texts, clips, together, strict=True):
            context = integration(clip[None], torch.ones(1, len(clip), dtype=torch.bool))
            assert made == by_hand_beams(llm, list(text.encode()), context, 4, 5)
    assert len({tuple(row) for row in together}) == 3
