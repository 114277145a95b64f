"""How sure differences are: a bootstrap over cases and trainings, paired tests, ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from nnunet_losses.serve.metrics.intervals import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Statistic = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

SIGNIFICANCE = 0.05


@dataclass(frozen=True, eq=False)
class Resamples:
    """Draws of cases and of trainings, crossed: both vary, and every figure sees the same draws.

    Differences between losses are thereby paired: by case, and by fold and seed. With few trainings the
    interval knows little about them.

    Attributes:
        cases: (resamples, cases) how often each case was drawn.
        runs: (resamples, runs) how often each training was drawn.
        level: of the intervals.
    """

    cases: NDArray[np.float64]
    runs: NDArray[np.float64]
    level: float = 0.95

    @staticmethod
    def draw(cases: int, runs: int, *, resamples: int = 2000, seed: int = 0) -> Resamples:
        """Draw; equal seeds draw the same."""
        generator = np.random.default_rng(seed)
        draws = [
            generator.multinomial(count, np.full(count, 1 / max(count, 1)), size=resamples).astype(np.float64)
            for count in (cases, runs)
        ]
        return Resamples(draws[0], draws[1])

    def mean(self, values: NDArray[np.float64]) -> Estimate:
        """Mean of values (runs, cases) with its interval; NaN does not count.

        Example:
            >>> draws = Resamples.draw(3, 1)
            >>> draws.mean(np.array([[0.5, 1.0, np.nan]])).value
            0.75
        """
        return self.estimate(_mean(values), self.drawn_means(values), _counted(values))

    def drawn_means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of values (runs, cases) in every resample (resamples,)."""
        known = ~np.isnan(values)
        sums = np.einsum("br,rc,bc->b", self.runs, np.where(known, values, 0.0), self.cases, optimize=True)
        counts = np.einsum("br,rc,bc->b", self.runs, known.astype(np.float64), self.cases, optimize=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn: NDArray[np.float64] = sums / counts
        return drawn

    def statistic(self, values: NDArray[np.float64], of_run: Statistic) -> Estimate:
        """Mean over trainings of a statistic of each one's cases, such as an AUROC.

        Args:
            values: (runs, cases, ...) what the statistic is computed from.
            of_run: from the cases of one training (cases, ...) and weights (resamples, cases), how often each
                counts, the statistic (resamples,); NaN where it has none.
        """
        ones = np.ones((1, values.shape[1]))
        value = _mean(np.concatenate([of_run(run, ones) for run in values]))
        by_run = np.stack([of_run(run, self.cases) for run in values], axis=1)
        weights = np.where(np.isnan(by_run), 0.0, self.runs)
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = (np.nan_to_num(by_run) * weights).sum(axis=1) / weights.sum(axis=1)
        return self.estimate(value, drawn, values.shape[1])

    def estimate(self, value: float, drawn: NDArray[np.float64], n: int) -> Estimate:
        """Give a figure the percentile interval of its resamples (resamples,); NaN says nothing."""
        drawn = drawn[~np.isnan(drawn)]
        if math.isnan(value) or not drawn.size:
            return Estimate(value, math.nan, math.nan, n)
        tail = (1 - self.level) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail], method="inverted_cdf")
        return Estimate(value, float(low), float(high), n)


@dataclass(frozen=True)
class Pair:
    """Two losses compared case by case.

    Attributes:
        first: loss.
        second: loss.
        difference: first minus second, mean over cases, with its bootstrap interval.
        p: of the Wilcoxon signed-rank test, two-sided.
        p_holm: the same, corrected for the number of pairs (Holm).
    """

    first: str
    second: str
    difference: Estimate
    p: float
    p_holm: float

    @property
    def shown(self) -> bool:
        """Whether a difference can be shown: by the test, and by the interval, which also knows trainings.

        The test sees the mean over trainings alone, so by itself it would say nothing about a further one.
        """
        return self.passes_test and not self.difference.low <= 0 <= self.difference.high

    @property
    def passes_test(self) -> bool:
        """Whether these trainings differ on further cases."""
        return self.p_holm < SIGNIFICANCE


@dataclass(frozen=True)
class Ranking:
    """Losses ordered by their mean rank over cases, and who cannot be told apart.

    Attributes:
        mean_ranks: by loss, 1 is best; best first.
        friedman_p: that all rank alike; NaN for fewer than three losses.
        groups: runs of neighbours in this order among which no pair differs; only those of two or more.
        cases: number of cases behind it.
    """

    mean_ranks: Mapping[str, float]
    friedman_p: float
    groups: tuple[tuple[str, ...], ...]
    cases: int


def compare_pairs(values: Mapping[str, NDArray[np.float64]], resamples: Resamples) -> tuple[Pair, ...]:
    """Compare all pairs of losses, case by case.

    Args:
        values: by loss, (runs, cases), larger is better; NaN does not count.
        resamples: for the intervals of the differences.
    """
    means = {loss: case_means(one) for loss, one in values.items()}
    names = list(combinations(values, 2))
    raw = [wilcoxon_p(means[first] - means[second]) for first, second in names]
    return tuple(
        Pair(first, second, _difference(values[first], values[second], resamples), p, corrected)
        for (first, second), p, corrected in zip(names, raw, holm(raw), strict=True)
    )


def wilcoxon_p(differences: NDArray[np.float64]) -> float:
    """P value of the signed-rank test; 1 where no difference is left. Ties and zeros after Pratt.

    Example:
        >>> round(wilcoxon_p(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])), 5), wilcoxon_p(np.zeros(5))
        (0.03125, 1.0)
    """
    known = differences[~np.isnan(differences)]
    if not np.any(known):
        return 1.0
    exact = bool(np.all(known)) and len(np.unique(np.abs(known))) == len(known) <= 50
    if exact:
        return float(stats.wilcoxon(known, zero_method="pratt", method="exact").pvalue)
    return float(stats.wilcoxon(known, zero_method="pratt", method="approx").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number (Holm 1979).

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = largest
    return corrected


def rank(values: Mapping[str, NDArray[np.float64]], pairs: Sequence[Pair]) -> Ranking:
    """Rank losses case by case, as Demsar 2006 (https://jmlr.org/papers/v7/demsar06a.html) does on data sets.

    Groups come from the paired tests instead of Nemenyi's critical difference, as Benavoli et al. 2016
    (https://jmlr.org/papers/v17/benavoli16a.html) recommend.

    Args:
        values: by loss, (runs, cases), larger is better.
        pairs: of ``compare_pairs``.
    """
    losses = list(values)
    table = np.stack([case_means(values[loss]) for loss in losses])
    table = table[:, ~np.isnan(table).any(axis=0)]
    mean_ranks = stats.rankdata(-table, axis=0).mean(axis=1) if table.size else np.full(len(losses), math.nan)
    order = [losses[index] for index in np.argsort(mean_ranks, kind="stable")]
    differs = {frozenset((pair.first, pair.second)) for pair in pairs if pair.shown}
    by_loss = dict(zip(losses, map(float, mean_ranks), strict=True))
    friedman = math.nan
    if len(losses) > 2 and table.shape[1] > 1 and np.ptp(table, axis=0).any():
        friedman = float(stats.friedmanchisquare(*table).pvalue)
    return Ranking({loss: by_loss[loss] for loss in order}, friedman, _groups(order, differs), table.shape[1])


def _groups(order: Sequence[str], differs: set[frozenset[str]]) -> tuple[tuple[str, ...], ...]:
    """Longest runs of neighbours without a pair that differs."""
    found: list[tuple[str, ...]] = []
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and not any(
            frozenset((order[end], one)) in differs for one in order[start:end]
        ):
            end += 1
        group = tuple(order[start:end])
        if len(group) > 1 and not (found and set(group) <= set(found[-1])):
            found.append(group)
    return tuple(found)


def case_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over trainings of each case (cases,); NaN where none counts."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: NDArray[np.float64] = np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)
    return means


def weighted_auroc(scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chance that a positive case scores higher than another one; ties count half.

    Args:
        scores: (cases, 2): score, and 1 for positive or 0; cases with a NaN are left out.
        weights: (resamples, cases) how often each counts.

    Returns:
        (resamples,), NaN where there are not both kinds.

    Example:
        >>> weighted_auroc(np.array([[0.9, 1], [0.4, 1], [0.4, 0], [0.1, 0]]), np.ones((1, 4)))
        array([0.875])
    """
    known = ~np.isnan(scores).any(axis=1)
    positive, negative = known & (scores[:, 1] > 0), known & (scores[:, 1] == 0)
    own, other = scores[positive, 0][:, None], scores[negative, 0][None, :]
    wins = (own > other) + 0.5 * (own == other)
    pairs = weights[:, positive].sum(axis=1) * weights[:, negative].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        chance: NDArray[np.float64] = ((weights[:, positive] @ wins) * weights[:, negative]).sum(
            axis=1
        ) / pairs
    return chance


def _difference(first: NDArray[np.float64], second: NDArray[np.float64], resamples: Resamples) -> Estimate:
    drawn = resamples.drawn_means(first) - resamples.drawn_means(second)
    both = _counted(np.where(np.isnan(second), math.nan, first))
    return resamples.estimate(_mean(first) - _mean(second), drawn, both)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _counted(values: NDArray[np.float64]) -> int:
    return int((~np.isnan(values)).any(axis=0).sum())
