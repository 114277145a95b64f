"""From observations to a calibration of strangeness, and from that to a verdict: pure functions, no files.

The scores are fitted to cases that the network knows, and ranked among cases that neither it nor the scores
have seen; a new case is exchangeable with these, so that its p-value keeps its level whatever n is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .calibration import DistributionSection, FoldCases, GuaranteeKind, Levels
from .conformal import Combined, combined, cross_combined
from .learnt import LearntContract
from .scores.robust import Usual
from .scores.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from .scores.observation import Observation

    Floats = NDArray[np.float64]
    Fit = Callable[[Sequence[Observation]], "ScoreVector"]

LEAST_SCALE = 1e-6  # of a score that is constant among the known cases


class ScoreVector(Protocol):
    """Several scores of a case: ``Scorer``, or another way to score that is to be compared with it."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scores, in the vector's order."""

    def __call__(self, observation: Observation) -> Floats:
        """Return (scores,): larger is stranger, NaN where there is none."""


@dataclass(frozen=True)
class Settings:
    """How a distribution is calibrated.

    Attributes:
        levels: see ``Levels``.
        pac: share of all calibrations that may break the levels; None keeps them on average.
        fit: makes scores of known cases.
        fixed: also make a statistic that depends on the fitted cases alone; drift and ``pac`` need it.
    """

    levels: Levels = field(default_factory=Levels)
    pac: float | None = None
    fit: Fit = Scorer.fit
    fixed: bool = True


@dataclass(frozen=True, eq=False)
class FoldObservations:
    """Cases of one fold: those that its network was trained with, and those that it has not seen.

    Attributes:
        name: of the fold.
        fitted: cases that its network was trained with.
        ranked: cases that it has not seen.
        refused: number of further such cases that the input contract refused.
    """

    name: str
    fitted: Sequence[Observation]
    ranked: Sequence[Observation]
    refused: int = 0


@dataclass(frozen=True, eq=False)
class FoldScores:
    """Scores of one fold, and the cases that new ones are ranked against.

    Attributes:
        scorer: fitted to cases that the fold's network knows.
        pool: (n, scores) of cases that neither has seen.
        usual: each score's median and spread among known cases that it was not fitted to; None where nothing
            needs it. Unlike those of the pool, they make a statistic that is the same for every case.
        strangest: median and spread of the ranked cases' strangest tiles; None without tiles.
    """

    scorer: ScoreVector
    pool: Floats
    usual: Usual | None = None
    strangest: Usual | None = None

    def fixed(self, scores: Floats) -> float:
        """Largest deviation of a case's scores, upwards; minus infinity where it has none."""
        if self.usual is None:
            raise ValueError("there is no fixed statistic; calibrate with Settings(fixed=True)")
        z = (scores - self.usual.centre) / self.usual.scale
        return float(np.where(np.isnan(z), -np.inf, z).max(initial=-np.inf))


@dataclass(frozen=True, eq=False)
class DistributionModel:
    """Everything that a verdict needs.

    Attributes:
        section: what is told of it.
        folds: one for each fold whose cases are ranked; several only where no case is new to all of them.
    """

    section: DistributionSection
    folds: tuple[FoldScores, ...]

    def scores(self, observations: Sequence[Observation]) -> list[Floats]:
        """Score a case with each fold's scores.

        Args:
            observations: of the case, one for each fold; a single one stands for all.

        Raises:
            ValueError: for another number of observations, or a case of another model.
        """
        given = list(observations) * (len(self.folds) if len(observations) == 1 else 1)
        if len(given) < len(self.folds):
            raise ValueError(f"{len(given)} observations for {len(self.folds)} folds; give one for each fold")
        return [fold.scorer(case) for fold, case in zip(self.folds, given, strict=False)]

    def combine(self, scores: Sequence[Floats]) -> Combined:
        """Combine a case's scores into one p-value; see ``conformal``.

        Calibration cases that the contract refused are stranger than any case that has scores.
        """
        pools = [fold.pool for fold in self.folds]
        found = combined(scores[0], pools[0]) if len(pools) == 1 else cross_combined(scores, pools)
        return found.among_stranger(self.section.refused)

    def fixed(self, scores: Sequence[Floats]) -> float:
        """Statistic that depends on the fitted cases alone: for drift. Mean over the folds."""
        return float(np.mean([fold.fixed(own) for fold, own in zip(self.folds, scores, strict=True)]))

    def fixed_pool(self) -> Floats:
        """(n,) the same statistic of the ranked cases, fold after fold."""
        return np.array([fold.fixed(row) for fold in self.folds for row in fold.pool])


def calibrate_distribution(
    fitted: Sequence[Observation],
    ranked: Sequence[Observation],
    settings: Settings = Settings(),
) -> DistributionModel:
    """Calibrate with one pool of cases that are new to all networks.

    Args:
        fitted: known cases; those that the networks were trained with.
        ranked: cases that neither networks nor scores know, one of each patient. What is promised holds for
            new cases that are exchangeable with these. Never pass a fitted case.
        settings: levels and scores.

    Raises:
        ValueError: for no cases to fit to, or cases of different models.
    """
    return calibrate_folds([FoldObservations("bundle", fitted, ranked)], settings)


def calibrate_folds(
    folds: Sequence[FoldObservations],
    settings: Settings = Settings(),
    *,
    guarantee: GuaranteeKind = GuaranteeKind.CONFORMAL,
    remark: str | None = None,
    learnt: LearntContract | None = None,
) -> DistributionModel:
    """Calibrate with each fold's own cases.

    Args:
        folds: at least one.
        settings: levels and scores.
        guarantee: what the levels promise.
        remark: why no more is promised.
        learnt: what the known cases look like; None learns it from the fitted cases.

    Raises:
        ValueError: for no folds, no cases to fit to, or cases of different models.
    """
    if not folds:
        raise ValueError("there are no folds; give at least one")
    made = tuple(_fold_scores(fold, settings) for fold in folds)
    refused = sum(fold.refused for fold in folds)
    n = sum(len(fold.ranked) for fold in folds) + refused
    section = DistributionSection(
        guarantee=guarantee if n else GuaranteeKind.NONE,
        remark=remark,
        n=n,
        refused=refused,
        scores=made[0].scorer.names,
        folds=tuple(
            FoldCases(fold=fold.name, fitted=len(fold.fitted), ranked=len(fold.ranked)) for fold in folds
        ),
        levels=settings.levels,
        pac=settings.pac,
        learnt=learnt or LearntContract.of([case for fold in folds for case in fold.fitted]),
    )
    return DistributionModel(section, made)


def _fold_scores(fold: FoldObservations, settings: Settings) -> FoldScores:
    scorer = settings.fit(fold.fitted)
    needs_usual = settings.fixed or settings.pac is not None
    usual = _usual(fold.fitted, settings.fit) if needs_usual and len(fold.fitted) > 1 else None
    return FoldScores(scorer, score_all(scorer, fold.ranked), usual)


def score_all(scorer: ScoreVector, observations: Sequence[Observation]) -> Floats:
    """Score cases: (cases, scores)."""
    return np.array([scorer(case) for case in observations]).reshape(len(observations), len(scorer.names))


def _usual(known: Sequence[Observation], fit: Fit) -> Usual:
    """How scores spread among known cases: each half scored by what was fitted to the other."""
    halves = known[::2], known[1::2]
    scores = [score_all(fit(other), half) for half, other in (halves, halves[::-1])]
    return Usual.of(np.concatenate(scores), least=LEAST_SCALE)
