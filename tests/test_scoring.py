from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_llms import SIZES, small_llm, text_of

from palprobe.errors import ScoringError
from palprobe.features.pooling import Pooling
from palprobe.integrations import build_integration, resolve_section
from palprobe.llm.tokenizer import ByteTokenizer
from palprobe.recipe import IntegrationSection
from palprobe.scoring import likelihood
from palprobe.scoring.generation import by_generation
from palprobe.scoring.likelihood import by_likelihood, null_scores, reference_scores, text_tokens
from palprobe.scoring.reading import parse_answer
from palprobe.scoring.tree import build_tree
from palprobe.training.probe import Branch, Probe
from palprobe.types import Example

DIM, EOS = 6, SIZES["eos_token_id"]
CLOSE = 1e-5  # log probabilities are summed from float32 logits, scores are about -20
GENERATOR = torch.Generator().manual_seed(0)
CLIPS = [torch.randn(length, DIM, generator=GENERATOR) * 3 + 1 for length in (7, 2, 5, 6, 1, 4)]
PITCH, COUNT = ("which tone?", ("ten", "tenor", "do", "é")), ("how many beeps?", ("1", "12", "3"))


def example(number: int, question=PITCH, **changes) -> Example:
    prompt, choices = question
    made = Example(str(number), f"group {number}", Path("a.wav"), prompt, (choices[0],), choices, part="tone")
    return replace(made, **changes)


EXAMPLES = [example(number, (PITCH, COUNT)[number % 2]) for number in range(len(CLIPS))]


@pytest.fixture(params=["plits", "lal", "pal@v3", "flamingo"])
def probe(request):
    llm = small_llm()
    section = resolve_section(request.param, IntegrationSection(summary_tokens=2))
    integration = build_integration(request.param, dim=DIM, shape=llm.shape, section=section, seed=0)
    connector = getattr(integration, "lal", integration).connector
    torch.nn.init.normal_(connector[-1].weight, std=0.5)  # loud enough for every clip to matter
    for name, gate in integration.named_parameters():
        if "gate" in name:
            torch.nn.init.ones_(gate)
    branch = Branch(integration, dim=DIM, num_layers=1, pooling=Pooling(grid=1, time=2))
    branch.standardise.measure(CLIPS)
    return Probe([branch], llm).double().eval()


class Reading:
    """Clips by number, and a note of how many were asked for at once."""

    def __init__(self, clips=CLIPS):
        self.clips, self.sizes = clips, []

    def __call__(self, numbers):
        self.sizes.append(len(numbers))
        return [[self.clips[number] for number in numbers]]


def context_of(probe, clip):
    """One clip's context without the probe's batching: pooled by 2 and standardised in numpy."""
    frames = clip.double().numpy()
    pooled = np.stack([frames[start : start + 2].mean(0) for start in range(0, len(frames), 2)])
    everything = np.concatenate([other.double().numpy() for other in CLIPS])
    features = (pooled - everything.mean(0)) / everything.std(0)
    mask = torch.ones(1, len(features), dtype=torch.bool)
    return probe.branches[0].integration(torch.from_numpy(features)[None], mask)


def naive_scores(probe, clip, prompt, choices):
    """One forward pass per choice: the sum of the log probabilities of its bytes and of the end."""
    scores = {}
    for choice in choices:
        asked, answer = [*f"{prompt}\n".encode()], [*choice.encode(), EOS]
        with torch.no_grad():
            logits = probe.llm(text_of([*asked, *answer]), context_of(probe, clip))[0].numpy()
        logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        scores[choice] = sum(logs[len(asked) - 1 + place, token] for place, token in enumerate(answer))
    return scores


def assert_same_scores(found, expected):
    assert [one.id for one in found] == [one.id for one in expected]
    for left, right in zip(found, expected, strict=True):
        assert left.scores == pytest.approx(dict(right.scores), abs=CLOSE)
        assert (left.prediction, left.correct) == (right.prediction, right.correct)


def test_likelihood_is_naive_scoring(probe):
    """Two kinds of question in one call equal one forward pass per choice; the best choice is the prediction."""
    predictions = by_likelihood(probe, EXAMPLES, Reading(), batch_size=4)
    for one, prediction, clip in zip(EXAMPLES, predictions, CLIPS, strict=True):
        expected = naive_scores(probe, clip, one.prompt, one.choices)
        assert prediction.scores == pytest.approx(expected, abs=CLOSE)
        assert prediction.prediction == max(expected, key=expected.__getitem__)
        assert prediction.correct == (prediction.prediction == one.references[0])
        assert (prediction.id, prediction.group, prediction.part) == (one.id, one.group, one.part)
        assert prediction.reference == one.references[0]
        assert prediction.valid
    spread = np.ptp([[*prediction.scores.values()] for prediction in predictions[::2]], axis=0)
    assert spread.min() > 1e-2  # the audio matters, so the comparison can fail


@pytest.mark.parametrize("batch_size", [1, 2, 6])
def test_scores_do_not_depend_on_the_batch(probe, batch_size):
    """Nor on how many trees the choices are cut into, nor on how little memory the logits may take."""
    expected = by_likelihood(probe, EXAMPLES, Reading(), batch_size=3)
    assert_same_scores(by_likelihood(probe, EXAMPLES, Reading(), batch_size=batch_size), expected)


def test_scores_do_not_depend_on_how_work_is_cut(probe, monkeypatch):
    """Few answer tokens per forward pass give the same scores, in more passes; so do few logits, in smaller ones."""
    whole = Reading()
    expected = by_likelihood(probe, EXAMPLES, whole, batch_size=3)
    assert whole.sizes == [3, 3]
    monkeypatch.setattr(likelihood, "MAX_TREE_TOKENS", 7)  # 4 + 6 + 3 + 3 tokens: after the 1st and 2nd; 2 + 3 + 2 fit
    several = Reading()
    assert_same_scores(by_likelihood(probe, EXAMPLES, several, batch_size=3), expected)
    assert several.sizes == [3, 3, 3, 3]
    monkeypatch.setattr(likelihood, "MAX_LOGITS", 10 * SIZES["vocab_size"])  # 4, 6, 5 and 4 rows: 2, 1, 2 and 2 clips
    small = Reading()
    assert_same_scores(by_likelihood(probe, EXAMPLES, small, batch_size=3), expected)
    assert small.sizes == [2, 1, 1, 1, 1, 2, 1, 2, 1]


def test_scores_do_not_depend_on_the_order_of_items_or_choices(probe):
    """Shuffled items and reversed choices get the scores they had."""
    expected = by_likelihood(probe, EXAMPLES, Reading(), batch_size=4)
    order = [4, 0, 5, 2, 1, 3]
    shuffled = [replace(EXAMPLES[number], choices=EXAMPLES[number].choices[::-1]) for number in order]
    found = by_likelihood(probe, shuffled, Reading([CLIPS[number] for number in order]), batch_size=4)
    assert_same_scores(found, [expected[number] for number in order])


def test_a_tree_by_hand():
    """[7 8] with answers [1 2 9], [9] and [3 9]: the last tokens are only predicted, every answer sees itself."""
    tree = build_tree([7, 8], [[1, 2, 9], [9], [3, 9]])
    assert tree.ids.tolist() == [7, 8, 1, 2, 3]
    assert tree.positions.tolist() == [0, 1, 2, 3, 2]
    assert tree.visible.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    assert tree.kept == 4  # the rows 8, 1, 2, 3
    assert tree.rows.tolist() == [0, 1, 2, 0, 0, 3]
    assert tree.targets.tolist() == [1, 2, 9, 9, 3, 9]
    assert tree.owner.tolist() == [0, 0, 0, 1, 2, 2]


def test_answers_that_begin_alike_share_their_beginning():
    """[7] with answers [1 2 9], [1 2 3 9] and [1 9]: four rows, not 1 + 2 + 3 + 1; each sees only its own past."""
    tree = build_tree([7], [[1, 2, 9], [1, 2, 3, 9], [1, 9]])
    assert tree.ids.tolist() == [7, 1, 2, 3]
    assert tree.positions.tolist() == [0, 1, 2, 3]
    assert tree.kept == 4
    assert tree.rows.tolist() == [0, 1, 2, 0, 1, 2, 3, 0, 1]
    assert tree.targets.tolist() == [1, 2, 9, 1, 2, 3, 9, 1, 9]
    assert tree.owner.tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    apart = build_tree([7], [[1, 2, 9], [1, 3, 4, 9]])
    assert apart.ids.tolist() == [7, 1, 2, 3, 4]
    assert apart.positions.tolist() == [0, 1, 2, 2, 3]
    assert apart.visible.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 1],
    ]


def test_open_questions_have_no_likelihood_scores(probe):
    """An example without choices is refused by name, with the scoring that can read it."""
    with pytest.raises(ScoringError, match=r"'3' is an open question.*--scoring generation"):
        by_likelihood(probe, [EXAMPLES[0], example(3, choices=())], Reading(), batch_size=2)


def test_scores_that_are_not_finite_are_refused(probe):
    """A diverged probe gets no score at all."""
    with torch.no_grad():
        next(probe.branches[0].integration.parameters()).fill_(torch.nan)
    with pytest.raises(ScoringError, match="not finite"):
        by_likelihood(probe, EXAMPLES, Reading(), batch_size=2)


def test_generation_reads_what_greedy_decoding_writes(probe):
    """A batch of different prompts gives each item the strict reading of its own greedy bytes."""
    predictions = by_generation(probe, EXAMPLES, Reading(), batch_size=4, max_new_tokens=5)
    for one, prediction, clip in zip(EXAMPLES, predictions, CLIPS, strict=True):
        ids, made = [*f"{one.prompt}\n".encode()], []
        while len(made) < 5:
            with torch.no_grad():
                token = int(probe.llm(text_of([*ids, *made]), context_of(probe, clip))[0, -1].argmax())
            if token == EOS:
                break
            made.append(token)
        assert prediction == parse_answer(one, bytes(made).decode(errors="replace"))
    assert len({prediction.prediction for prediction in predictions}) > 2


CLOSED = example(0, ("animal?", ("dog", "Cat", "sea lion")))
CASED = example(0, ("who?", ("us", "US")))  # choices that differ by case alone
OPEN = example(0, choices=(), references=("a dog", "dog barking"))


@pytest.mark.parametrize(
    ("question", "text", "answer", "correct", "valid"),
    [
        (CLOSED, "dog", "dog", True, True),
        (CLOSED, " DOG \nbecause it barks", "dog", True, True),
        (CLOSED, "cat", "Cat", False, True),
        (CLOSED, "sea lion", "sea lion", False, True),
        (CLOSED, "dogs", "dogs", False, False),
        (CLOSED, "a dog", "a dog", False, False),
        (CLOSED, "", "", False, False),
        (CLOSED, "\ndog", "", False, False),
        (CASED, "us", "us", True, True),
        (CASED, "US", "US", False, True),
        (CASED, "Us", "Us", False, False),
        (OPEN, "A dog", "A dog", True, True),
        (OPEN, "Dog barking\n", "Dog barking", True, True),
        (OPEN, "a cat", "a cat", False, True),
        (OPEN, "  ", "", False, False),
    ],
)
def test_generated_text_is_read_strictly(question, text, answer, correct, valid):
    """First line, trimmed, case ignored, and otherwise exactly a choice or reference."""
    prediction = parse_answer(question, text)
    assert (prediction.prediction, prediction.correct, prediction.valid) == (answer, correct, valid)
    assert prediction.scores == {}


def test_answers_of_several_lines_are_not_generated(probe):
    """Generated text ends with its first line, so an answer of two would be wrong for ever: refused by id."""
    two = example(0, ("which?", ("dog\nbark", "cat")))
    with pytest.raises(ScoringError, match=f"{two.id!r} has an answer of several lines"):
        by_generation(probe, [two], Reading(), batch_size=1, max_new_tokens=2)


def test_generation_passes_its_beams_on(probe):
    """Several beams write what the LLM writes with them, and not what greedy decoding does."""
    found = by_generation(probe, EXAMPLES, Reading(), batch_size=4, max_new_tokens=5, beams=3)
    for one, prediction, clip in zip(EXAMPLES, found, CLIPS, strict=True):
        text = text_of(f"{one.prompt}\n")
        with torch.no_grad():
            ids = probe.llm.generate(text, context_of(probe, clip), max_new_tokens=5, beams=3)[0]
        assert prediction == parse_answer(one, bytes(ids).decode(errors="replace"))
    assert found != by_generation(probe, EXAMPLES, Reading(), batch_size=4, max_new_tokens=5)


def test_text_tokens_by_hand():
    """Prompt, newline, and the longest answer; its end, or the last generated token, is only predicted."""
    expected = {PITCH: len("which tone?\n") + len("tenor"), COUNT: len("how many beeps?\n") + len("12")}
    found = text_tokens(ByteTokenizer(), EXAMPLES, None)
    assert found == [expected[(PITCH, COUNT)[number % 2]] for number in range(len(EXAMPLES))]
    assert text_tokens(ByteTokenizer(), EXAMPLES[:1], 9) == [len("which tone?\n") + 8]


def test_null_scores_are_naive_scoring_of_the_mean(probe, monkeypatch):
    """Four tokens of the training mean, scored choice by choice; each kind of question is asked once."""
    silence = torch.from_numpy(np.concatenate([clip.double().numpy() for clip in CLIPS]).mean(0)).expand(4, -1)
    trees, score_tree = [], likelihood.score_tree
    monkeypatch.setattr(likelihood, "score_tree", lambda *words: trees.append(1) or score_tree(*words))
    found = null_scores(probe, EXAMPLES, [4])
    assert len(trees) == 2  # two kinds of question, six items
    for one, scores in zip(EXAMPLES, found, strict=True):
        assert scores == pytest.approx(naive_scores(probe, silence, one.prompt, one.choices), abs=CLOSE)


def test_references_of_open_questions_are_scored(probe, monkeypatch):
    """Each different reference once, as naive scoring has it; a closed question none; few logits take more passes."""
    captions = [
        example(0, choices=(), references=("a dog", "dog", "a dog")),
        example(1),
        example(2, choices=(), references=("rain on a roof",)),
    ]
    whole = Reading()
    found = reference_scores(probe, captions, whole)
    assert found[1] == {} and list(found[0]) == ["a dog", "dog"] and whole.sizes == [1, 1]
    for number in (0, 2):
        expected = naive_scores(probe, CLIPS[number], captions[number].prompt, set(captions[number].references))
        assert found[number] == pytest.approx(expected, abs=CLOSE)
    monkeypatch.setattr(likelihood, "MAX_LOGITS", 9 * SIZES["vocab_size"])  # 6 + 4 tokens do not fit, each does
    small = Reading()
    again = reference_scores(probe, captions, small)
    assert small.sizes == [1, 1, 1]
    assert again[0] == pytest.approx(found[0], abs=CLOSE) and again[2] == pytest.approx(found[2], abs=CLOSE)


def listings(one):
    """The prompts with options in every cyclic order of the alphabetical one, written out."""
    order = sorted(one.choices)
    turns = [order[turn:] + order[:turn] for turn in range(len(order))]
    return [one.prompt + "\nOptions:" + "".join(f"\n- {option}" for option in turn) for turn in turns]


def test_listed_options_are_averaged_over_cyclic_orders(probe):
    """A choice's score is the mean of its naive scores under each listing, and listing changes it."""
    found = by_likelihood(probe, EXAMPLES, Reading(), batch_size=4, listed=True)
    hidden = by_likelihood(probe, EXAMPLES, Reading(), batch_size=4)
    for one, prediction, clip in zip(EXAMPLES, found, CLIPS, strict=True):
        each = [naive_scores(probe, clip, prompt, one.choices) for prompt in listings(one)]
        expected = {choice: np.mean([scores[choice] for scores in each]) for choice in one.choices}
        assert prediction.scores == pytest.approx(expected, abs=CLOSE)
        assert list(prediction.scores) == list(one.choices)
        assert prediction.prediction == max(expected, key=expected.__getitem__)
        assert len({round(scores[one.choices[0]], 3) for scores in each}) > 1  # order matters to this probe
    assert all(abs(a.scores[a.prediction] - b.scores[a.prediction]) > 1e-3 for a, b in zip(found, hidden, strict=True))


@pytest.mark.parametrize("turn", [1, 2, -1])
def test_listed_scores_do_not_depend_on_the_order_in_the_file(probe, turn):
    """Rotated choices get the same scores to the last bit, and the same answers; so do their null scores."""
    expected = by_likelihood(probe, EXAMPLES, Reading(), batch_size=4, listed=True)
    rotated = [replace(one, choices=one.choices[turn:] + one.choices[:turn]) for one in EXAMPLES]
    found = by_likelihood(probe, rotated, Reading(), batch_size=4, listed=True)
    assert found == expected  # dictionaries are compared without order, numbers exactly
    assert [list(one.scores) for one in found] == [list(one.choices) for one in rotated]
    assert null_scores(probe, rotated, [3], listed=True) == null_scores(probe, EXAMPLES, [3], listed=True)


def test_text_tokens_of_listings_and_references_by_hand():
    """A listing counts with its options; beside a generated answer an open question's longest reference counts."""
    (listed, *_) = listings(EXAMPLES[0])
    assert text_tokens(ByteTokenizer(), EXAMPLES[:1], None, listed=True) == [len(listed.encode()) + 1 + len("tenor")]
    caption = example(0, choices=(), references=("a dog", "a dog that barks"))
    assert text_tokens(ByteTokenizer(), [caption], 9) == [len("which tone?\n") + len("a dog that barks")]
    assert text_tokens(ByteTokenizer(), [caption], 30) == [len("which tone?\n") + 29]


@pytest.mark.parametrize(
    ("question", "text", "answer", "correct", "valid"),
    [
        (CLOSED, "It is a dog.", "dog", True, True),
        (CLOSED, "DOG", "dog", True, True),
        (CLOSED, "a cat\nor a dog", "Cat", False, True),
        (CLOSED, "dog or cat", "dog or cat", False, False),
        (CLOSED, "dogs", "dogs", False, False),
        (CLOSED, "hotdog", "hotdog", False, False),
        (CLOSED, "a dog, a dog!", "dog", True, True),
        (CLOSED, "", "", False, False),
        (example(0, ("?", ("dog", "dog bark", "C#"))), "a dog bark", "dog bark", False, True),
        (example(0, ("?", ("dog", "dog bark", "C#"))), "dog and dog bark", "dog and dog bark", False, False),
        (example(0, ("?", ("dog", "dog bark", "C#"))), "in C#, I think", "C#", False, True),
        (CASED, "I hear us", "us", True, True),
        (CASED, "I hear US", "US", False, True),
        (OPEN, "I hear a dog barking", "I hear a dog barking", True, True),
        (OPEN, "I hear a dogs", "I hear a dogs", False, True),
        (OPEN, " ", "", False, False),
    ],
)
def test_text_may_be_read_for_the_one_choice_in_it(question, text, answer, correct, valid):
    """`contains`: exactly one choice stands in the first line as whole words; the longer of two that overlap counts."""
    prediction = parse_answer(question, text, "contains")
    assert (prediction.prediction, prediction.correct, prediction.valid) == (answer, correct, valid)
    assert prediction.text == text
