"""Any registered metric with its interval, over one run or averaged over several; the bootstrap is vectorised by sums.

Shape letters: E items, G groups, K classes, R draws. A draw is how often each group is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from palprobe.metrics import METRICS
from palprobe.metrics.answers import answered_class
from palprobe.metrics.cider import cider_d_of_each
from palprobe.metrics.meteor import counts_of, meteor_score
from palprobe.metrics.modelled import nearest_are_right, values_of
from palprobe.metrics.ranking import Table, d_prime_of, map_of, table_of
from palprobe.metrics.texts import code_lengths, lengths, text_counts, text_score
from palprobe.metrics.transcripts import character_totals, word_totals
from palprobe.stats import (
    DRAWS,
    NO_INTERVAL,
    Floats,
    Indices,
    Runs,
    bootstrap_statistic,
    draw_batches,
    draw_weights,
    group_codes,
    mean_interval,
    percentile,
    resampled_sums,
    shared_groups,
    wilson_over_groups,
)
from palprobe.types import Interval, Prediction

Share = Callable[[Sequence[Prediction]], npt.NDArray[np.bool_]]

# A resample says some clips twice, so it always has fewer different words: its interval would lie below the value.
WITHOUT_INTERVAL = frozenset({"distinct_2", "vocabulary"})
# A ranking of more clips times classes is drawn less often, and its method says so.
MANY_SCORES, FEW_DRAWS = 250_000, 200


def _cider_totals(predictions: Sequence[Prediction]) -> Floats:
    """(E, 2) the score under the weights of the whole set, which no draw changes, and 1."""
    return np.stack([cider_d_of_each(predictions), np.ones(len(predictions))], axis=1)


# Metrics that are a share of the items: which of them are in it.
SHARES: Mapping[str, Share] = MappingProxyType(
    {
        "accuracy": lambda run: np.array([prediction.correct for prediction in run]),
        "embedding_accuracy": nearest_are_right,
        "invalid_rate": lambda run: np.array([not prediction.valid for prediction in run]),
    }
)
# Metrics that are a ratio of two sums over items, the second being alike in all runs: (E, 2) of a run.
RATIOS: Mapping[str, Callable[[Sequence[Prediction]], Floats]] = MappingProxyType(
    {
        "wer": word_totals,
        "cer": character_totals,
        "mean_length": lengths,
        "bits_per_byte": code_lengths,
        "cider_d": _cider_totals,
        "sbert_similarity": lambda run: values_of("sbert_similarity", run),
        "bertscore": lambda run: values_of("bertscore", run),
    }
)
RANKINGS: Mapping[str, Callable[[Table, Floats], Floats]] = MappingProxyType({"map": map_of, "d_prime": d_prime_of})
RANGES = MappingProxyType({"map": (0.0, 1.0), "d_prime": (-np.inf, np.inf)})


def metric_interval(metric: str, runs: Runs, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Any registered metric with its interval, averaged over runs on the same items.

    The interval is about new items for these runs (seeds), not about new seeds. Its method is "none", and its ends are
    nan, where none can be computed.

    Args:
        metric: a name in `METRICS`.
        runs: the predictions of each run, the same items in the same order.
        draws: resamples.
        seed: of this call's own generator.

    Raises:
        ScoringError: no items, runs over different items, too few groups, or no value.
    """
    METRICS.check(metric)
    groups = shared_groups(metric, runs)
    if metric in SHARES:
        return mean_interval(np.mean([SHARES[metric](run) for run in runs], axis=0), groups, draws=draws, seed=seed)
    if metric in RATIOS:
        return _ratio_interval([RATIOS[metric](run) for run in runs], groups, draws=draws, seed=seed)
    if metric in SUMS:
        return _sums_interval(metric, runs, groups, draws=draws, seed=seed)
    if metric in RANKINGS:
        return _ranking_interval(metric, runs, groups, draws=draws, seed=seed)
    function = METRICS.load(metric)
    if metric in WITHOUT_INTERVAL:
        return _without(float(np.mean([function(run) for run in runs])))
    return bootstrap_statistic(
        lambda indices: float(np.mean([function([run[index] for index in indices]) for run in runs])),
        groups,
        draws=draws,
        seed=seed,
    )


def _ratio_interval(totals: Sequence[Floats], groups: Sequence[str], *, draws: int, seed: int) -> Interval:
    """A ratio of sums in every draw: long items count for more, in the interval as in the rate itself."""
    codes, _ = group_codes(groups, len(totals[0]))
    above = np.mean([found[:, 0] for found in totals], axis=0)  # (E,)
    below = totals[0][:, 1]
    sums: Floats = np.stack([np.bincount(codes, above), np.bincount(codes, below)], axis=1)  # (G, 2)
    resampled = resampled_sums(sums, draws, seed)  # (R, 2)
    value, ratios = float(above.sum() / below.sum()), resampled[:, 0] / np.maximum(resampled[:, 1], 1)
    if np.ptp(ratios) == 0:  # no width would claim certainty
        return _without(value)
    return percentile(value, ratios, _method(groups))


def _sums_interval(metric: str, runs: Runs, groups: Sequence[str], *, draws: int, seed: int) -> Interval:
    """A formula over what a draw's groups add up to, averaged over the runs; the draws are the same for every run."""
    totals, formula = SUMS[metric]
    codes, num_groups = group_codes(groups, len(runs[0]))
    point, resampled = 0.0, np.zeros(draws)
    for run in runs:
        sums = totals(run, codes, num_groups)  # (G, any)
        point += float(formula(sums.sum(axis=0))) / len(runs)
        resampled += formula(resampled_sums(sums, draws, seed)) / len(runs)
    if np.ptp(resampled) == 0:  # no width would claim certainty; Wilson's is of shares alone
        return wilson_over_groups(point, num_groups) if totals is _class_counts else _without(point)
    return percentile(point, resampled, _method(groups))


def _ranking_interval(metric: str, runs: Runs, groups: Sequence[str], *, draws: int, seed: int) -> Interval:
    """Clips are ranked anew in every draw, which is slow: fewer draws where there are many scores.

    A clip that is drawn twice ranks beside itself, so that almost every draw is better than the value, and percentiles
    would not hold it. The draws are moved until their mean is the value; their spread is right as it is.
    """
    measure, tables = RANKINGS[metric], [table_of(run) for run in runs]
    codes, num_groups = group_codes(groups, len(runs[0]))

    def mean(weights: Floats) -> Floats:
        found: Floats = np.mean([measure(table, weights) for table in tables], axis=0)
        return found

    value = float(mean(np.ones((len(groups), 1)))[0])
    if not np.isfinite(value):
        return _without(float(np.mean([METRICS.load(metric)(run) for run in runs])))  # raises, and says why
    many = len(groups) * len(tables[0].columns) > MANY_SCORES
    fewer = min(draws, FEW_DRAWS) if many else draws
    rng = np.random.default_rng(seed)
    sizes = draw_batches(fewer, len(groups))
    resampled = np.concatenate([mean(draw_weights(num_groups, size, rng).T[codes]) for size in sizes])
    if not np.isfinite(resampled).all() or np.ptp(resampled) == 0:  # no width would claim certainty
        return _without(value)
    method = _method(groups) + ", centred" + ("" if fewer == draws else f", {fewer} draws")
    low, high = RANGES[metric]
    return percentile(value, np.clip(resampled - resampled.mean() + value, low, high), method)


def _class_counts(run: Sequence[Prediction], codes: Indices, num_groups: int) -> Floats:
    """(G, 3 K) hits, references and answers of each class among the references."""
    classes = {label: number for number, label in enumerate(sorted({item.reference for item in run}))}
    counts = np.zeros((num_groups, 3, len(classes)))
    for group, item in zip(codes, run, strict=True):
        answer = classes.get(answered_class(item))
        counts[group, 1, classes[item.reference]] += 1
        if answer is not None:
            counts[group, 2, answer] += 1
            counts[group, 0, answer] += item.correct
    return counts.reshape(num_groups, -1)


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


def _added(counts_of_items: Callable[[Sequence[Prediction]], Floats]) -> Callable[..., Floats]:
    """What the counts of each item, (E, any), add up to in each group."""

    def sums(run: Sequence[Prediction], codes: Indices, num_groups: int) -> Floats:
        counts = counts_of_items(run)
        totals = np.zeros((num_groups, counts.shape[1]))
        np.add.at(totals, codes, counts)
        return totals

    return sums


# Metrics that are a formula of sums over items: what a group adds up to, and the formula.
SUMS: Mapping[str, tuple[Callable[[Sequence[Prediction], Indices, int], Floats], Callable[[Floats], Floats]]]
SUMS = MappingProxyType(
    {
        "balanced_accuracy": (_class_counts, _recall),
        "macro_f1": (_class_counts, _f1),
        "bleu": (_added(lambda run: text_counts("bleu", run)), lambda sums: text_score("bleu", sums)),
        "chrf": (_added(lambda run: text_counts("chrf", run)), lambda sums: text_score("chrf", sums)),
        "meteor": (_added(counts_of), meteor_score),
    }
)


def _without(value: float) -> Interval:
    return Interval(value, np.nan, np.nan, NO_INTERVAL)


def _method(groups: Sequence[str]) -> str:
    return "bootstrap" if len(set(groups)) == len(groups) else "clustered bootstrap"
