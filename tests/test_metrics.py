import random

import jiwer
import pytest
from sklearn.metrics import balanced_accuracy_score

from palprobe.errors import ScoringError, UnknownNameError
from palprobe.metrics import METRICS
from palprobe.metrics.answers import accuracy, balanced_accuracy, invalid_rate, macro_f1
from palprobe.metrics.transcripts import Edits, cer, character_edits, wer, word_edits
from palprobe.metrics.words import words_of
from palprobe.types import Prediction


def predictions_of(pairs: list[tuple[str, str]], choices: set[str] | None = None) -> list[Prediction]:
    """(reference, prediction) pairs as predictions."""
    return [
        Prediction(str(i), str(i), None, reference, answer, {}, reference == answer, not choices or answer in choices)
        for i, (reference, answer) in enumerate(pairs)
    ]


# dog: 2 references, 1 hit, 2 answers; cat: 2, 1, 1; owl: 1, 1, 1; one answer is no choice.
MIXED = predictions_of(
    [("dog", "dog"), ("dog", "bird"), ("cat", "cat"), ("cat", "dog"), ("owl", "owl")], {"dog", "cat", "owl"}
)


def test_accuracy_by_hand():
    """Three of five are right."""
    assert accuracy(MIXED) == pytest.approx(3 / 5)


def test_macro_f1_by_hand():
    """F1 is dog 2·1/(2+2), cat 2·1/(2+1), owl 1; an answer that is no class makes no class of its own."""
    assert macro_f1(MIXED) == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)


def test_macro_f1_counts_what_was_judged_right():
    """A second accepted wording of the reference is a hit, as it is for accuracy."""
    judged = [Prediction("1", "1", None, "dog", "Dog.", {}, True, True), *predictions_of([("cat", "cat")])]
    assert macro_f1(judged) == 1.0


def test_macro_f1_of_a_constant_answer_is_the_documented_chance():
    """Always 'a' with K = 4 balanced classes: 2 / (K (K + 1)) = 0.1."""
    assert macro_f1(predictions_of([(label, "a") for label in "abcd" * 3])) == pytest.approx(0.1)


def test_invalid_rate_by_hand():
    """One of five answers is no choice."""
    assert invalid_rate(MIXED) == pytest.approx(1 / 5)


def test_balanced_accuracy_by_hand():
    """dog 1 of 2, cat 1 of 2, owl 1 of 1."""
    assert balanced_accuracy(MIXED) == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)


def test_balanced_accuracy_agrees_with_scikit_learn():
    """On unbalanced random answers it is scikit-learn's; a constant answer to four classes is 1 in 4."""
    rng = random.Random(1)
    pairs = [(rng.choice("aaaabbc"), rng.choice("abc")) for _ in range(200)]
    assert balanced_accuracy(predictions_of(pairs)) == pytest.approx(balanced_accuracy_score(*zip(*pairs, strict=True)))
    assert balanced_accuracy(predictions_of([(label, "a") for label in "aaaabbcd"])) == pytest.approx(1 / 4)


def test_a_wrong_name_gets_the_nearest():
    """A metric that is not registered is refused with the name that was meant."""
    with pytest.raises(UnknownNameError, match="accuracy"):
        METRICS.load("acuracy")


def plain_distance(reference: list[str], answer: list[str]) -> int:
    """Levenshtein's recurrence, as it stands in textbooks."""
    if not reference or not answer:
        return len(reference) + len(answer)
    return min(
        plain_distance(reference[1:], answer) + 1,
        plain_distance(reference, answer[1:]) + 1,
        plain_distance(reference[1:], answer[1:]) + (reference[0] != answer[0]),
    )


TRANSCRIPTS = predictions_of(
    [
        ("the cat sat", "The cat, sat!"),  # nothing wrong but signs and capitals
        ("a dog ran home", "a frog ran"),  # one substitution, one deletion
        ("no", "oh no no"),  # two insertions
        ("yes", ""),  # one deletion
    ]
)


def test_wer_by_hand():
    """0 + 2 + 2 + 1 errors over 3 + 4 + 1 + 1 words: a rate of the whole set, not a mean of rates."""
    assert wer(TRANSCRIPTS) == pytest.approx(5 / 9)
    assert [word_edits(item) for item in TRANSCRIPTS] == [
        Edits(0, 0, 0, 3),
        Edits(1, 1, 0, 4),
        Edits(0, 0, 2, 1),
        Edits(0, 1, 0, 1),
    ]


def test_wer_agrees_with_the_textbook():
    """On random short texts the errors are the edit distance of a plain recurrence, and the kinds add up to it."""
    rng = random.Random(0)
    for _ in range(100):
        left, right = (" ".join(rng.choices("abc", k=rng.randrange(6))) for _ in range(2))
        (item,) = predictions_of([(left, right)])
        found = word_edits(item)
        assert found.errors == plain_distance(left.split(), right.split())
        assert found.length == len(left.split())


def test_words_are_read_alike_on_both_sides():
    """Case, punctuation and quotes do not count; apostrophes inside words and marks on letters do."""
    assert words_of("“He's” -- um, 30% 'done'!") == ["he's", "um", "30", "done"]
    assert words_of("don’t BOYS'") == ["don't", "boys"]
    assert words_of("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert words_of("e\u0301te\u0301") == words_of("été") == ["été"]
    assert words_of(" ?! ") == []


def test_a_word_error_rate_without_words_is_refused():
    """References of no words have no rate."""
    with pytest.raises(ScoringError, match="hold none"):
        wer(predictions_of([("?", "a")]))


def test_cer_by_hand():
    """Blanks count: "a dog" to "a fog" is 1 of 5, "no" to "oh no" is 3 of 2, what is only signs is nothing."""
    items = predictions_of([("A dog.", "a fog"), ("no", "oh no")])
    assert [character_edits(item) for item in items] == [Edits(1, 0, 0, 5), Edits(0, 0, 3, 2)]
    assert cer(items) == pytest.approx(4 / 7)
    with pytest.raises(ScoringError, match="hold none"):
        cer(predictions_of([("?", "a")]))


def test_error_rates_agree_with_jiwer():
    """On texts that need no normalising, whole sets have jiwer's rates."""
    rng = random.Random(2)
    pairs = [(" ".join(rng.choices(["ant", "bee", "ox"], k=rng.randrange(1, 6))), "ant bee") for _ in range(50)]
    references, answers = map(list, zip(*pairs, strict=True))
    assert wer(predictions_of(pairs)) == pytest.approx(jiwer.wer(references, answers))
    assert cer(predictions_of(pairs)) == pytest.approx(jiwer.cer(references, answers))
