"""Two plain classifiers of one vector per clip, linear and nearest neighbours: what is there without any LLM.

Shape letters: E clips, D numbers of a clip's vector, K choices. Both are fitted on standardised vectors, and give log
probabilities that are finite for every choice, those too that no training clip has.

Sources: a logistic regression on features averaged over time, its regularisation chosen on validation clips, is the
linear probe of SUPERB (arXiv 2105.01051), HEAR (arXiv 2203.03022) and X-ARES (arXiv 2505.16369); X-ARES has the nearest
neighbours too. Ours: the deviation beside the mean, the choice by likelihood, one neighbour more (`Neighbours`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)  # C of scikit-learn: a larger one regularises less
NUMBERS = (1, 2, 4, 8, 16, 32)  # of neighbours
PATIENCE = 2  # settings in a row that are no better than the best before: the others are not tried
MAX_ITERATIONS, TOLERANCE = 1000, 1e-4  # of L-BFGS; the tolerance is scikit-learn's own

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Vectors and what is right of each."""

    vectors: Floats  # (E, D)
    labels: npt.NDArray[np.bool_]  # (E, K)
    several: bool  # whether a clip may have several labels, each a question of its own; else one of K


class PooledProbe(Protocol):
    """A fitted classifier."""

    def log_probabilities(self, vectors: Floats) -> Floats:
        """(E, D) → (E, K) natural logarithms; with one label for each clip, K probabilities that sum to 1."""
        ...

    def state(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """What was learned of the training clips, by name; nothing of what can be read from them again."""
        ...


@dataclass(frozen=True, eq=False)
class Chosen:
    """The probe of the setting under which validation clips are likeliest, and how likely they are under each."""

    probe: PooledProbe
    setting: float
    tried: Mapping[float, float]  # setting → mean log likelihood of a validation clip


def choose(probes: Iterable[tuple[float, PooledProbe]], held: Labelled) -> Chosen:
    """The best of several probes; the first of those that are equally good.

    Args:
        probes: setting and probe, the most regularised first; fitted as they are asked for.
        held: validation clips.
    """
    rest = iter(probes)
    setting, probe = next(rest)
    tried = {setting: log_likelihood(probe.log_probabilities(held.vectors), held)}
    best, worse = Chosen(probe, setting, tried), 0
    for setting, probe in rest:
        tried[setting] = log_likelihood(probe.log_probabilities(held.vectors), held)
        if tried[setting] > tried[best.setting]:
            best, worse = Chosen(probe, setting, tried), 0
        elif (worse := worse + 1) == PATIENCE:
            break
    return best


def log_likelihood(found: Floats, right: Labelled) -> float:
    """Mean over clips of the log probability of what is right: of any of its answers, or of all labels together.

    Args:
        found: (E, K) log probabilities.
        right: of the same clips.
    """
    if not right.several:
        of_right = np.where(right.labels, found, -np.inf)
        return float(np.logaddexp.reduce(of_right, axis=1).mean())
    absent = np.log(-np.expm1(np.minimum(found, -np.finfo(float).eps)))
    return float(np.where(right.labels, found, absent).sum(axis=1).mean())


@dataclass(frozen=True, eq=False)
class Scale:
    """Zero mean and unit deviation of the training vectors; a number that never changes stays zero."""

    mean: Floats  # (D,)
    deviation: Floats  # (D,)

    @classmethod
    def of(cls, vectors: Floats) -> Scale:
        deviation = vectors.std(axis=0)
        smallest = np.finfo(np.float32).eps * np.abs(vectors).max(axis=0, initial=0.0)  # below it is rounding
        return cls(vectors.mean(axis=0), np.where(deviation > smallest, deviation, np.inf))

    def __call__(self, vectors: Floats) -> Floats:
        return (vectors - self.mean) / self.deviation


@dataclass(frozen=True, eq=False)
class Linear:
    """Logistic regression: of K choices one, or each label against its absence."""

    scale: Scale
    weight: Floats  # (K, D); zero for a choice of which there was nothing to learn
    bias: Floats  # (K,)
    counts: Floats  # (K,) training clips of each choice
    clips: int  # for training
    several: bool

    def log_probabilities(self, vectors: Floats) -> Floats:
        scores = self.scale(vectors) @ self.weight.T + self.bias  # (E, K)
        if self.several:
            rates = np.log((self.counts + 1) / (self.clips + 2))
            return np.where(_learnable(self.counts, self.clips), -np.logaddexp(0, -scores), rates)
        there, total = self.counts > 0, self.clips + len(self.counts)
        known = scores - np.logaddexp.reduce(scores[:, there], axis=1, keepdims=True)
        known += np.log1p(-np.count_nonzero(~there) / total)
        return np.where(there, known, -np.log(total))  # rule of succession for what was never seen

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        return {
            "mean": self.scale.mean,
            "deviation": self.scale.deviation,
            "weight": self.weight,
            "bias": self.bias,
            "counts": self.counts,
            "clips": np.array(self.clips),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[np.generic]], *, several: bool) -> Linear:
        mean, deviation, weight, bias, counts = (
            state[name].astype(np.float64) for name in ("mean", "deviation", "weight", "bias", "counts")
        )
        return cls(Scale(mean, deviation), weight, bias, counts, int(state["clips"].item()), several)


def linear_probes(train: Labelled, strengths: Iterable[float] = STRENGTHS) -> Iterator[tuple[float, Linear]]:
    """The regression under each strength, each starting where the one before ended.

    Args:
        train: the clips to learn from.
        strengths: values of C, rising.
    """
    scale, clips = Scale.of(train.vectors), len(train.labels)
    counts = train.labels.sum(axis=0).astype(np.float64)
    inputs, back = _rotated(scale(train.vectors))
    learned = np.flatnonzero(_learnable(counts, clips) if train.several else counts > 0)
    model = (_Labels if train.several else _Classes)(inputs, train.labels[:, learned])
    for strength in strengths:
        weight, bias = np.zeros((len(counts), inputs.shape[1])), np.zeros(len(counts))
        weight[learned], bias[learned] = model.fit(strength)
        yield strength, Linear(scale, weight @ back, bias, counts, clips, train.several)


class _Classes:
    """One label of several for each clip: scikit-learn's multinomial regression, fitted again under each strength."""

    def __init__(self, inputs: Floats, labels: npt.NDArray[np.bool_]) -> None:
        from sklearn.linear_model import LogisticRegression

        self._inputs, self._labels = inputs, labels
        self._model = LogisticRegression(max_iter=MAX_ITERATIONS, tol=TOLERANCE, warm_start=True)

    def fit(self, strength: float) -> tuple[Floats, Floats]:
        """(K, D) weights and (K,) biases; of two classes scikit-learn gives one row, that of the second."""
        from sklearn.exceptions import ConvergenceWarning

        rows = self._labels.shape[1]
        if rows == 1:  # the one class there is
            return np.zeros((1, self._inputs.shape[1])), np.zeros(1)
        with warnings.catch_warnings():  # validation says how good a fit is that stopped at its last iteration
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._model.set_params(C=strength).fit(self._inputs, self._labels.argmax(axis=1))
        missing = rows - len(self._model.coef_)
        return np.pad(self._model.coef_, ((missing, 0), (0, 0))), np.pad(self._model.intercept_, (missing, 0))


class _Labels:
    """Any number of labels for each clip: a regression each, with the loss of scikit-learn's, all in one product.

    One by one they would read the inputs hundreds of times as often: hours in place of minutes for 200 labels.
    """

    def __init__(self, inputs: Floats, labels: npt.NDArray[np.bool_]) -> None:
        self._inputs, self._labels = inputs, labels.astype(np.float64)
        self._found = np.zeros((labels.shape[1], inputs.shape[1] + 1))  # (K, D + 1): weights and bias

    def fit(self, strength: float) -> tuple[Floats, Floats]:
        """(K, D) weights and (K,) biases."""
        from scipy.optimize import minimize

        if self._found.size:
            limits = {"maxiter": MAX_ITERATIONS, "gtol": TOLERANCE, "ftol": 64 * np.finfo(np.float64).eps}
            start, loss = self._found.ravel(), partial(self._loss, strength=strength)
            found = minimize(loss, start, jac=True, method="L-BFGS-B", options=limits)
            self._found = found.x.reshape(self._found.shape)
        return self._found[:, :-1], self._found[:, -1]

    def _loss(self, flat: Floats, *, strength: float) -> tuple[float, Floats]:
        """Mean over clips of the loss of all labels with its penalty, and the gradient, flat like the parameters."""
        parameters, clips = flat.reshape(self._found.shape), len(self._inputs)
        weight = parameters[:, :-1]
        scores = self._inputs @ weight.T + parameters[:, -1]  # (E, K)
        loss = np.logaddexp(0, scores).sum() - (self._labels * scores).sum() + 0.5 / strength * np.square(weight).sum()
        errors = _sigmoid(scores) - self._labels
        gradient = np.column_stack([errors.T @ self._inputs + weight / strength, errors.sum(axis=0)])
        return float(loss) / clips, gradient.ravel() / clips


def _sigmoid(scores: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(0.5 * scores))


def _learnable(counts: Floats, clips: int) -> npt.NDArray[np.bool_]:
    """Labels that some training clips have and some lack."""
    return (counts > 0) & (counts < clips)


def _rotated(vectors: Floats) -> tuple[Floats, Floats]:
    """Coordinates in the space that the vectors span, where it has fewer dimensions than they have, and the way back.

    A rotation leaves the penalty on weights as it is, and no weight leaves that space: the fit is the same, and faster.
    """
    clips, dim = vectors.shape
    if dim <= clips:
        return vectors, np.eye(dim)
    basis, coordinates = np.linalg.qr(vectors.T)  # (D, E), (E, E)
    return coordinates.T, basis.T


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest training clips by the cosine of standardised vectors, and one neighbour more.

    That one has each label as often as the training clips do (by the rule of succession), so that no probability is 0.
    """

    scale: Scale
    train: Labelled
    number: int

    def log_probabilities(self, vectors: Floats) -> Floats:
        from sklearn.neighbors import NearestNeighbors

        index = NearestNeighbors(n_neighbors=self.number, metric="cosine", algorithm="brute")
        nearest = index.fit(self.scale(self.train.vectors)).kneighbors(self.scale(vectors), return_distance=False)
        votes = np.zeros((len(vectors), self.train.labels.shape[1]))
        for place in range(self.number):
            votes += self.train.labels[nearest[:, place]]
        clips, choices = self.train.labels.shape
        usual = (self.train.labels.sum(axis=0) + 1) / (clips + (2 if self.train.several else choices))
        found: Floats = np.log((votes + usual) / (self.number + 1))
        return found

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        return {}


def neighbour_probes(train: Labelled, numbers: Iterable[int] = NUMBERS) -> Iterator[tuple[float, Neighbours]]:
    """One for each number of neighbours; the most regularised has the most.

    Args:
        train: the clips among which they are.
        numbers: of them; more than there are clips means all clips.
    """
    scale = Scale.of(train.vectors)
    for number in sorted({min(number, len(train.labels)) for number in numbers}, reverse=True):
        yield number, Neighbours(scale, train, number)
