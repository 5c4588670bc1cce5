import numpy as np
import pytest
import torch
from small_llms import small_llm
from torch import nn

from palprobe.features.pooling import Pooling
from palprobe.integrations import build_integration, resolve_section
from palprobe.llm.adapters import make_trainable
from palprobe.llm.tokenizer import ByteTokenizer, Question, encode_question
from palprobe.recipe import IntegrationSection
from palprobe.training.batches import IGNORED, WINDOW_BATCHES, collate, plan_steps
from palprobe.training.masking import draw_masks, hide_stretches
from palprobe.training.probe import Branch, LayerMix, Probe, Standardise, pad_frames
from palprobe.training.step import answer_loss

DIM = 6


def frames_of(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, DIM, generator=generator) * 4 - 2 for length in lengths]


# --- features on their way to the integration


def test_padding_by_hand():
    """Zeros after the end, and a mask that says so."""
    clips = [torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [5.0, 6.0]])]
    features, mask = pad_frames(clips)
    assert features.tolist() == [[[1, 2], [0, 0]], [[3, 4], [5, 6]]]
    assert mask.tolist() == [[True, False], [True, True]]


def test_standardised_features_have_mean_zero_and_unit_deviation():
    """Over the frames of all clips, however long each is; a dimension that never changes stays finite."""
    clips = frames_of(5, 1, 9)
    for clip in clips:
        clip[:, 0] = 3e4
    standardise = Standardise(DIM)
    standardise.measure(iter(clips))
    together = np.concatenate([clip.double().numpy() for clip in clips])
    np.testing.assert_allclose(standardise.mean.numpy(), together.mean(0), rtol=1e-6)
    np.testing.assert_allclose(standardise.deviation[1:].numpy(), together.std(0)[1:], rtol=1e-6)
    found = standardise(torch.cat(clips)).numpy()
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(found[:, 1:].std(0), 1, rtol=1e-5)
    assert (found[:, 0] == 0).all()


def is_stretch(hidden: np.ndarray) -> bool:
    """At most one run of ones."""
    return int(np.abs(np.diff(np.concatenate(([0], hidden.astype(int), [0])))).sum()) <= 2


def test_hidden_stretches_are_what_they_say():
    """One stretch of frames inside each clip and one of dimensions, no longer than their shares, all else untouched."""
    lengths = [40, 10, 25]
    features, mask = pad_frames([torch.ones(length, 20) for length in lengths])
    torch.manual_seed(0)
    widths, starts = [], []
    for _ in range(200):
        hidden = (hide_stretches(features, mask, draw_masks(3, time=0.4, feature=0.3)) == 0).numpy() & mask[
            :, :, None
        ].numpy()
        for clip, length in zip(hidden, lengths, strict=True):
            frames, dims = clip[:length].all(1), clip[:length].all(0)
            assert np.array_equal(clip[:length], frames[:, None] | dims[None])
            assert is_stretch(frames)
            assert is_stretch(dims)
            assert frames.sum() <= np.ceil(0.4 * length)
            assert dims.sum() <= np.ceil(0.3 * 20)
            widths.append(frames.sum() / length)
            starts.append(frames.argmax() / length if frames.any() else np.nan)
    assert np.mean(widths) == pytest.approx(0.2, abs=0.02)  # uniform up to 0.4
    assert np.nanmin(starts) < 0.05
    assert np.nanmax(starts) > 0.8


def test_nothing_is_hidden_where_no_share_is_given():
    """Time alone hides no dimension, and the other way round."""
    features, mask = pad_frames([torch.ones(30, 20)] * 8)
    torch.manual_seed(0)
    frames = hide_stretches(features, mask, draw_masks(8, time=0.5, feature=0.0)) == 0
    dims = hide_stretches(features, mask, draw_masks(8, time=0.0, feature=0.5)) == 0
    assert torch.equal(frames.any(2), frames.all(2))
    assert torch.equal(dims.any(1), dims.all(1))
    assert frames.any()
    assert dims.any()
    assert not torch.equal(frames[0], frames[1]), "each clip has its own stretch"


def build_probe(seed: int = 0, *, trainable: str = "lora") -> Probe:
    llm = small_llm()
    make_trainable(llm, trainable, lora_rank=2, seed=seed)
    section = resolve_section("lal", IntegrationSection())
    integration = build_integration("lal", dim=DIM, shape=llm.shape, section=section, seed=seed)
    return Probe([Branch(integration, dim=DIM, num_layers=1, pooling=Pooling(grid=1, time=2))], llm)


def test_a_probe_shows_pooled_standardised_features():
    """The integration gets the mean of two neighbours, minus the mean, over the deviation, with the padding masked."""

    class Echo(nn.Module):
        def forward(self, features, mask):
            return features, mask

    clips = frames_of(5, 2)
    probe = build_probe()
    probe.branches[0].integration = Echo()
    probe.branches[0].standardise.measure(clips)
    features, mask = probe.context([[clip.half() for clip in clips]])
    together = torch.cat(clips).numpy()
    for clip, row, real in zip(clips, features.numpy(), mask.numpy(), strict=True):
        pooled = np.stack([clip.half().float().numpy()[start : start + 2].mean(0) for start in range(0, len(clip), 2)])
        np.testing.assert_allclose(row[real], (pooled - together.mean(0)) / together.std(0), rtol=1e-4, atol=1e-5)


def test_layers_are_mixed_by_a_softmax():
    """Alike at first; then each layer counts as exp(logit) over their sum, by hand, after its own standardisation."""
    mix = LayerMix(3)
    layers = torch.arange(12.0).view(1, 2, 6)  # two tokens, three layers of two numbers
    np.testing.assert_allclose(mix(layers).detach(), [[[2.0, 3.0], [8.0, 9.0]]], rtol=1e-6)
    mix.logits.data = torch.tensor([1.0, 2.0, 5.0]).log()
    np.testing.assert_allclose(mix.weights.detach(), [1 / 8, 2 / 8, 5 / 8], rtol=1e-6)
    np.testing.assert_allclose(mix(layers).detach()[0, 0], [3.0, 4.0], rtol=1e-6)


def test_a_probe_of_several_layers_weighs_them():
    """The stored layers go through standardisation, mix and integration, and the mix learns and travels."""
    probe = build_probe()
    integration, pooling = probe.branches[0].integration, Pooling(grid=1, time=2)
    branch = Branch(integration, dim=2 * DIM, num_layers=2, pooling=pooling)
    probe = Probe([branch], probe.llm)
    clips = [torch.cat([a, b], 1) for a, b in zip(frames_of(6, 4), frames_of(6, 4), strict=True)]
    branch.standardise.measure(clips)
    memory = probe.context([clips]).memory[0]
    memory.square().sum().backward()
    assert branch.layer_weights == [0.5, 0.5]
    assert branch.layer_mix is not None and branch.layer_mix.logits.grad is not None
    assert "branches.0.layer_mix.logits" in probe.trained_state()
    assert build_probe().branches[0].layer_weights is None


def test_what_training_made_is_stored_and_read_back():
    """Connector, adapters and standardisation travel; the frozen LLM does not."""
    trained, fresh = build_probe(1), build_probe(2)
    trained.branches[0].standardise.measure(frames_of(9))
    state = {name: value.clone() for name, value in trained.trained_state().items()}
    parts = {".".join(name.split(".")[:3]) for name in state if name.startswith("branches")}
    assert parts == {"branches.0.standardise", "branches.0.integration"}
    assert all("lora" in name for name in state if name.startswith("llm"))
    fresh.load_trained_state(state)
    for name, value in fresh.trained_state().items():
        assert torch.equal(value, state[name])
    assert trained.num_trainable == sum(value.numel() for name, value in state.items() if ".standardise." not in name)


# --- text and steps


def test_targets_by_hand():
    """Two questions of other lengths: rows end together, and the loss is on answers and their ends alone."""
    batch = collate([Question((10, 11), (1, 2, 256)), Question((12,), (3, 256))], "cpu")
    assert batch.text.ids.tolist() == [[10, 11, 1, 2], [0, 0, 12, 3]]
    assert batch.text.mask.tolist() == [[True] * 4, [False, False, True, True]]
    assert batch.targets.tolist() == [[1, 2, 256], [IGNORED, 3, 256]]


def test_a_question_by_hand():
    """The template ends the prompt with a newline; the answer ends with the end-of-sequence token."""
    question = encode_question(ByteTokenizer(), "a?", "é")
    assert question == Question((97, 63, 10), (0xC3, 0xA9, 256))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_cross_entropy_of_answer_tokens(smoothing):
    """-log p averaged over the answer tokens of all rows; smoothing moves its share to all tokens evenly."""
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[1, 2, 4], [IGNORED, 3, 4]])
    terms = []
    for row, column in [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2)]:
        powers = np.exp(logits[row, column].double().numpy())
        logs = np.log(powers / powers.sum())
        terms.append(-(1 - smoothing) * logs[targets[row, column]] - smoothing * logs.mean())
    assert float(answer_loss(logits, targets, smoothing)) == pytest.approx(np.mean(terms), rel=1e-6)


SIZE, STEPS = 4, 3 * WINDOW_BATCHES + 5
LENGTHS = np.random.default_rng(0).integers(1, 500, (37, 2))


def test_a_plan_repeats_with_its_seed():
    """Equal seeds give equal steps, other seeds others; every step is full."""
    first, again, other = (plan_steps(LENGTHS, batch_size=SIZE, steps=STEPS, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.shape(first) == (STEPS, SIZE)


def test_integrations_that_sort_differently_train_on_the_same_examples():
    """In each window of batches the examples are the same, only grouped otherwise."""
    plans = [plan_steps(keys, batch_size=SIZE, steps=STEPS, seed=1) for keys in (LENGTHS, LENGTHS[:, ::-1] * 3)]
    assert not np.array_equal(*plans)
    for start in range(0, STEPS, WINDOW_BATCHES):
        left, right = (np.sort(np.concatenate(plan[start : start + WINDOW_BATCHES])) for plan in plans)
        assert np.array_equal(left, right)


def test_every_example_is_used_equally_often():
    """Epochs follow each other: after any number of steps, counts differ by at most one between whole windows."""
    plan = np.concatenate(plan_steps(LENGTHS, batch_size=SIZE, steps=STEPS, seed=1))
    counts = np.bincount(plan, minlength=len(LENGTHS))
    assert counts.min() == STEPS * SIZE // len(LENGTHS)
    assert counts.max() - counts.min() <= 1


def test_batches_hold_like_lengths():
    """Sorting within windows leaves far less padding than random batches would."""
    lengths = np.random.default_rng(0).integers(1, 500, (2000, 1))
    plan = plan_steps(lengths, batch_size=16, steps=100, seed=1)
    padded = sum(lengths[batch].max() * 16 for batch in plan)
    real = sum(lengths[batch].sum() for batch in plan)
    assert padded / real < 1.15  # random batches: about 1.9


CLIPS = np.random.default_rng(1).permutation(np.repeat(np.arange(40), 4))  # forty clips of four questions


def test_questions_about_one_clip_meet_in_a_step():
    """A batch of sixteen holds four clips or fewer (an epoch may begin in it), not a dozen; all come equally often."""
    lengths = np.random.default_rng(0).integers(1, 500, (160, 2))
    plan, apart = (
        plan_steps(lengths, batch_size=16, steps=20, seed=1, clips=clips) for clips in (CLIPS, np.arange(160))
    )
    assert max(len(set(CLIPS[numbers])) for numbers in plan) == 4
    assert np.mean([len(set(CLIPS[numbers])) for numbers in apart]) > 10
    assert np.bincount(np.concatenate(plan)).tolist() == [2] * 160


def test_clips_of_one_question_each_change_no_plan():
    """Bit for bit the steps that they were before clips were looked at."""
    left = plan_steps(LENGTHS, batch_size=SIZE, steps=STEPS, seed=1)
    right = plan_steps(LENGTHS, batch_size=SIZE, steps=STEPS, seed=1, clips=np.arange(len(LENGTHS)))
    assert np.array_equal(left, right)


def test_a_set_smaller_than_a_batch_is_repeated():
    """Three examples fill batches of four."""
    plan = plan_steps(LENGTHS[:3], batch_size=4, steps=3, seed=0)
    assert np.bincount(np.concatenate(plan)).tolist() == [4, 4, 4]
