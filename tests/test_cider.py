"""CIDEr-D against the implementation that published numbers come from, and by hand."""

import os
import warnings
from pathlib import Path

import pytest
from captions_at_random import captioned

from palprobe.errors import ScoringError
from palprobe.metrics.cider import cider_d, cider_d_of_each
from palprobe.metrics.words import words_of
from palprobe.specs import parse_task
from palprobe.tasks import load_task
from palprobe.types import Prediction

DATA = os.environ.get("PALPROBE_DATA")


def said(answer: str, *references: str, name: str = "x") -> Prediction:
    return Prediction(name, name, None, references[0], answer, {}, False, True, references)


def of_the_oracle(items: list[Prediction]) -> tuple[float, list[float]]:
    """pycocoevalcap's CIDEr (its name for CIDEr-D) on the same words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pycocoevalcap.cider.cider import Cider

    def joined(text: str) -> str:
        return " ".join(words_of(text))

    references = {item.id: [joined(text) for text in item.all_references] for item in items}
    mean, each = Cider().compute_score(references, {item.id: [joined(item.prediction)] for item in items})
    return float(mean), list(each)


@pytest.mark.parametrize("seed", range(5))
def test_cider_d_is_pycocoevalcaps(seed):
    """On random captions with one to four references, repeated words and empty answers, to 1e-6, item by item."""
    items = captioned(seed)
    mean, each = of_the_oracle(items)
    assert cider_d(items) == pytest.approx(mean, abs=1e-6)
    assert cider_d_of_each(items) == pytest.approx(each, abs=1e-6)
    assert mean > 0.5


def test_the_captions_at_random_try_the_edges():
    """Among them are an empty answer, one that is a reference, and clips with one reference and with four."""
    items = [item for seed in range(5) for item in captioned(seed)]
    assert any(not item.prediction for item in items) and any(item.prediction == item.reference for item in items)
    assert {1, 4} <= {len(item.all_references) for item in items}


@pytest.mark.data
@pytest.mark.skipif(not DATA, reason="PALPROBE_DATA names no folder of real recordings")
def test_cider_d_of_real_captions():
    """The second caption of each of 100 clips against both of it and of its neighbour: as the oracle has it."""
    examples = load_task(parse_task("captions"), data_root=Path(str(DATA)), cache=Path("unused")).examples
    items = [
        said(example.references[1], *after.references, example.references[0], name=example.id)
        for example, after in zip(examples, (*examples[1:], examples[0]), strict=True)
    ]
    mean, each = of_the_oracle(items)
    assert cider_d(items) == pytest.approx(mean, abs=1e-6) and mean > 0
    assert cider_d_of_each(items) == pytest.approx(each, abs=1e-6)


def test_cider_d_by_hand():
    """Of two clips that share no word, a caption of two words scores 10 (1 + 1 + 0 + 0) / 4, another clip's 0."""
    items = [said("A dog", "a dog!", name="1"), said("a dog", "it rains", name="2")]
    assert cider_d_of_each(items) == pytest.approx([5.0, 0.0])
    assert cider_d(items) == pytest.approx(2.5)


def test_words_that_every_clip_has_weigh_nothing():
    """Where all references are one sentence nothing tells clips apart, and saying it earns nothing."""
    assert cider_d([said("rain falls", "rain falls", name=name) for name in "12"]) == 0


def test_one_clip_has_no_cider_d():
    """A weight needs clips that lack the word."""
    with pytest.raises(ScoringError, match="two clips or more"):
        cider_d([said("rain", "rain")])
