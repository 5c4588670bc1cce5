"""CIDEr-D: how much a caption has in common with its references, in n-grams that weigh more the fewer clips have them.

Source: Vedantam, Zitnick and Parikh (2015), arXiv 1411.5726, eq. 4 to 6, in the form that the COCO evaluation made the
usual one (clipped counts, a penalty on length, ten times the mean). Its quirk is kept: length is counted in word pairs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from palprobe.errors import ScoringError
from palprobe.metrics.words import words_of
from palprobe.types import Prediction

ORDERS = (1, 2, 3, 4)  # words in an n-gram
SIGMA = 6.0  # of the penalty on length, in word pairs
SCALE = 10.0

Gram = tuple[str, ...]


@dataclass(frozen=True)
class Weighed:
    """A caption as one vector of weighed n-grams for each order."""

    vectors: tuple[Mapping[Gram, float], ...]
    norms: tuple[float, ...]
    pairs: int  # word pairs, repeated ones too


def cider_d(predictions: Sequence[Prediction]) -> float:
    """Mean CIDEr-D over the items, 0 to 10; no chance level.

    The weights are of the references of these very items, so values of different sets, or of a part and a whole, do not
    compare.

    Raises:
        ScoringError: fewer than two items, of which no n-gram could be rarer than another.
    """
    return float(cider_d_of_each(predictions).mean())


def cider_d_of_each(predictions: Sequence[Prediction]) -> npt.NDArray[np.float64]:
    """(E,) the score of each item under the weights of all; raises ScoringError as `cider_d` does."""
    if len(predictions) < 2:
        raise ScoringError("CIDEr-D weighs words by how few clips have them, and needs two clips or more.")
    references = [[_grams(words_of(text)) for text in item.all_references] for item in predictions]
    clips = Counter(gram for captions in references for gram in set[Gram]().union(*captions))
    scores = []
    for item, captions in zip(predictions, references, strict=True):
        answer = _weighed(_grams(words_of(item.prediction)), clips, len(predictions))
        scores.append(_against(answer, [_weighed(caption, clips, len(predictions)) for caption in captions]))
    return np.array(scores)


def _grams(words: Sequence[str]) -> Counter[Gram]:
    return Counter(tuple(words[start : start + n]) for n in ORDERS for start in range(len(words) - n + 1))


def _weighed(grams: Counter[Gram], clips: Counter[Gram], num_clips: int) -> Weighed:
    """Each n-gram's count times log(all clips / clips that have it); one in no reference counts as if in one clip."""
    vectors: tuple[dict[Gram, float], ...] = tuple({} for _ in ORDERS)
    for gram, count in grams.items():
        vectors[len(gram) - 1][gram] = count * (math.log(num_clips) - math.log(max(1, clips[gram])))
    norms = tuple(math.sqrt(sum(weight * weight for weight in vector.values())) for vector in vectors)
    return Weighed(vectors, norms, sum(count for gram, count in grams.items() if len(gram) == 2))


def _against(answer: Weighed, captions: Sequence[Weighed]) -> float:
    """Mean clipped cosine over captions and orders, each caption's less by how much longer or shorter the answer is."""
    total = 0.0
    for caption in captions:
        likeness = sum(
            _clipped_product(mine, theirs) / ((norm * other) or 1.0)
            for mine, theirs, norm, other in zip(
                answer.vectors, caption.vectors, answer.norms, caption.norms, strict=True
            )
        )
        total += likeness * math.exp(-((answer.pairs - caption.pairs) ** 2) / (2 * SIGMA**2))
    return SCALE * total / (len(ORDERS) * len(captions))


def _clipped_product(answer: Mapping[Gram, float], caption: Mapping[Gram, float]) -> float:
    """An n-gram that is said more often than in the caption gains nothing by it."""
    shared = answer.keys() & caption.keys()
    return math.fsum(min(answer[gram], caption[gram]) * caption[gram] for gram in shared)
