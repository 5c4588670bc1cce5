"""A step in pieces, and with clips that several questions share, has the gradients of the plain batch."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_llms import assert_close, small_llm

from palprobe.errors import TrainingError
from palprobe.features.pooling import Pooling
from palprobe.integrations import CONNECTORS, build_integration, resolve_section
from palprobe.llm.adapters import make_trainable
from palprobe.llm.tokenizer import Question
from palprobe.recipe import IntegrationSection
from palprobe.recipe.training import TrainSection
from palprobe.training.examples import TrainingSet, heard_by
from palprobe.training.probe import Branch, Probe
from palprobe.training.step import Machinery, take_step

DIM = 6
PLAIN = TrainSection(batch_size=7, time_mask=0, feature_mask=0)
MASKED = TrainSection(batch_size=7, time_mask=0.6, feature_mask=0.6)
NAMES = [[name] for name in CONNECTORS] + [["plits", "lal"]]


def make_probe(names, trainable="full"):
    """In float64, with open gates."""
    llm = small_llm()
    make_trainable(llm, trainable, lora_rank=2, seed=0)
    branches = []
    for seed, name in enumerate(names):
        section = resolve_section(name, IntegrationSection(layers="all", summary_tokens=2))
        if name == "pal@v1":  # its default begins at a layer that a small LLM lacks
            section = section.model_copy(update={"layers": "from:1"})
        integration = build_integration(name, dim=DIM, shape=llm.shape, section=section, seed=seed)
        for gate, parameter in integration.named_parameters():
            if gate.endswith("_gate"):
                torch.nn.init.constant_(parameter, 0.5)
        branches.append(Branch(integration, dim=DIM, num_layers=1, pooling=Pooling(grid=1)))
    return Probe(branches, llm).double()


def make_data(*, keys=(), encoders=1):
    """Seven questions with answers of other lengths, about three clips: of question i, clip i modulo 3."""
    generator = torch.Generator().manual_seed(0)
    clips = [torch.randn(length, DIM, generator=generator) for length in (4, 6, 3)]
    read = lambda numbers: [clips[number % 3] for number in numbers]  # noqa: E731
    return TrainingSet(
        ids=[f"item-{number}" for number in range(7)],
        questions=[Question((1, 2, *range(number)), (*range(5, 6 + number % 4), 256)) for number in range(7)],
        num_features=np.array([[len(clips[number % 3])] * encoders for number in range(7)]),
        readers=[read] * encoders,
        keys=keys,
    )


SHARED = [f"clip-{number % 3}" for number in range(7)]


class Watched:
    """An optimiser and an accelerator that note gradients and change nothing."""

    def __init__(self, probe):
        self.probe, self.param_groups, self.device, self.gradients = probe, [], torch.device("cpu"), {}
        self.norm = None

    def backward(self, loss):
        loss.backward()

    def clip_grad_norm_(self, parameters, limit):
        return torch.nn.utils.get_total_norm([value.grad for value in parameters if value.grad is not None])

    def step(self):
        named = self.probe.named_parameters()
        self.gradients = {name: value.grad.clone() for name, value in named if value.grad is not None}

    def zero_grad(self, set_to_none):
        self.probe.zero_grad(set_to_none=set_to_none)


def outcome(probe, data, section, numbers=range(7)):
    """The loss and the gradients of one step."""
    watched = Watched(probe)
    torch.manual_seed(0)
    record = take_step(
        Machinery(probe, watched, watched), data, np.array(numbers), section, step=0, rate=section.learning_rate
    )
    return record["loss"], watched.gradients


def assert_same(found, expected):
    """To the rounding of the loss, which is computed in float32."""
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        assert_close(found[1][name], gradient, 1e-5)


@pytest.mark.parametrize("section", [PLAIN, MASKED], ids=["plain", "masked"])
@pytest.mark.parametrize("names", NAMES, ids="+".join)
def test_pieces_add_up_to_the_batch(names, section):
    """In two, three and seven pieces, loss and gradients are those of the whole, hidden stretches included."""
    probe, data = make_probe(names), make_data(encoders=len(names))
    expected = outcome(probe, data, section)
    assert expected[0] > 0
    for pieces in (2, 3, 7):
        assert_same(outcome(probe, data, section.model_copy(update={"accumulate": pieces})), expected)


def test_a_piece_counts_by_its_answer_tokens():
    """A mean of the pieces' means would be another loss: the answers are not equally long."""
    probe, data = make_probe(["plits"]), make_data()
    means = [outcome(probe, data, PLAIN, numbers=part)[0] for part in (range(4), range(4, 7))]
    whole = outcome(probe, data, PLAIN)[0]
    tokens = [len(question.answer) for question in data.questions]
    assert abs(np.mean(means) - whole) > 1e-3
    assert np.average(means, weights=[sum(tokens[:4]), sum(tokens[4:])]) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("names", NAMES, ids="+".join)
def test_shared_clips_give_the_gradients_of_repeated_ones(names, pieces):
    """Three clips of seven questions, heard once each, against the same clips repeated in seven rows."""
    probe = make_probe(names)
    expected = outcome(probe, make_data(encoders=len(names)), PLAIN)
    section = PLAIN.model_copy(update={"accumulate": pieces})
    assert_same(outcome(probe, make_data(keys=SHARED, encoders=len(names)), section), expected)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", ["plits", "lal", "flamingo"])
def test_audio_is_computed_once_for_each_clip(name, checkpointing):
    """The connector, the LLM's keys and values of audio and the blocks' see three clips for seven questions."""
    probe = make_probe([name])
    probe.llm.checkpointing = checkpointing
    rows = {"connector": set(), "keys": set()}
    integration = probe.branches[0].integration

    def note(kind):
        return lambda _, arguments: rows[kind].add(tuple(arguments[0].shape[:2]))

    integration.connector.register_forward_pre_hook(note("connector"))
    key = integration.blocks["1"].key_value if name == "flamingo" else probe.llm.decoder.layers[1].self_attn.k_proj
    key.register_forward_pre_hook(note("keys"))
    outcome(probe, make_data(keys=SHARED), PLAIN)
    audio = 6  # frames of the longest
    assert rows["connector"] == {(3, audio)}
    assert {size for size in rows["keys"] if size[1] == audio} == (set() if name == "plits" else {(3, audio)})


def test_questions_on_one_clip_have_the_same_stretches_hidden():
    """A clip is masked once, and so alike for its questions; two clips are masked apart."""
    probe, data = make_probe(["plits"]), make_data(keys=SHARED)
    heard = heard_by(data, list(range(7)))
    torch.manual_seed(0)
    masks = probe.draw_masks(len(heard.examples), MASKED)
    prefix = probe.context(data.read(heard.examples), masks=masks, owner=heard.owner).prefix
    assert len(prefix) == 3
    assert heard.examples == [0, 1, 2]
    assert heard.owner == [0, 1, 2, 0, 1, 2, 0]
    width = masks[0].time.width
    assert len(set(width.tolist())) == 3


def test_where_no_clip_is_shared_a_row_that_stands_twice_is_read_twice():
    """Two epochs may meet in a step; such rows were always masked by themselves, and committed results rest on it."""
    heard = heard_by(make_data(), [2, 0, 2])
    assert heard.examples == [2, 0, 2]
    assert heard.one_each
    shared = heard_by(make_data(keys=SHARED), [2, 0, 5])
    assert shared.examples == [2, 0]
    assert shared.owner == [0, 1, 0]


# --- too little memory


def exhausted():
    """What this machine says when asked for a petabyte."""
    torch.empty(1 << 50, dtype=torch.uint8)


def on_a_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def in_python():
    raise MemoryError


def starve(probe, how):
    probe.branches[0].integration.register_forward_pre_hook(lambda *_: how())


@pytest.mark.parametrize("how", [exhausted, on_a_gpu, in_python])
def test_too_little_memory_says_what_to_lower(how):
    """One line with the step, the batch, its longest audio and text, and what to lower, least harm first."""
    probe = make_probe(["lal"])
    starve(probe, how)
    with pytest.raises(TrainingError) as caught:
        outcome(probe, make_data(), PLAIN)
    message = str(caught.value)
    assert "\n" not in message
    assert "step 1: out of memory on cpu with batch_size 7, up to 6 audio tokens and 12 text tokens" in message
    places = [
        message.index(part)
        for part in ("train.accumulate=2", "checkpointing=true", "bfloat16", "integration.pool", "train.batch_size=3")
    ]
    assert places == sorted(places)


def test_what_is_done_already_is_not_advised():
    """Only what is left to lower is named."""
    probe = make_probe(["lal"])
    starve(probe, in_python)
    done = {"batch_size": 1, "checkpointing": True, "precision": "bfloat16"}
    with pytest.raises(TrainingError) as caught:
        outcome(probe, make_data(), PLAIN.model_copy(update=done), numbers=[0])
    assert "--set integration.pool=time:2" in str(caught.value)
    assert not any(word in str(caught.value) for word in ("accumulate", "checkpointing", "precision", "train.batch"))


def test_another_error_goes_through():
    """A bug is no lack of memory."""
    probe = make_probe(["lal"])

    def broken():
        raise RuntimeError("shapes do not fit")

    starve(probe, broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        outcome(probe, make_data(), PLAIN)


def test_the_watched_machinery_is_no_stub_of_the_step():
    """The gradients noted are those of a loss written out by hand: one question, its own cross-entropy."""
    probe, data = make_probe(["plits"]), make_data()
    section = PLAIN.model_copy(update={"label_smoothing": 0.0})
    loss, _ = outcome(probe, data, section, numbers=[2])
    question = data.questions[2]
    ids = torch.tensor([[*question.prompt, *question.answer[:-1]]])
    text = SimpleNamespace(ids=ids, mask=torch.ones_like(ids, dtype=torch.bool), visible=None, positions=None)
    with torch.no_grad():
        logits = probe.llm(text, probe.context(data.read([2])))[0, -len(question.answer) :].log_softmax(-1)
    by_hand = -np.mean([float(logits[row, token]) for row, token in enumerate(question.answer)])
    assert loss == pytest.approx(by_hand, rel=1e-6)
