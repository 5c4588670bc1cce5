import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from reference_llama import ReferenceLlama
from scipy.special import erf
from small_llms import SIZES, small_llm, text_of
from torch import nn

from palprobe.errors import RecipeError, UnknownNameError
from palprobe.integrations import (
    CONNECTORS,
    INTEGRATIONS,
    build_integration,
    chosen_layers,
    identity_fields,
    resolve_section,
)
from palprobe.integrations.flamingo import GatedBlock
from palprobe.integrations.joined import join_contexts
from palprobe.integrations.pal_summary import segment_means
from palprobe.llm.adapters import make_trainable
from palprobe.recipe import IntegrationSection
from palprobe.types import AudioContext, LLMShape

DIM = 12
SHAPE = LLMShape(hidden_size=SIZES["hidden_size"], num_layers=SIZES["num_hidden_layers"], embedding_rms=0.15)
KINDS = [(name, connector) for name, connectors in CONNECTORS.items() for connector in connectors]
PROMPT = list(b"which tone?")
FIRST_WEIGHTS = [1.075344, -0.009337]  # of the connector's two maps at seed 0, made by the code of commit f55516a
SMALL = {"queries": 2, "window": 4, "summary_tokens": 2}  # so that five features are more than a window


def build(name: str, connector: str | None = None, seed: int = 0, **options) -> nn.Module:
    """The integration in float64, with open gates: through closed ones nothing would be heard."""
    if name == "pal@v1":  # "all" would be from layer 4 on, which the small LLM does not have
        options.setdefault("layers", "from:1")
    section = resolve_section(name, IntegrationSection(connector=connector, **SMALL | options))
    integration = build_integration(name, dim=DIM, shape=SHAPE, section=section, seed=seed).double()
    for gate, parameter in integration.named_parameters():
        if gate.endswith("_gate"):
            nn.init.constant_(parameter, 0.5)
    return integration


def features_of(*lengths: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random unit features padded at the end, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(lengths), max(lengths), DIM, generator=generator, dtype=torch.float64)
    return features, torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]


@pytest.fixture(scope="module")
def llm():
    return small_llm()


def audio_rows(context) -> torch.Tensor:
    """(B, N, H) of the first place where a context shows audio."""
    in_blocks = (block.audio for block in context.blocks.values())
    return next(iter([*context.memory.values(), *in_blocks]), context.prefix)


def logits_of(llm, integration, features, mask):
    texts = [PROMPT] * len(features)
    with torch.no_grad():
        return llm(text_of(*texts), integration(features, mask), logits_to_keep=1)[:, 0]


def positions_of(context):
    """How many positions stand before each text: real prefix rows, and memory where its keys are rotated."""
    rotated = context.memory_mask if context.memory and context.memory_positions == "before" else None
    masks = [mask for mask in (context.prefix_mask, rotated) if mask is not None]
    return sum((mask.sum(1) for mask in masks), torch.zeros(2, dtype=torch.long)).tolist()


# --- one contract for every registered integration


def test_every_integration_names_its_connectors():
    """A part without connectors could not be built from a recipe."""
    assert set(CONNECTORS) == set(INTEGRATIONS.parts) - {"pal"}, "pal sends each encoder to one of the others"


@pytest.mark.parametrize(("name", "connector"), KINDS)
def test_contract_counts_and_masks(name, connector):
    """As many tokens as promised, marked real exactly where features are, and in shapes that the LLM accepts."""
    integration = build(name, connector)
    features, mask = features_of(5, 3)
    context = integration(features, mask)
    assert integration.buckets_by in ("text", "audio and text")
    shown = [(context.prefix, context.prefix_mask)] if context.prefix is not None else []
    shown += [(rows, context.memory_mask) for rows in context.memory.values()][:1]  # layers show the same tokens
    shown += [(block.audio, block.audio_mask) for block in context.blocks.values()][:1]
    for rows, real in shown:
        assert rows.shape == (*real.shape, SHAPE.hidden_size)
        assert real.dtype == torch.bool
    counted = sum(real.sum(1) for _, real in shown)
    assert counted.tolist() == [integration.num_tokens(5), integration.num_tokens(3)]
    assert positions_of(context) == [integration.num_positions(5), integration.num_positions(3)]
    assert all(rows.shape == next(iter(context.memory.values())).shape for rows in context.memory.values())
    assert set(context.memory) | set(context.blocks) <= set(range(SHAPE.num_layers))


@pytest.mark.parametrize(("name", "connector"), KINDS)
def test_contract_hears_every_frame_and_no_padding(llm, name, connector):
    """The last real frame changes the answer; what stands in padding does not; nor does the rest of the batch."""
    integration = build(name, connector)
    features, mask = features_of(5, 3)
    before = logits_of(llm, integration, features, mask)
    features[1, 3:] = 1e3
    assert torch.equal(logits_of(llm, integration, features, mask), before)
    torch.testing.assert_close(
        logits_of(llm, integration, features[1:, :3], mask[1:, :3]), before[1:], rtol=0, atol=1e-10
    )
    features[1, 2] += 1
    after = logits_of(llm, integration, features, mask)
    assert torch.equal(after[0], before[0])
    assert (after[1] - before[1]).abs().max() > 1e-3


@pytest.mark.parametrize("trainable", ["connector", "lora"])
@pytest.mark.parametrize(("name", "connector"), KINDS)
def test_contract_every_weight_learns(name, connector, trainable):
    """The loss reaches every weight of the integration, and nothing of a frozen LLM but its adapters."""
    llm, integration = small_llm(), build(name, connector)
    make_trainable(llm, trainable, lora_rank=2, seed=0)
    llm.double()
    for parameter in [*integration.parameters(), *(p for n, p in llm.named_parameters() if "lora_B" in n)]:
        nn.init.normal_(parameter, std=0.1)  # some start at 0, where nothing flows through
    context = integration(*features_of(5))
    llm(text_of(PROMPT), context).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in integration.parameters())
    moved = {name for name, parameter in llm.named_parameters() if parameter.grad is not None}
    assert moved == {name for name, _ in llm.named_parameters() if trainable == "lora" and "lora" in name}


@pytest.mark.parametrize(("name", "connector"), KINDS)
def test_contract_weights_follow_their_seed(name, connector):
    """Equal seeds give equal weights, other seeds others, and the global random state is untouched."""
    state = torch.random.get_rng_state()
    weights = [nn.utils.parameters_to_vector(build(name, connector, seed).parameters()) for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(("name", "connector"), KINDS)
def test_contract_tokens_start_at_the_scale_of_the_embeddings(name, connector):
    """Unit features become rows as large as the LLM's own: louder ones would drown the text, or the text them."""
    section = resolve_section(name, IntegrationSection(connector=connector))
    wide = LLMShape(hidden_size=256, num_layers=6, embedding_rms=0.02)
    integration = build_integration(name, dim=192, shape=wide, section=section, seed=0)
    features = torch.randn(8, 40, 192, generator=torch.Generator().manual_seed(0))
    rows = audio_rows(integration(features, torch.ones(8, 40, dtype=torch.bool)))
    assert rows.detach().square().mean().sqrt() / wide.embedding_rms == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("name", "connector"), KINDS)
def test_contract_dropout_is_off_outside_training(name, connector):
    """The dropout of a recipe acts in training mode and not when evaluating."""
    integration, (features, mask) = build(name, connector, dropout=0.5), features_of(5)

    def rows():
        return audio_rows(integration(features, mask))

    integration.train()
    assert not torch.equal(rows(), rows())
    integration.eval()
    assert torch.equal(rows(), rows())


@pytest.mark.parametrize(("name", "connector"), [("plits", "mlp"), ("lal", "shared")])
def test_committed_results_rest_on_these_weights(name, connector):
    """The first weights of seed 0, as in the runs behind results/: another order of draws would change every score."""
    first, last = (module for module in build(name, connector).connector if isinstance(module, nn.Linear))
    found = [round(float(layer.weight.detach()[0, 0]), 6) for layer in (first, last)]
    assert found == FIRST_WEIGHTS


# --- against the reference


def by_hand(connector, features):
    """Two linear maps with x·Φ(x) between them, in numpy."""
    _, first, _, last = (module for module in connector)
    weights = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in (first, last)]
    hidden = features @ weights[0][0].T + weights[0][1]
    hidden = hidden * 0.5 * (1 + erf(hidden / np.sqrt(2)))
    return hidden @ weights[1][0].T + weights[1][1]


@pytest.mark.parametrize("positions", ["before", "none"])
@pytest.mark.parametrize("layers", ["all", "from:1", [0, 2]])
def test_per_layer_lal_is_the_reference(llm, layers, positions):
    """Each layer's tokens are a + up(down(a)) of one trunk, where the recipe says and nowhere else."""
    integration = build("lal", "per_layer", layers=layers, positions=positions, rank=2)
    for index, module in enumerate(integration.maps.values()):
        nn.init.normal_(module.up.weight, std=0.3 + 0.1 * index)
    features, mask = features_of(4)
    shared = by_hand(integration.connector, features[0].numpy())
    memory = {}
    for layer in {"all": [0, 1, 2], "from:1": [1, 2]}.get(str(layers), layers):
        module = integration.maps[str(layer)]
        low_rank = module.up.weight.detach().numpy() @ module.down.weight.detach().numpy()
        memory[layer] = shared + shared @ low_rank.T
    expected = ReferenceLlama(llm).logits(PROMPT, memory=memory, rotated=positions == "before")[-1]
    found = logits_of(llm, integration, features, mask)[0].numpy()
    assert abs(found - expected).max() <= 1e-6 * abs(expected).max()


def test_per_layer_lal_starts_as_shared_lal(llm):
    """The low-rank maps begin as the identity, so both begin with the same model."""
    features, mask = features_of(4)
    per_layer, shared = build("lal", "per_layer"), build("lal", "shared")
    assert torch.equal(logits_of(llm, per_layer, features, mask), logits_of(llm, shared, features, mask))


def test_plits_is_the_reference(llm):
    """The mlp connector is two layers with the exact GELU between, its rows before the text."""
    from scipy.stats import norm

    integration = build("plits", "mlp")
    features, mask = features_of(4)
    rows = features[0].numpy()
    for module in integration.connector:
        if isinstance(module, nn.Linear):
            rows = rows @ module.weight.detach().numpy().T + module.bias.detach().numpy()
        elif isinstance(module, nn.GELU):
            rows = rows * norm.cdf(rows)
    expected = ReferenceLlama(llm).logits(PROMPT, prefix=rows)[-1]
    found = logits_of(llm, integration, features, mask)[0].numpy()
    assert abs(found - expected).max() <= 1e-6 * abs(expected).max()


def test_flamingo_starts_as_the_llm_alone(llm):
    """With closed gates the logits are those without audio, bit for bit; opened, they are not."""
    integration = build("flamingo")
    for block in integration.blocks.values():
        nn.init.zeros_(block.attention_gate)
        nn.init.zeros_(block.feed_forward_gate)
    alone = llm(text_of(PROMPT), AudioContext(), logits_to_keep=1)[:, 0]
    torch.testing.assert_close(logits_of(llm, integration, *features_of(4)), alone.detach(), rtol=0, atol=1e-12)
    nn.init.ones_(integration.blocks["0"].attention_gate)
    assert (logits_of(llm, integration, *features_of(4)) - alone).abs().max() > 1e-3


def test_flamingo_reads_a_clip_once_while_it_writes(llm):
    """The audio's keys and values are made at the first token and kept; a new reading writes the same."""
    integration, calls = build("flamingo"), []
    for block in integration.blocks.values():
        nn.init.ones_(block.attention_gate)
        block.key_value.register_forward_hook(lambda *_: calls.append(1))
    text = text_of(PROMPT)
    with torch.no_grad():
        found = llm.generate(text, integration(*features_of(4)), max_new_tokens=4)
        assert len(calls) == len(integration.blocks)
        ids = list(text.ids[0].tolist())
        for token in found[0]:
            logits = llm(text_of(ids), integration(*features_of(4)), logits_to_keep=1)
            assert int(logits[0, -1].argmax()) == token
            ids.append(token)


def test_a_gated_block_by_hand():
    """One head, softmax over two audio tokens, the gate's tanh, then the feed-forward: worked out in numpy."""
    torch.manual_seed(0)
    block = GatedBlock(4).double()
    nn.init.constant_(block.attention_gate, 0.3)
    nn.init.constant_(block.feed_forward_gate, -0.7)
    hidden, audio = torch.randn(1, 3, 4).double(), torch.randn(1, 3, 4).double()
    mask = torch.tensor([[True, True, False]])
    found = block(hidden, *block.read(audio), mask).detach().numpy()[0]

    def normed(rows):
        return (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + 1e-5)

    weights = {name: value.detach().numpy() for name, value in block.named_parameters()}
    rows, heard = hidden[0].numpy(), normed(audio[0].numpy())[:2]
    key, value = np.split(heard @ weights["key_value.weight"].T, 2, axis=1)
    logits = normed(rows) @ weights["query.weight"].T @ key.T / 2  # square root of the head's 4
    attention = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    rows = rows + np.tanh(0.3) * attention @ value @ weights["output.weight"].T
    inner = normed(rows) @ weights["feed_forward.1.weight"].T
    inner = inner * 0.5 * (1 + erf(inner / np.sqrt(2)))
    expected = rows + np.tanh(-0.7) * inner @ weights["feed_forward.3.weight"].T
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("lengths", "count"), [((6, 3), 3), ((5, 2), 2), ((4, 1), 3)])
def test_summaries_are_means_of_equal_stretches(lengths, count):
    """Against a slow integral: each frame is cut into 60 slices, and a stretch is the mean of its slices."""
    features, mask = features_of(*lengths)
    found = segment_means(features, mask, count)
    for row, length in enumerate(lengths):
        slices = features[row, :length].repeat_interleave(60, dim=0)
        expected = torch.stack([part.mean(0) for part in slices.chunk(count)])
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-12)


def test_summary_tokens_may_be_kept_from_the_memory(llm):
    """Told not to, the prefix rows do not change with the memory, and the text still does."""
    features, mask = features_of(5)
    for sees in (True, False):
        integration = build("pal@v3", summary_sees_memory=sees)
        context = integration(features, mask)
        other = replace(context, memory={layer: rows + 1 for layer, rows in context.memory.items()})
        with torch.no_grad():
            hidden = [hidden_of(llm, shown) for shown in (context, other)]
        assert torch.equal(hidden[0][:, :2], hidden[1][:, :2]) != sees
        assert not torch.equal(hidden[0][:, 2:], hidden[1][:, 2:])


def hidden_of(llm, context) -> torch.Tensor:
    """(B, N + L, H) what enters the last layer."""
    seen = []
    layer = llm.decoder.layers[-1]
    handle = layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    llm(text_of(PROMPT), context)
    handle.remove()
    return seen[0]


def test_a_q_former_reads_window_by_window():
    """Other features in one window change the tokens of that window alone."""
    integration = build("plits", "qformer")
    features, mask = features_of(8)
    before = integration(features, mask).prefix
    features[:, 5] += 1
    after = integration(features, mask).prefix
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.equal(before[:, 2:], after[:, 2:])


# --- options


def test_layers_by_hand():
    """all, from:k and lists, 0-based and in order."""
    assert chosen_layers("all", 4) == [0, 1, 2, 3]
    assert chosen_layers("from:2", 4) == [2, 3]
    assert chosen_layers([3, 1], 4) == [1, 3]


@pytest.mark.parametrize("layers", ["from:3", [0, 3]])
def test_layers_that_the_llm_lacks_are_refused(layers):
    """The message has what was asked for and the layers that there are."""
    with pytest.raises(RecipeError, match="has layers 0 to 2"):
        build("lal", layers=layers)


# --- several encoders together


def test_two_encoders_in_one_memory_are_one_longer_encoder(llm):
    """LAL of two encoders through one connector is LAL of their frames in a row, padding between them left out."""
    integration = build("lal")
    (first, first_mask), (second, second_mask) = features_of(4, 2), features_of(1, 3, seed=1)
    together = join_contexts([integration(first, first_mask), integration(second, second_mask)])
    texts = text_of(PROMPT, PROMPT)
    found = llm(texts, together)
    for row, (a, b) in enumerate([(4, 1), (2, 3)]):
        chained = torch.cat((first[row, :a], second[row, :b]))[None]
        alone = llm(text_of(PROMPT), integration(chained, torch.ones(1, a + b, dtype=torch.bool)))
        torch.testing.assert_close(found[row : row + 1], alone, rtol=0, atol=1e-10)
    swapped = join_contexts([integration(second, second_mask), integration(first, first_mask)])
    assert (llm(texts, swapped) - found).abs().max() > 1e-4, "the order of encoders is one of positions"


def test_two_encoders_before_the_text_are_one_longer_prefix(llm):
    """PLITS of two encoders is PLITS of their frames in a row, whatever padding stands between them."""
    integration = build("plits", "linear")
    (first, first_mask), (second, second_mask) = features_of(4, 2), features_of(1, 3, seed=1)
    together = join_contexts([integration(first, first_mask), integration(second, second_mask)])
    found = llm(text_of(PROMPT, PROMPT), together)
    for row, (a, b) in enumerate([(4, 1), (2, 3)]):
        chained = torch.cat((first[row, :a], second[row, :b]))[None]
        alone = llm(text_of(PROMPT), integration(chained, torch.ones(1, a + b, dtype=torch.bool)))
        torch.testing.assert_close(found[row : row + 1], alone, rtol=0, atol=1e-10)


def test_memory_stands_before_the_prefix_whatever_the_order(llm):
    """pal: the plits encoder's rows follow the lal encoder's in position, and the reference model agrees."""
    prefix, memory = build("plits", "linear"), build("lal", seed=3)
    (first, first_mask), (second, second_mask) = features_of(3), features_of(4, seed=1)
    shown = [prefix(first, first_mask), memory(second, second_mask)]
    found, other = llm(text_of(PROMPT), join_contexts(shown)), llm(text_of(PROMPT), join_contexts(shown[::-1]))
    assert torch.equal(found, other)
    by_hand = AudioContext(
        prefix=shown[0].prefix,
        prefix_mask=shown[0].prefix_mask,
        memory=shown[1].memory,
        memory_mask=shown[1].memory_mask,
    )
    assert torch.equal(found, llm(text_of(PROMPT), by_hand))


def test_blocks_of_two_encoders_run_in_turn(llm):
    """Flamingo of two encoders: before each layer the first's block, then the second's."""
    first, second = build("flamingo"), build("flamingo", seed=3)
    one, two = first(*features_of(3)), second(*features_of(4, seed=1))
    hidden = torch.randn(1, 5, SHAPE.hidden_size, dtype=torch.float64)
    mask = torch.ones(1, 5, dtype=torch.bool)
    joined = join_contexts([one, two])
    assert set(joined.blocks) == set(one.blocks)
    for layer, block in joined.blocks.items():
        assert torch.equal(block(hidden, mask), two.blocks[layer](one.blocks[layer](hidden, mask), mask))


# --- names and options


def test_unknown_names_are_refused_with_the_known_ones():
    """An integration or connector that is not there, with the nearest that is."""
    with pytest.raises(UnknownNameError, match="Did you mean 'plits'"):
        build("plit")
    with pytest.raises(RecipeError, match=r"plits has mlp, linear, qformer.*Did you mean 'linear'"):
        build("plits", "liner")
    with pytest.raises(RecipeError, match="lal has shared, per_layer"):
        build("lal", "mlp")


def test_options_without_effect_leave_the_identity_alone():
    """What an integration does not read is at its default in the resolved section, so it retrains nothing."""
    asked = IntegrationSection(layers="from:1", positions="none", rank=4, pool="time:2")
    assert resolve_section("plits", asked) == IntegrationSection(connector="mlp", pool="time:2")
    assert resolve_section("lal", asked) == IntegrationSection(
        connector="shared", layers="from:1", positions="none", pool="time:2"
    )
    per_layer = resolve_section("lal", asked.model_copy(update={"connector": "per_layer"}))
    assert per_layer.rank == 4


def test_an_option_of_one_integration_is_in_no_other_s_identity():
    """A run is known by what its integration reads, so a new option of another leaves it valid."""
    shared = {"name", "connector", "layers", "positions", "rank", "pool", "tokens_per_second", "dropout"}
    found = {
        (name, kind): identity_fields(name, resolve_section(name, IntegrationSection(connector=kind))).keys() - shared
        for name, kind in KINDS
    }
    assert found.pop(("plits", "qformer")) == {"queries", "window"}
    assert found.pop(("pal@v3", "shared")) == found.pop(("pal@v3", "per_layer"))
    assert not any(found.values())


def test_listing_integrations_imports_no_torch():
    """Recipes are checked and parts listed without the weight of torch."""
    code = "import sys, palprobe.integrations; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
