"""Conformal p-values: how strange a case is among cases like those that the model was calibrated with.

A score is a number that grows with strangeness. Where the new case and the n calibration cases are
exchangeable, the p-value is at most alpha with a probability of at most alpha, whatever the score and
whatever n: Vovk et al., Algorithmic Learning in a Random World, https://doi.org/10.1007/b106715.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Scores = NDArray[np.float64]

# a median absolute deviation, and a mean one, times this estimate a normal standard deviation
MEDIAN_TO_DEVIATION = 1.4826
MEAN_TO_DEVIATION = float(np.sqrt(np.pi / 2))
LARGEST = np.finfo(float).max / 4  # of a score: sums of two and differences are numbers yet


@dataclass(frozen=True, eq=False)
class Combined:
    """One verdict from several scores.

    Attributes:
        p: conformal p-value of the case, from 1 / (n + 1) to 1.
        statistic: the case's largest robust z; minus infinity where it has no score at all.
        z: (scores,) robust z of each score; NaN for a score that the case has not.
        n: number of calibration cases.
    """

    p: float
    statistic: float
    z: Scores
    n: int

    def among_stranger(self, count: int) -> Combined:
        """Return the same with so many more calibration cases, all of them stranger than this one.

        Example:
            >>> combined(np.array([9.0]), np.array([[1.0], [2.0], [3.0]])).among_stranger(1).p
            0.4
        """
        at_least = round(self.p * (self.n + 1))  # as strange cases, this one among them
        n = self.n + count
        return Combined((at_least + count) / (n + 1), self.statistic, self.z, n)


def p_value(score: float, calibration: Scores) -> float:
    """Return the share of cases, the new one among them, that are at least as strange.

    Args:
        score: of the new case; infinity is allowed, NaN is not.
        calibration: (n,) scores of the calibration cases.

    Raises:
        ValueError: for NaN, which has no rank.

    Example:
        >>> p_value(3.0, np.array([1.0, 2.0, 3.0, 4.0]))  # 3 and 4 are as strange, and the case itself
        0.6
        >>> p_value(9.0, np.array([]))
        1.0
    """
    if np.isnan(score) or np.isnan(calibration).any():
        raise ValueError("a score is NaN, which has no rank; give a missing score an own meaning first")
    return float((1 + np.count_nonzero(calibration >= score)) / (calibration.size + 1))


def smallest_p(n: int) -> float:
    """Return the smallest p-value that n calibration cases can give.

    Example:
        >>> smallest_p(19)
        0.05
    """
    return 1 / (n + 1)


def cases_for(alpha: float) -> int:
    """Return how many calibration cases a level needs: below, no p-value is as small.

    Raises:
        ValueError: for a level outside of 0 to 1.

    Example:
        >>> cases_for(0.05), cases_for(0.1), cases_for(0.01)
        (19, 9, 99)
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; a level lies between 0 and 1")
    return int(np.ceil(1 / alpha - 1 - 1e-9))


def guaranteed_rank(n: int, alpha: float, *, delta: float = 0.05) -> int | None:
    """Return the largest rank whose threshold keeps alpha in all but a share delta of the calibrations.

    A conformal p-value keeps alpha on average over calibrations; an unlucky one keeps it worse. The realised
    false-alarm rate of the threshold "among the k largest" is Beta(k, n + 1 - k) distributed: Bates et al.,
    https://doi.org/10.1214/22-AOS2244.

    Returns:
        k: flag where p is at most k / (n + 1). None where n is too small for any.

    Example:
        >>> guaranteed_rank(50, 0.05), guaranteed_rank(100, 0.05), guaranteed_rank(400, 0.05)
        (None, 2, 13)
    """
    ranks = np.arange(1, n + 1)
    kept = ranks[stats.beta.ppf(1 - delta, ranks, n + 1 - ranks) <= alpha]
    return int(kept.max()) if kept.size else None


def combined(case: Scores, pool: Scores) -> Combined:
    """Combine several scores of a case into one p-value.

    Each score is standardised by median and median absolute deviation over calibration cases and new case
    together, and a case's statistic is the largest of its z. That is a symmetric function of all n + 1
    cases, so the p-value is exact however the scores depend on each other; and unlike a merging of single
    p-values, it can be small with few cases.

    Args:
        case: (scores,) of the new case; NaN for a score that it has not, which counts as nothing strange.
        pool: (n, scores) of the calibration cases, likewise.

    Example:
        >>> pool = np.array([[0.0, 5.0], [1.0, 6.0], [2.0, 7.0], [3.0, np.nan]])
        >>> result = combined(np.array([30.0, 6.0]), pool)
        >>> result.p, result.statistic > 8, result.n
        (0.2, True, 4)
    """
    z = robust_z(np.vstack([pool, case]))
    statistics = _largest(z)
    return Combined(p_value(float(statistics[-1]), statistics[:-1]), float(statistics[-1]), z[-1], len(pool))


def cross_combined(cases: Sequence[Scores], pools: Sequence[Scores]) -> Combined:
    """Combine scores of a case that was scored with each fold's own model.

    Fold k's calibration cases are ranked against the case as fold k's model scores it. Its p-value is at
    most alpha with a probability of at most 2 alpha by proof, and about alpha in practice: Vovk,
    Cross-conformal predictors, https://doi.org/10.1007/s10472-013-9368-4.

    Args:
        cases: for each fold, (scores,) of the new case.
        pools: for each fold, (n_k, scores) of the cases that it has not seen.

    Raises:
        ValueError: for no folds, or unequal numbers of them.

    Example:
        >>> first, second = np.array([[0.0], [1.0], [2.0]]), np.array([[10.0], [11.0], [12.0]])
        >>> cross_combined([np.array([1.5]), np.array([30.0])], [first, second]).p  # only 2 is as strange
        0.2857142857142857
    """
    if not pools or len(cases) != len(pools):
        raise ValueError(f"{len(cases)} cases for {len(pools)} folds; give one for each fold, at least one")
    each = [combined(case, pool) for case, pool in zip(cases, pools, strict=True)]
    stranger = sum(round(result.p * (result.n + 1)) - 1 for result in each)
    n = sum(result.n for result in each)
    z = np.stack([result.z for result in each])
    statistic = float(np.mean([result.statistic for result in each]))
    return Combined((1 + stranger) / (n + 1), statistic, _mean_of_present(z), n)


def robust_z(scores: Scores) -> Scores:
    """Standardise each column by its median and median absolute deviation, NaN left out.

    Where more than half of a column is equal the mean absolute deviation takes over; a column of one value
    becomes zeros. An infinite score has an infinite z.

    Args:
        scores: (cases, scores).

    Example:
        >>> robust_z(np.array([[1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])).round(3).tolist()
        [[-0.674, 0.0], [0.0, 0.0], [0.674, 0.0]]
    """
    if not scores.size:
        return scores.copy()
    finite = np.clip(scores, -LARGEST, LARGEST)  # NaN stays
    centre = _medians(finite)
    deviations = np.abs(finite - centre)
    scale = MEDIAN_TO_DEVIATION * _medians(deviations)
    for column in np.flatnonzero(scale == 0):
        present = deviations[~np.isnan(deviations[:, column]), column]
        scale[column] = MEAN_TO_DEVIATION * float(np.sum(present / present.size))
    with np.errstate(over="ignore"):  # an overflow is an infinite z, which ranks as it should
        z = (scores - centre) / np.where(scale == 0, 1.0, scale)
    return np.where((scale == 0) & ~np.isnan(scores), 0.0, z)


def _medians(columns: Scores) -> Scores:
    """Median of what is present in each column; NaN where nothing is. All columns at once: there are many."""
    ascending = np.sort(columns, axis=0)  # NaN last
    present = np.count_nonzero(~np.isnan(columns), axis=0)
    places = np.stack([np.maximum(present - 1, 0) // 2, np.minimum(present // 2, len(columns) - 1)])
    lower, upper = np.take_along_axis(ascending, places, axis=0)
    medians: Scores = (lower + upper) / 2
    return medians


def _largest(z: Scores) -> Scores:
    """Largest z of every row; minus infinity for a row without any."""
    largest: Scores = np.where(np.isnan(z), -np.inf, z).max(axis=1)
    return largest


def _mean_of_present(z: Scores) -> Scores:
    present = ~np.isnan(z)
    count = present.sum(axis=0)
    total = np.where(present, z, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
