"""Metrics as formulas of what groups add up to: drawing, leaving out and swapping whole groups is then arithmetic.

Shape letters: E items, S runs (seeds), G groups or blocks of groups, C columns, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from palprobe.errors import ScoringError
from palprobe.metrics import METRICS
from palprobe.metrics.answers import answered_class
from palprobe.metrics.cider import cider_d_of_each
from palprobe.metrics.ranking import Table, d_prime_of, map_of, table_of
from palprobe.metrics.texts import code_lengths, lengths, text_counts, text_score
from palprobe.metrics.transcripts import character_totals, word_totals
from palprobe.stats import Floats, Indices, Runs
from palprobe.types import Prediction

# A metric without a formula of sums is computed anew without each block of groups, so many at most.
BLOCKS = 200
COLUMNS_AT_ONCE = 100
REMEMBERED = 128  # runs whose sums are slow to come by


@dataclass(frozen=True, eq=False)
class Sums:
    """A metric of several runs on the same items."""

    totals: Floats  # (S, G, C) what each group adds
    formula: Callable[[Floats], Floats]  # (..., C) sums → (...) the metric
    linear: bool  # of jackknife values, as the metric itself is no formula of sums

    @property
    def values(self) -> Floats:
        """(S,) the metric of each run."""
        return self.formula(self.totals.sum(axis=1))

    def jackknife(self) -> Floats:
        """(S, G) pseudo-values, whose mean over the groups is about the metric, and whose spread is its error.

        Source: Tukey (1958).
        """
        whole, num_groups = self.totals.sum(axis=1, keepdims=True), self.totals.shape[1]
        without = self.formula(whole - self.totals)  # (S, G)
        found: Floats = num_groups * self.formula(whole) - (num_groups - 1) * without
        return found

    def less(self, other: Sums) -> Sums:
        """The difference of two probes on the same groups, as a metric of its own."""
        columns = self.totals.shape[2]
        both: Floats = np.concatenate([self.totals, other.totals], axis=2)  # (S, G, 2 C)
        return Sums(
            both, lambda sums: self.formula(sums[..., :columns]) - other.formula(sums[..., columns:]), self.linear
        )


class Held(tuple[Prediction, ...]):
    """A run as a key: alike are those of the very same predictions, which the key keeps alive."""

    __slots__ = ()

    def __hash__(self) -> int:
        return hash(tuple(map(id, self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and tuple(map(id, self)) == tuple(map(id, other))

    def __ne__(self, other: object) -> bool:  # a tuple's own would look at the values
        return not self == other


def sums_of(metric: str, runs: Runs, codes: Indices, num_groups: int) -> Sums:
    """Any registered metric as a formula of sums; where it has none, what leaving blocks of groups out says of it.

    Args:
        metric: a name in `METRICS`.
        runs: the same items in the same order.
        codes: (E,) number of each item's group.
        num_groups: how many groups there are.

    Raises:
        ScoringError: the metric has no value, or none without one of the blocks.
    """
    METRICS.check(metric)
    if metric in SHARES:
        return Sums(np.stack([grouped(_share(metric, run), codes, num_groups) for run in runs]), ratio, False)
    if metric in RATIOS:
        return Sums(np.stack([grouped(_items(metric, Held(run)), codes, num_groups) for run in runs]), ratio, False)
    if metric in CLASSES:
        return Sums(class_counts(runs, codes, num_groups), CLASSES[metric], False)
    if metric in TEXTS:
        totals = np.stack([grouped(_items(metric, Held(run)), codes, num_groups) for run in runs])
        return Sums(totals, lambda sums: text_score(metric, sums), False)
    blocks = _blocks(codes, num_groups)
    values = np.stack([_left_out(metric, Held(run), blocks) for run in runs])  # (S, G)
    return Sums(np.stack([values, np.ones_like(values)], axis=2), ratio, True)


def ratio(sums: Floats) -> Floats:
    """(..., 2) → (...) the first over the second; a draw in which nothing can be counted is 0."""
    found: Floats = sums[..., 0] / np.maximum(sums[..., 1], 1)
    return found


def class_counts(runs: Runs, codes: Indices, num_groups: int) -> Floats:
    """(S, G, 3 K) hits, references and answers of each class among the references of any run."""
    labels = sorted({item.reference for run in runs for item in run})
    classes = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(runs), num_groups, 3, len(classes)))
    for number, run in enumerate(runs):
        for group, item in zip(codes, run, strict=True):
            answer = classes.get(answered_class(item))
            counts[number, group, 1, classes[item.reference]] += 1
            if answer is not None:
                counts[number, group, 2, answer] += 1
                counts[number, group, 0, answer] += item.correct
    return counts.reshape(len(runs), num_groups, -1)


def _f1(counts: Floats) -> Floats:
    """(..., 3 K) hits, references and answers → (...) F1 averaged over the classes among the references."""
    hits, references, answers = np.moveaxis(counts.reshape(*counts.shape[:-1], 3, -1), -2, 0)
    f1 = 2 * hits / np.maximum(references + answers, 1)  # (..., K)
    result: Floats = f1.sum(axis=-1, where=references > 0) / (references > 0).sum(axis=-1)
    return result


def _recall(counts: Floats) -> Floats:
    """(..., 3 K) → (...) hits over references, averaged over the classes among the references."""
    hits, references, _ = np.moveaxis(counts.reshape(*counts.shape[:-1], 3, -1), -2, 0)
    recall = hits / np.maximum(references, 1)  # (..., K)
    result: Floats = recall.sum(axis=-1, where=references > 0) / (references > 0).sum(axis=-1)
    return result


def _cider_totals(predictions: Sequence[Prediction]) -> Floats:
    """(E, 2) the score under the weights of the whole set, which no draw changes, and 1."""
    return np.stack([cider_d_of_each(predictions), np.ones(len(predictions))], axis=1)


SHARES: Mapping[str, Callable[[Prediction], bool]] = MappingProxyType(
    {"accuracy": lambda item: item.correct, "invalid_rate": lambda item: not item.valid}
)
# Metrics that are a ratio of two sums over items, the second being alike in all runs: (E, 2) of a run.
RATIOS: Mapping[str, Callable[[Sequence[Prediction]], Floats]] = MappingProxyType(
    {
        "wer": word_totals,
        "cer": character_totals,
        "mean_length": lengths,
        "bits_per_byte": code_lengths,
        "cider_d": _cider_totals,
    }
)
CLASSES: Mapping[str, Callable[[Floats], Floats]] = MappingProxyType({"balanced_accuracy": _recall, "macro_f1": _f1})
TEXTS = ("bleu", "chrf")
RANKINGS: Mapping[str, Callable[[Table, Floats], Floats]] = MappingProxyType({"map": map_of, "d_prime": d_prime_of})
OF_SHARES = frozenset({*SHARES, *CLASSES, *TEXTS, "map"})  # metrics from 0 to 1


def _share(metric: str, run: Sequence[Prediction]) -> Floats:
    """(E, 2) whether each item counts, and 1."""
    return np.array([[SHARES[metric](item), 1] for item in run], dtype=np.float64)


@lru_cache(maxsize=REMEMBERED)
def _items(metric: str, run: Held) -> Floats:
    """(E, C) what each item adds, computed once however many others a run is compared with."""
    return RATIOS[metric](run) if metric in RATIOS else text_counts(metric, run)


def grouped(items: Floats, codes: Indices, num_groups: int) -> Floats:
    """(E, C) of items → (G, C) of groups."""
    totals = np.zeros((num_groups, items.shape[1]))
    np.add.at(totals, codes, items)
    return totals


def _blocks(codes: Indices, num_groups: int) -> tuple[int, ...]:
    """(E,) number of each item's block: its group, or where there are many, groups put together at random."""
    if num_groups <= BLOCKS:
        return tuple(codes.tolist())
    block = np.random.default_rng(0).permutation(num_groups) % BLOCKS  # the same for every run
    return tuple(block[codes].tolist())


@lru_cache(maxsize=REMEMBERED)
def _left_out(metric: str, run: Held, blocks: tuple[int, ...]) -> Floats:
    """(G,) jackknife values of the blocks, moved so that their mean is the metric itself."""
    value = float(METRICS.load(metric)(run))
    number = max(blocks) + 1
    without = np.array(_without_each(metric, run, np.array(blocks), number))
    if not np.isfinite(without).all():
        raise ScoringError(f"{metric} has no value without some of the recordings or speakers.")
    values = number * value - (number - 1) * without
    found: Floats = values - values.mean() + value
    return found


def _without_each(metric: str, run: Held, blocks: Indices, number: int) -> Sequence[float]:
    """The metric of all items but those of each block."""
    if metric not in RANKINGS:
        function = METRICS.load(metric)
        return [float(function([run[i] for i in np.flatnonzero(blocks != block)])) for block in range(number)]
    table, found = table_of(run), list[float]()
    for start in range(0, number, COLUMNS_AT_ONCE):
        there = np.arange(start, min(start + COLUMNS_AT_ONCE, number))
        found += RANKINGS[metric](table, (blocks[:, None] != there).astype(np.float64)).tolist()
    return found
