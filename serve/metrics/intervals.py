"""How sure a figure is: bootstrap over cases, and exact binomial intervals for shares of cases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval, and the number of cases that it comes from. NaN: there is none."""

    value: float
    low: float
    high: float
    n: int

    @staticmethod
    def nothing() -> Estimate:
        """Give the estimate from no case."""
        return Estimate(math.nan, math.nan, math.nan, 0)


def share(successes: int, cases: int, *, level: float = 0.95) -> Estimate:
    """Share of cases with its exact interval (Clopper and Pearson, https://doi.org/10.1093/biomet/26.4.404).

    Raises:
        ValueError: for more successes than cases, or a level outside of 0 to 1.

    Example:
        >>> estimate = share(9, 20)
        >>> estimate.value, round(estimate.low, 3), round(estimate.high, 3)
        (0.45, 0.231, 0.685)
    """
    check_level(level)
    if not 0 <= successes <= cases:
        raise ValueError(f"{successes} of {cases} cases is no share; give 0 to {cases}")
    if cases == 0:
        return Estimate.nothing()
    tail = (1 - level) / 2
    failures = cases - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0
    return Estimate(successes / cases, low, high, cases)


@dataclass(frozen=True)
class Bootstrap:
    """Percentile bootstrap that resamples whole cases, the same resamples for every figure.

    Figures about lesions, too: lesions of one case are not independent.

    Attributes:
        cases: number of cases.
        resamples: how often they are drawn.
        level: of the intervals.
        seed: of the drawing; equal seeds give equal intervals.
    """

    cases: int
    resamples: int = 2000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_level(self.level)
        if self.resamples < 1:
            raise ValueError(f"the number of resamples is {self.resamples}; draw at least once")

    def mean(self, values: NDArray[np.float64]) -> Estimate:
        """Mean of values (cases,); those that are NaN do not count.

        Example:
            >>> Bootstrap(cases=3).mean(np.array([0.5, 1.0, np.nan]))
            Estimate(value=0.75, low=0.5, high=1.0, n=2)
        """
        counted = ~np.isnan(values)
        return self.ratio(np.where(counted, values, 0.0), counted.astype(np.float64))

    def ratio(self, parts: NDArray[np.float64], wholes: NDArray[np.float64]) -> Estimate:
        """Sum of parts (cases,) over sum of wholes (cases,): found lesions over lesions, for example."""
        self._check(parts)
        infinite = np.isinf(parts)
        finite = np.where(infinite, 0.0, parts)
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = (self.weights @ finite) / (self.weights @ wholes)
            value = np.sum(parts) / np.sum(wholes) if np.any(wholes) else math.nan
        drawn[(self.weights @ infinite) > 0] = math.inf
        return self.estimate(float(value), drawn, int(np.count_nonzero(wholes)))

    def auroc(self, scores: NDArray[np.float64], present: NDArray[np.bool_]) -> Estimate:
        """Area under the ROC curve of scores (cases,), with an interval; NaN scores are left out."""
        self._check(scores)
        known = ~np.isnan(scores)
        positives, negatives = known & present, known & ~present
        wins = _wins(scores[positives], scores[negatives])
        of_positives, of_negatives = self.weights[:, positives], self.weights[:, negatives]
        pairs = of_positives.sum(axis=1) * of_negatives.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = ((of_positives @ wins) * of_negatives).sum(axis=1) / pairs
        return self.estimate(auroc(scores, present), drawn, int(np.count_nonzero(known)))

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """How often each case (column) was drawn in each resample (row)."""
        generator = np.random.default_rng(self.seed)
        chances = np.full(self.cases, 1 / max(self.cases, 1))
        return generator.multinomial(self.cases, chances, size=self.resamples).astype(np.float64)

    def estimate(self, value: float, drawn: NDArray[np.float64], n: int) -> Estimate:
        """Give a figure the interval of figures (resamples,) that were drawn; NaN does not count."""
        drawn = drawn[~np.isnan(drawn)]  # a resample without any case that counts says nothing
        if math.isnan(value) or not drawn.size:
            return Estimate(value, math.nan, math.nan, n)
        tail = (1 - self.level) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail], method="inverted_cdf")  # infinities stay infinite
        return Estimate(value, float(low), float(high), n)

    def _check(self, values: NDArray[np.float64]) -> None:
        if values.shape != (self.cases,):
            raise ValueError(
                f"the values have the shape {values.shape}; give one for each of {self.cases} cases"
            )


def auroc(scores: NDArray[np.float64], present: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: chance that a case with a lesion scores higher than one without; ties half.

    Args:
        scores: (cases,) larger: rather present; infinities are allowed, NaN is left out.
        present: (cases,) bool, or 0 and 1.

    Returns:
        0 to 1; NaN unless there are cases of both kinds.

    Example:
        >>> auroc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
        0.875
    """
    scores, present = np.asarray(scores, dtype=np.float64), np.asarray(present, dtype=bool)
    known = ~np.isnan(scores)
    positives, negatives = scores[known & present], scores[known & ~present]
    if not (positives.size and negatives.size):
        return math.nan
    return float(_wins(positives, negatives).mean())


def _wins(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> NDArray[np.float64]:
    """Outcome of each pair (positives, negatives): 1, or 0.5 for a tie, or 0."""
    higher: NDArray[np.float64] = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    return higher


def check_level(level: float) -> None:
    """Refuse a level of confidence that is none.

    Raises:
        ValueError: outside of 0 to 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"the level is {level}; it lies between 0 and 1")
