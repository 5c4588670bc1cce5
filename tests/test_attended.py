"""What a probe attends to: bins by hand, and every integration against plain loops, alone and in batches."""

import numpy as np
import pytest
import torch
from reference_llama import WatchedLlama, softmax
from small_llms import HIDDEN, LAYERS, PROMPT, small_llm, text_of
from test_readout import every_column

from palprobe.evaluation.attended import BINS, into_bins, read_attention
from palprobe.features.pooling import Pooling
from palprobe.integrations import build_integration, resolve_section
from palprobe.llm.adapters import make_trainable
from palprobe.llm.readout import reading
from palprobe.recipe import IntegrationSection
from palprobe.training.probe import Branch, Probe
from palprobe.types import AudioContext

# --- over time


def test_bins_by_hand():
    """Two tokens share twenty bins, ten each; of forty, two fall into each bin; three overlap bins in part."""
    halves = into_bins(torch.ones(1, 2, dtype=torch.bool))[0]
    np.testing.assert_allclose(halves, [[0.1] * 10 + [0] * 10, [0] * 10 + [0.1] * 10], atol=1e-6)
    forty = into_bins(torch.ones(1, 40, dtype=torch.bool))[0]
    np.testing.assert_allclose(forty, np.repeat(np.eye(20), 2, axis=0), atol=1e-5)
    thirds = into_bins(torch.ones(1, 3, dtype=torch.bool))[0]
    middle = [0] * 6 + [0.05] + [0.15] * 6 + [0.05] + [0] * 6  # from 6 2/3 to 13 1/3 bins
    np.testing.assert_allclose(thirds[1], middle, atol=1e-6)


def test_bins_of_padding_and_of_bands():
    """Padding on either side gets nothing and counts for nothing; tokens of one time step share its stretch."""
    mask = torch.tensor([[False, True, True, False], [False] * 4])
    bins = into_bins(mask)
    assert not bins[~mask].any()
    np.testing.assert_allclose(bins[0, 1:3], into_bins(torch.ones(1, 2, dtype=torch.bool))[0])
    steps = into_bins(torch.ones(1, 4, dtype=torch.bool), together=2)[0]
    np.testing.assert_allclose(steps, bins[0, [1, 1, 2, 2]])
    short = into_bins(torch.ones(1, 5, dtype=torch.bool), together=2)[0]  # the last step has one token of two
    np.testing.assert_allclose(short.sum(1), 1, rtol=1e-5)
    assert torch.equal(short[0], short[1]) and not torch.equal(short[1], short[2])


# --- a probe


DIM = 6
CLIPS = [torch.randn(n, DIM, generator=torch.Generator().manual_seed(n)) * 3 + 1 for n in (7, 2, 30)]
PROMPTS = ["which tone?", "how many?", "x"]


def probe_of(*integrations: str, pooling: Pooling | None = None, **options) -> Probe:
    """A small probe in float64 with a branch for each integration, loud enough for the audio to matter."""
    llm, branches = small_llm(), []
    for number, name in enumerate(integrations):
        section = resolve_section(name, IntegrationSection(**options))
        integration = build_integration(name, dim=DIM, shape=llm.shape, section=section, seed=number)
        for value in integration.parameters():
            torch.nn.init.normal_(value, std=0.3, generator=torch.Generator().manual_seed(number))
        branches.append(Branch(integration, dim=DIM, num_layers=1, pooling=pooling or Pooling(grid=1)))
        branches[-1].standardise.measure(CLIPS)
    return Probe(branches, llm).double().eval()


def read(probe, clips=CLIPS, prompts=PROMPTS):
    return read_attention(probe, text_of(*prompts), [clips] * len(probe.branches))


SOURCES = {"lal": ["memory"], "plits": ["prefix"], "pal@v3": ["memory", "prefix"], "flamingo": ["blocks"]}


@pytest.mark.parametrize("name", SOURCES)
def test_a_batch_is_its_items(name):
    """Clips and prompts of other lengths beside an item change nothing; every integration has its sources."""
    probe = probe_of(name)
    together = read(probe)
    assert {key for key in together if key.startswith("last.")} == {f"last.{source}" for source in SOURCES[name]}
    for number, (clip, prompt) in enumerate(zip(CLIPS, PROMPTS, strict=True)):
        alone = read(probe, [clip], [prompt])
        for key, values in together.items():
            np.testing.assert_allclose(values[number], alone[key][0], atol=1e-6, err_msg=key)


@pytest.mark.parametrize("name", ["lal", "plits"])
def test_a_probe_is_read_as_plain_loops_read_it(name):
    """The last row, the mean of all rows and their sums, binned by a loop over the tokens' stretches of the clip."""
    probe = probe_of(name)
    found, ids = read(probe, CLIPS[:1], PROMPTS[:1]), list(PROMPTS[0].encode())
    context = probe.context([CLIPS[:1]])
    if name == "plits":
        audio = {"prefix": context.prefix[0].detach().numpy()}
    else:
        audio = {"memory": {layer: rows[0].detach().numpy() for layer, rows in context.memory.items()}}
    layers = WatchedLlama(probe.llm).attention(ids, **audio)
    for layer, rows in enumerate(layers):
        binned = [by_bin(row[: len(CLIPS[0])]) for row in rows[-len(ids) :]]
        source = SOURCES[name][0]
        np.testing.assert_allclose(found[f"last.{source}"][0, layer], binned[-1], atol=1e-6)
        np.testing.assert_allclose(found[f"prompt.{source}"][0, layer], np.mean(binned, axis=0), atol=1e-6)
        assert float(found["share.last"][0, layer]) == pytest.approx(rows[-1][: len(CLIPS[0])].sum(), abs=1e-6)


def by_bin(weights):
    """Each token's weight, cut into grains that fall into the bins where they lie; none lies on a border."""
    bins, grains = np.zeros(BINS), BINS * len(weights)
    for grain in range(grains):
        place = (grain + 0.5) / grains
        bins[int(place * BINS)] += weights[int(place * len(weights))] * len(weights) / grains
    return bins


def test_audio_of_nothing_is_attended_to_evenly():
    """Keys of zero draw every query alike, so attention is flat over time: the reading adds no shape of its own."""
    zeros = torch.zeros(1, 40, HIDDEN, dtype=torch.float64)
    mask = torch.ones(1, 40, dtype=torch.bool)
    context = AudioContext(memory=dict.fromkeys(range(LAYERS), zeros), memory_mask=mask)
    marks = torch.cat((into_bins(mask), torch.zeros(1, len(PROMPT), BINS)), 1)
    with torch.no_grad(), reading(marks) as found:
        small_llm()(text_of(PROMPT), context)
    for sums in found.values():
        last = sums[0, -1].numpy()
        np.testing.assert_allclose(last, last.mean(), rtol=1e-4)
        assert 0 < last.sum() < 1


def test_shares_add_up_over_sources():
    """pal@v3: what memory and summaries get is the share of audio, below one, as the text keeps some for itself."""
    found = read(probe_of("pal@v3"))
    for rows in ("last", "prompt"):
        total = found[f"{rows}.memory"].sum(-1) + found[f"{rows}.prefix"].sum(-1)
        np.testing.assert_allclose(found[f"share.{rows}"], total, rtol=1e-6)
        assert ((total > 0) & (total < 1)).all()


def test_layers_without_audio_hold_zeros():
    """LAL from layer 1 on: nothing in layer 0, something in the others."""
    found = read(probe_of("lal", layers="from:1"))
    assert not found["last.memory"][:, 0].any() and (found["share.last"][:, 1:] > 0).all()


def test_queries_of_a_window_share_its_stretch():
    """A Q-Former's tokens of one window are spread over the window, summaries over a stretch each."""
    probe = probe_of("plits", connector="qformer", queries=3, window=5)
    assert probe.context([CLIPS[:1]]).prefix_stretch == 3
    assert probe_of("pal@v3").context([CLIPS[:1]]).prefix_stretch == 1
    found = read(probe, CLIPS[:1], PROMPTS[:1])["last.prefix"][0, 0]  # 7 features: two windows
    np.testing.assert_allclose(found[:10], found[0], rtol=1e-5)
    np.testing.assert_allclose(found[10:], found[-1], rtol=1e-5)


def test_bands_left_by_pooling_share_a_step():
    """Of four bands two are left: tokens come in pairs for each time step, and each pair covers one stretch."""
    clips = [torch.randn(8, DIM, generator=torch.Generator().manual_seed(5))]  # two time steps
    found = read(probe_of("lal", pooling=Pooling(grid=4, bands=2)), clips, PROMPTS[:1])["last.memory"][0]
    np.testing.assert_allclose(found[:, :10], found[:, :1].expand(-1, 10), rtol=1e-5)
    np.testing.assert_allclose(found[:, 10:], found[:, -1:].expand(-1, 10), rtol=1e-5)


def test_several_encoders_are_told_apart():
    """Sources carry the place of their encoder, each with its own columns; one that is left out is not read."""
    probe = probe_of("lal", "plits", "lal")
    found = read(probe)
    assert {key for key in found if key.startswith("last.")} == {"last.memory.1", "last.prefix.2", "last.memory.3"}
    context = probe.context([CLIPS] * 3)
    widths, text = [context.memory_mask.shape[1], context.prefix_mask.shape[1]], text_of(*PROMPTS)
    weights = every_column(probe.llm, text, context, sum(widths) + text.ids.shape[1])[0][:, -1]  # (B, columns)
    first, third = np.split(weights[:, : widths[0]], 2, axis=1)
    np.testing.assert_allclose(found["last.memory.1"][:, 0].sum(-1), first.sum(1), atol=1e-6)
    np.testing.assert_allclose(found["last.memory.3"][:, 0].sum(-1), third.sum(1), atol=1e-6)
    probe.dropped = frozenset({0})
    assert {key for key in read(probe) if key.startswith("last.")} == {"last.prefix.2", "last.memory.3"}


def test_flamingo_blocks_by_hand():
    """A block's weights are softmax(q k / sqrt(size)) of its own projections; over the clip they add up to one."""
    probe = probe_of("flamingo")
    found = read(probe, CLIPS[:1], PROMPTS[:1])
    np.testing.assert_allclose(found["last.blocks"].sum(-1), 1, rtol=1e-5)
    assert not any(key.startswith("share") for key in found)  # the LLM's own attention hears nothing
    flamingo = probe.branches[0].integration
    block, hidden = flamingo.blocks["0"], probe.llm.model.get_input_embeddings()(text_of(PROMPTS[0]).ids)
    audio = probe.context([CLIPS[:1]]).blocks[0].audio
    with torch.no_grad():
        query = block.query(block.norm(hidden[0, -1])).view(block.num_heads, -1)
        keys = block.key_value(block.audio_norm(audio[0]))[:, :HIDDEN].view(len(CLIPS[0]), block.num_heads, -1)
    weights = [
        softmax(np.array([float(query[head] @ key[head]) for key in keys]) / np.sqrt(query.shape[1]))
        for head in range(block.num_heads)
    ]
    np.testing.assert_allclose(found["last.blocks"][0, 0], by_bin(np.mean(weights, axis=0)), atol=1e-6)
    assert flamingo.gates()[0] == pytest.approx(float(np.tanh(block.attention_gate.item())))


def test_adapters_of_the_llm_change_no_reading_before_they_learn():
    """LoRA begins as nothing: the same attention through the wrapped model, in every layer."""
    probe = probe_of("lal")
    before = read(probe)
    make_trainable(probe.llm, "lora", lora_rank=2, seed=0)
    after = read(probe.double().eval())
    for key, values in before.items():
        np.testing.assert_allclose(after[key], values, atol=1e-6, err_msg=key)
