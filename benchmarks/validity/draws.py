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

    Floats = NDArray[np.float64]

ALPHAS = (0.05, 0.1)
SIZES = (20, 50, 100, 200)
DRAWS, TESTED = 200, 10
CASES = DRAWS * (max(SIZES) + TESTED)


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
    """

    training: Sequence[Observation]
    learnt: LearntContract
    scorer: Remembered
    fresh: Sequence[Observation]
    refused: NDArray[np.bool_]

    def calibrated(self, ranked: Sequence[Observation], alpha: float) -> DistributionModel:
        """Calibrate as the command does."""
        levels = Levels(suspicious=alpha, out_of_distribution=alpha / 5)
        settings = Settings(levels=levels, fit=lambda _: self.scorer, fixed=False)
        fold = FoldObservations("held_out", self.training, ranked)
        return calibrate_folds([fold], settings, learnt=self.learnt)

    def with_fixed_statistic(self) -> DistributionModel:
        """A calibration with the statistic that drift is watched by; it depends on the fitted cases alone."""
        model = calibrate_distribution(self.training, self.training[:1], Settings())
        return replace(model, folds=tuple(replace(fold, scorer=self.scorer) for fold in model.folds))


def experiment(training: Sequence[Observation], stream: Any, count: int) -> Experiment:
    """Fit the scores, and score every case once; the stream's cases are let go one by one."""
    scorer = Scorer.fit(training)
    rows = {id(case): scorer(case) for case in training}
    fresh, refused = [], []
    for kept, _ in zip(stream, range(count), strict=False):
        fresh.append(kept.observation)
        refused.append(kept.refused is not None)
        rows[id(kept.observation)] = scorer(kept.whole())
    remembered = Remembered(scorer.names, rows)
    return Experiment(training, LearntContract.of(training), remembered, fresh, np.array(refused))


def false_alarms(setting: Experiment, *, alpha: float, n: int, leak: bool = False) -> Rate:
    """Share of new phantoms that are called strange.

    Args:
        setting: cases and scores.
        alpha: level.
        n: calibration cases of each draw.
        leak: rank training cases instead of new ones, which is wrong.
    """
    needed = n + TESTED
    draws = min(DRAWS, len(setting.fresh) // needed)
    random = np.random.default_rng([n, 7])
    rates = []
    for draw in range(draws):
        cases = range(draw * needed, (draw + 1) * needed)
        ranked = [setting.fresh[index] for index in cases[:n]]
        if leak:
            ranked = [setting.training[i] for i in random.permutation(len(setting.training))[:n]]
        model = setting.calibrated(ranked, alpha)
        rates.append(np.mean([_is_alarm(setting, model, index) for index in cases[n:]]))
    error = float(np.std(rates, ddof=1) / np.sqrt(draws))
    return Rate(alpha, n, draws, TESTED, float(np.mean(rates)), error)


def _is_alarm(setting: Experiment, model: DistributionModel, index: int) -> bool:
    """Refused by the contract, or any verdict but in distribution."""
    if setting.refused[index]:
        return True
    whole = model.combine(model.scores([setting.fresh[index]]))
    return Rule.of(model).decide(whole.p, whole.statistic)[0] is not Verdict.IN_DISTRIBUTION
