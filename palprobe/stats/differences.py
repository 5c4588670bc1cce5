"""Two probes on the same items, by any metric: the difference, its interval, and whether it could be chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from palprobe.types import Prediction

FLIPS = 10_000  # draws of a test that is not exact
ALPHA = 0.05

Tested = Mapping[int, Mapping[str, Prediction]]  # seed → item → prediction, folds pooled


@dataclass(frozen=True)
class Difference:
    """The first less the second, in the metric's units, on the items and seeds that both have."""

    value: float
    low: float  # 95 % interval, about new items and, with two seeds or more, new seeds
    high: float
    method: str  # of the interval
    p: float  # two-sided, unadjusted
    test: str  # that p is of
    by_seed: tuple[float, ...]  # the difference under each shared seed, in the order of the seeds
    n: int  # items that both have under every shared seed
    left_out: int  # items that only some have
    groups: int  # recordings or speakers among the n items

    @property
    def seeds_agree(self) -> bool:
        """Two seeds or more, and every one has the sign of the whole."""
        return len(self.by_seed) > 1 and (min(self.by_seed) > 0 or max(self.by_seed) < 0)

    def holds(self, p_adjusted: float) -> bool:
        """Whether it may be called real: by the test after Holm, by the interval, and under every seed.

        The test is about these trained probes. That a new seed would say the same is up to the interval.
        """
        return p_adjusted < ALPHA and self.seeds_agree and (self.low > 0 or self.high < 0)


def difference(metric: str, first: Tested, second: Tested, *, draws: int = FLIPS, seed: int = 0) -> Difference:
    """How much better or worse the first is, on the items that both have under every seed that both have.

    Args:
        metric: a name in `METRICS`.
        first: predictions by seed and item id, folds pooled.
        second: of the other probe.
        draws: of the test, where it is not exact, and of an interval over one seed.
        seed: of this call's own generators.

    Raises:
        ScoringError: no seed or item in common, fewer than two groups, other references for the same items, no value of
            the metric, or a metric that only counts different words.
    """
    raise NotImplementedError
