"""Attention read beside a forward pass: the weights of plain loops and those that transformers reports."""

import copy

import numpy as np
import pytest
import torch
from reference_llama import WatchedLlama
from small_llms import HIDDEN, LAYERS, PROMPT, assert_close, logits_of, random_audio, shown, small_llm, text_of
from transformers import AttentionInterface

from palprobe.llm.attention import ATTENTION, folded_attention
from palprobe.llm.readout import reading
from palprobe.types import AudioContext


def every_column(llm, text, context, columns):
    """Layer → (B, rows, columns): `reading` with a mark of its own for each column, which is the weights themselves."""
    with torch.no_grad(), reading(torch.eye(columns).expand(len(text.ids), -1, -1)) as found:
        llm(text, context)
    return {layer: values.numpy() for layer, values in found.items()}


@pytest.fixture(scope="module")
def llm():
    return small_llm()


@pytest.mark.parametrize("layers", [(0, 1, 2), (1,)])
def test_memory_and_prefix_get_what_plain_loops_say(llm, layers):
    """Every row's weights over memory, prefix and text, in every layer, those without audio too."""
    memory, prefix, ids = random_audio(4, HIDDEN), random_audio(3, HIDDEN, seed=2), list(PROMPT.encode())
    mask = torch.ones(1, 4, dtype=torch.bool)
    context = AudioContext(
        prefix=prefix[None], prefix_mask=mask[:, :3], memory=dict.fromkeys(layers, memory[None]), memory_mask=mask
    )
    found = every_column(llm, text_of(ids), context, 4 + 3 + len(ids))
    audible = dict.fromkeys(layers, memory.numpy())
    for layer, rows in enumerate(WatchedLlama(llm).attention(ids, prefix=prefix.numpy(), memory=audible)):
        heard = 4 if layer in layers else 0
        for number, weights in enumerate(rows):
            row = found[layer][0, number]
            assert_close(row[4 - heard : 4 + number + 1], weights, 1e-6)
            assert not row[: 4 - heard].any() and not row[4 + number + 1 :].any()


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt_neox", "gemma2", "cohere2"])
def test_plits_rows_are_those_that_transformers_reports(family):
    """Eager attention of transformers with output_attentions, in a padded batch: the same weights, softcap and all."""
    llm = small_llm(family, **({"attn_logit_softcapping": 0.5} if family == "gemma2" else {}))
    text, audio = text_of("a tone", "beep"), random_audio(2, 3, HIDDEN)
    columns = 3 + text.ids.shape[1]
    found = every_column(llm, text, shown("plits", list(audio)), columns)
    embedded = torch.cat((audio, llm.model.get_input_embeddings()(text.ids)), 1)
    mask = torch.cat((torch.ones(2, 3, dtype=torch.bool), text.mask), 1)
    eager = copy.deepcopy(llm.model)
    eager.set_attn_implementation("eager")
    with torch.no_grad():
        positions = (mask.long().cumsum(1) - 1).clamp(min=0)
        out = eager(inputs_embeds=embedded, attention_mask=mask.long(), position_ids=positions, output_attentions=True)
    assert len(out.attentions) == len(found) == LAYERS
    for layer, weights in enumerate(out.attentions):  # (B, heads, rows, columns)
        assert_close(found[layer][mask.numpy()], weights.mean(1).numpy()[mask.numpy()], 1e-5)


def test_reading_leaves_the_forward_pass_alone(llm):
    """The same logits bit for bit, and afterwards the old attention function, after an error too."""
    text, context = text_of("tone", "how many?"), shown("lal", [random_audio(5, HIDDEN), random_audio(2, HIDDEN)])
    before = logits_of(llm, text, context)
    with reading(torch.ones(2, 5 + text.ids.shape[1], 1)) as found:
        assert np.array_equal(logits_of(llm, text, context), before)
    for sums in found.values():
        assert_close(sums[text.mask].numpy(), np.ones((int(text.mask.sum()), 1)), 1e-6)  # all columns are all there is
    with pytest.raises(RuntimeError, match="on the way"), reading(torch.ones(1, 1, 1)):
        raise RuntimeError("on the way")
    assert AttentionInterface()[ATTENTION] is folded_attention
