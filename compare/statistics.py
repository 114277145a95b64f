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

    With few trainings the interval knows little about them, and is too short for a further one; what is said
    about differences rests on ``difference_interval``.

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
        difference: first minus second, mean over what both were judged on, with its interval over cases and
            trainings (see ``difference_interval``). The intervals of all pairs hold together, at 95 %: each
            has the level 1 - 0.05 / pairs (Bonferroni).
        p: of the Wilcoxon signed-rank test, two-sided.
        p_holm: the same, corrected for the number of pairs (Holm).
        trainings: that both losses have; where no pair has two, intervals know cases alone.
    """

    first: str
    second: str
    difference: Estimate
    p: float
    p_holm: float
    trainings: int

    @property
    def shown(self) -> bool:
        """Whether a difference can be shown: by the test, and by the interval, which also knows trainings.

        The test sees the mean over trainings alone, so by itself it would say nothing about a further one.
        """
        return self.passes_test and (self.difference.low > 0 or self.difference.high < 0)

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


def compare_pairs(
    values: Mapping[str, NDArray[np.float64]], *, family: int | None = None
) -> tuple[Pair, ...]:
    """Compare all pairs of losses, case by case.

    Args:
        values: by loss, (runs, cases), larger is better; NaN does not count.
        family: number of differences whose intervals are to hold together (Bonferroni); None: all pairs.

    Example:
        >>> (pair,) = compare_pairs({"a": np.full((1, 6), 0.75), "b": np.full((1, 6), 0.5)})
        >>> pair.difference.value, pair.p, pair.shown
        (0.25, 0.03125, True)
    """
    names = list(combinations(values, 2))
    differences = [values[first] - values[second] for first, second in names]
    varying = _pooled_variance(differences, len(values))
    level = 1 - SIGNIFICANCE / (family or max(len(names), 1))
    raw = [wilcoxon_p(case_means(one)) for one in differences]
    return tuple(
        Pair(first, second, difference_interval(one, varying, level=level), p, corrected, _runs(one).size)
        for (first, second), one, p, corrected in zip(names, differences, raw, holm(raw), strict=True)
    )


@dataclass(frozen=True)
class Varying:
    """How much differences vary from training to training: a variance, and its degrees of freedom."""

    variance: float
    freedom: float


def difference_interval(
    differences: NDArray[np.float64], varying: Varying, *, level: float = 0.95
) -> Estimate:
    """Mean difference with an interval over further cases and further trainings: crossed random effects.

    Resampling a few trainings would be too sure: a third one lies outside of two in two of three cases. So
    the variance over trainings is that of all pairs of losses together, or of this pair where that is
    larger. That takes losses to vary alike: where one varies far more, a few trainings tell too little, and
    its intervals are too short. To this the variance over cases is added, and Student's t has the degrees of
    freedom that are left
    (Satterthwaite 1946, https://doi.org/10.2307/3002019). The design is that of readers and cases:
    Hillis 2007, https://doi.org/10.1002/sim.2532.

    Args:
        differences: (runs, cases), NaN where the case was not judged.
        varying: of the trainings, from all pairs; without degrees of freedom the interval knows cases alone.
        level: of the interval.
    """
    known, by_run, by_case = ~np.isnan(differences), _runs(differences), case_means(differences)
    by_case = by_case[~np.isnan(by_case)]
    value = _mean(differences)
    if by_case.size < 2:
        return Estimate(value, math.nan, math.nan, by_case.size)
    cases = float(by_case.var(ddof=1)) / by_case.size
    own = float(by_run.var(ddof=1)) if by_run.size > 1 else 0.0
    runs = max(own, varying.variance) / by_run.size if varying.freedom else 0.0
    shared = bool((known.sum(axis=0) > 1).any())  # else cases of their own are why trainings differ, too
    variance = cases + runs if shared or by_run.size < 2 else max(cases, runs)
    parts = cases**2 / (by_case.size - 1) + (runs**2 / varying.freedom if runs else 0.0)
    freedom = (cases + runs) ** 2 / parts if parts else math.inf
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(variance)
    return Estimate(value, value - half, value + half, by_case.size)


def _pooled_variance(differences: Sequence[NDArray[np.float64]], losses: int) -> Varying:
    """Of complete tables: twice the mean square of losses by trainings, and its degrees of freedom."""
    by_run = [one for one in map(_runs, differences) if one.size > 1]
    if not by_run:
        return Varying(0.0, 0.0)
    spare = sum(one.size - 1 for one in by_run)
    squares = sum(float(((one - one.mean()) ** 2).sum()) for one in by_run)
    return Varying(squares / spare, 2 * spare / losses)


def _runs(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over cases of each training that has any (runs,)."""
    means = case_means(values.T)
    return means[~np.isnan(means)]


_EXHAUSTED = 13  # 2^13 signs: SciPy tries all


def wilcoxon_p(differences: NDArray[np.float64]) -> float:
    """P value of the signed-rank test; 1 where no difference is left. Ties and zeros after Pratt.

    Exact, but for more than 13 differences with ties or zeros, or more than 50.

    Example:
        >>> round(wilcoxon_p(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])), 5), wilcoxon_p(np.zeros(5))
        (0.03125, 1.0)
        >>> wilcoxon_p(np.full(5, 0.1))  # both signs of each: 2 of 32 are as far from 0
        0.0625
    """
    known = differences[~np.isnan(differences)]
    if not np.any(known):
        return 1.0
    simple = bool(np.all(known)) and len(np.unique(np.abs(known))) == len(known)
    if simple and len(known) <= 50:
        return float(stats.wilcoxon(known, zero_method="pratt", method="exact").pvalue)
    if len(known) <= _EXHAUSTED:
        return float(stats.wilcoxon(known, zero_method="pratt", method=stats.PermutationMethod()).pvalue)
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


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _counted(values: NDArray[np.float64]) -> int:
    return int((~np.isnan(values)).any(axis=0).sum())
