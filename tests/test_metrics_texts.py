"""BLEU and chrF against sacrebleu, and what texts are like by hand."""

import math
from itertools import zip_longest

import pytest
import sacrebleu
from captions_at_random import captioned

from palprobe.errors import ScoringError
from palprobe.metrics.texts import bits_per_byte, bleu, chrf, distinct_2, mean_length, signature, vocabulary
from palprobe.types import Prediction


def wrote(answer: str, reference: str = "x", scores: dict[str, float] | None = None, *more: str) -> Prediction:
    references = (reference, *more) if more else ()
    return Prediction("1", "1", None, reference, answer, scores or {}, False, True, references)


@pytest.mark.parametrize("seed", range(3))
def test_bleu_and_chrf_are_sacrebleus(seed):
    """With one to four references for each item, both are its corpus scores over 100, and so is the signature."""
    items = captioned(seed)
    answers = [item.prediction for item in items]
    references = list(zip_longest(*(item.all_references for item in items)))
    for name, ours, theirs in (("bleu", bleu, sacrebleu.BLEU(force=True)), ("chrf", chrf, sacrebleu.CHRF())):
        assert ours(items) == pytest.approx(theirs.corpus_score(answers, references).score / 100, abs=1e-12)
        assert signature(name, items) == str(theirs.get_signature())
        assert "nrefs:var" in signature(name, items)


def test_the_same_text_has_all_of_it():
    """An answer that is its reference scores 1, and another language 0."""
    same = [wrote("a dog barks loudly", "a dog barks loudly")] * 2
    assert bleu(same) == chrf(same) == 1.0
    assert bleu([wrote("xyz", "a dog")]) == chrf([wrote("xyz", "a dog")]) == 0.0
    assert "nrefs:1" in signature("bleu", same)


def test_what_texts_are_like_by_hand():
    """Two answers of three words, "a dog barks" and "a dog sits": 3 of 4 pairs differ, 4 words in all."""
    items = [wrote("A dog barks."), wrote("a dog sits")]
    assert distinct_2(items) == 3 / 4
    assert (mean_length(items), vocabulary(items)) == (3.0, 4.0)
    assert mean_length([wrote(""), *items]) == 2.0
    with pytest.raises(ScoringError, match="two words"):
        distinct_2([wrote("dog"), wrote("")])


def test_bits_per_byte_by_hand():
    """A reference of 4 bytes at probability 1/16 and one of 2 bytes ("é") at 1/4: 4 + 2 bits over 6 bytes."""
    item = wrote("", "rain", {"rain": math.log(1 / 16), "é": math.log(1 / 4)}, "é")
    assert bits_per_byte([item]) == pytest.approx(6 / 6)
    assert bits_per_byte([item, wrote("", "ab", {"ab": math.log(1 / 2), "other": 0.0})]) == pytest.approx(7 / 8)


def test_bits_per_byte_need_every_reference():
    """Without the likelihood of one of the references there is no number."""
    with pytest.raises(ScoringError, match="'1' lacks one"):
        bits_per_byte([wrote("", "rain", {"rain": -1.0}, "it rains")])
