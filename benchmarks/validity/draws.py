"""Calibrate, test, and count: false alarms over draws of cases that no other draw has.

Each draw takes n new phantoms to calibrate with and others to test with, and none twice. Calibrated is by the
function that ``nnunet-losses calibrate`` calls; decided by the rule of the served verdict.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.answer import Verdict
from nnunet_losses.serve.safety.calibration import Levels
from nnunet_losses.serve.safety.distribution import (
    DistributionModel,
    FoldObservations,
    Settings,
    calibrate_distribution,
    calibrate_folds,
)
from nnunet_losses.serve.safety.learnt import LearntContract
from nnunet_losses.serve.safety.scores.scorer import Scorer
from nnunet_losses.serve.safety.verdict import Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.safety.scores.observation import Observation

    from .kept import Kept

    Floats = NDArray[np.float64]

ALPHAS = (0.05, 0.1)
SIZES = (20, 50, 100, 200)
DRAWS, TESTED = 200, 10
CASES = DRAWS * (max(SIZES) + TESTED)
LEAKING_DRAWS = 60  # each fits all scores anew


@dataclass(frozen=True)
class Rate:
    """False alarms at one level with one number of calibration cases.

    Attributes:
        mean: over draws, of the share of new phantoms that were refused, suspicious or out of distribution.
        standard_error: of that mean.
    """

    alpha: float
    n: int
    draws: int
    tested: int
    mean: float
    standard_error: float

    @property
    def holds(self) -> bool:
        """Whether the rate is at most the level, and not far below it where n allows more."""
        not_above = self.mean <= self.alpha + 2 * self.standard_error
        return not_above and (self.n < 2 / self.alpha or self.mean >= self.alpha / 2)

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "holds": self.holds}


class Remembered:
    """Scores that were computed before, by case: a scorer fitted to the same cases gives the same again."""

    def __init__(self, names: tuple[str, ...], rows: dict[int, Floats]) -> None:
        self.names = names
        self._rows = rows

    def __call__(self, observation: Observation) -> Floats:
        return self._rows[id(observation)]


@dataclass(frozen=True, eq=False)
class Experiment:
    """Everything that draws have in common.

    Attributes:
        training: cases that the network was trained with and the scores are fitted to.
        learnt: what these look like, computed once.
        scorer: their scores; the very ones that every draw's calibration would fit anew.
        fresh: cases of the stream, without what only the scores need.
        refused: of each, whether the contract refuses it.
        whole: the first of them with everything, for scores that are fitted anew.
    """

    training: Sequence[Observation]
    learnt: LearntContract
    scorer: Remembered
    fresh: Sequence[Observation]
    refused: NDArray[np.bool_]
    whole: Sequence[Kept] = ()

    def calibrated(self, ranked: Sequence[Observation], alpha: float, refused: int = 0) -> DistributionModel:
        """Calibrate as the command does; what the contract refused counts as the strangest."""
        settings = Settings(levels=_levels(alpha), fit=lambda _: self.scorer, fixed=False)
        fold = FoldObservations("held_out", self.training, ranked, refused)
        return calibrate_folds([fold], settings, learnt=self.learnt)

    def leaking(self, known: Sequence[Observation], alpha: float) -> DistributionModel:
        """Calibrate wrongly: rank the very cases that the scores are fitted to."""
        settings = Settings(levels=_levels(alpha), fixed=False)
        return calibrate_folds([FoldObservations("leaking", known, known)], settings, learnt=self.learnt)

    def with_fixed_statistic(self) -> DistributionModel:
        """A calibration with the statistic that drift is watched by; it depends on the fitted cases alone."""
        model = calibrate_distribution(self.training, self.training[:1], Settings())
        return replace(model, folds=tuple(replace(fold, scorer=self.scorer) for fold in model.folds))


def experiment(training: Sequence[Observation], stream: Any, count: int) -> Experiment:
    """Fit the scores, and score every case once; the stream's cases are let go one by one."""
    scorer = Scorer.fit(training)
    rows = {id(case): scorer(case) for case in training}
    fresh, refused, whole = [], [], []
    for kept, index in zip(stream, range(count), strict=False):
        fresh.append(kept.observation)
        whole += [kept] if index < LEAKING_DRAWS * TESTED else []
        refused.append(kept.refused is not None)
        rows[id(kept.observation)] = scorer(kept.whole())
    remembered = Remembered(scorer.names, rows)
    return Experiment(training, LearntContract.of(training), remembered, fresh, np.array(refused), whole)


def false_alarms(setting: Experiment, *, alpha: float, n: int) -> Rate:
    """Share of new phantoms that are called strange.

    Args:
        setting: cases and scores.
        alpha: level.
        n: calibration cases of each draw.
    """
    needed = n + TESTED
    draws = min(DRAWS, len(setting.fresh) // needed)
    rates = []
    for draw in range(draws):
        cases = range(draw * needed, (draw + 1) * needed)
        accepted = [setting.fresh[index] for index in cases[:n] if not setting.refused[index]]
        model = setting.calibrated(accepted, alpha, refused=n - len(accepted))
        alarms = [
            _is_alarm(model, setting.fresh[index], refused=bool(setting.refused[index]))
            for index in cases[n:]
        ]
        rates.append(float(np.mean(alarms)))
    return _rate(alpha, n, rates)


def leaking_alarms(setting: Experiment, *, alpha: float, n: int) -> Rate:
    """Run the same test on calibrations that rank the cases that their scores were fitted to.

    This is what happens where somebody passes the training images as cases that the model has not seen.

    Args:
        setting: cases; of the scores nothing is taken.
        alpha: level.
        n: training cases of each draw.
    """
    random = np.random.default_rng([n, 7])
    rates = []
    for draw in range(min(LEAKING_DRAWS, len(setting.whole) // TESTED)):
        known = [setting.training[index] for index in random.permutation(len(setting.training))[:n]]
        model = setting.leaking(known, alpha)
        tested = setting.whole[draw * TESTED : (draw + 1) * TESTED]
        alarms = [_is_alarm(model, kept.whole(), refused=kept.refused is not None) for kept in tested]
        rates.append(float(np.mean(alarms)))
    return _rate(alpha, n, rates)


def _rate(alpha: float, n: int, rates: Sequence[float]) -> Rate:
    error = float(np.std(rates, ddof=1) / np.sqrt(len(rates)))
    return Rate(alpha, n, len(rates), TESTED, float(np.mean(rates)), error)


def _levels(alpha: float) -> Levels:
    return Levels(suspicious=alpha, out_of_distribution=alpha / 5)


def _is_alarm(model: DistributionModel, case: Observation, *, refused: bool) -> bool:
    """Refused by the contract, or any verdict but in distribution."""
    if refused:
        return True
    whole = model.combine(model.scores([case]))
    return Rule.of(model).decide(whole.p, whole.statistic)[0] is not Verdict.IN_DISTRIBUTION
