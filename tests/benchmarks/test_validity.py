"""The proof of the error rates can fail: it passes honest calibrations, and finds leaking ones out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.validity import draws
from benchmarks.validity.draws import TESTED, Experiment, Rate, Remembered, false_alarms, leaking_alarms
from benchmarks.validity.kept import keep
from benchmarks.validity.streams import count_alarms
from nnunet_losses.serve.safety.distribution import Settings, calibrate_distribution
from nnunet_losses.serve.safety.learnt import LearntContract
from nnunet_losses.serve.safety.scores.scorer import Scorer
from nnunet_losses.serve.safety.verdict import judge

from ..serve.safety.scores.cases import made_up, some

if TYPE_CHECKING:
    from nnunet_losses.serve.safety.scores.observation import Observation


@dataclass(frozen=True, eq=False)
class WholeCase:
    """A case in whose place a packed one would stand."""

    case: Observation
    refused: str | None = None

    def whole(self) -> Observation:
        return self.case


@pytest.fixture(scope="module")
def setting() -> Experiment:
    """Made-up cases whose scores are normal; training cases look too usual."""
    random = np.random.default_rng(3)
    training = some(40)
    fresh = [made_up(random) for _ in range(60 * 30)]
    names = ("a", "b")
    rows = {id(case): random.normal(size=2) for case in fresh}
    rows |= {id(case): random.normal(scale=0.3, size=2) for case in training}
    learnt = LearntContract.of(training)
    return Experiment(training, learnt, Remembered(names, rows), fresh, np.zeros(len(fresh), bool))


def test_honest_calibrations_hold(setting: Experiment) -> None:
    honest = false_alarms(setting, alpha=0.1, n=20)
    assert honest.draws == 60
    assert honest.holds


def test_calibrations_that_rank_their_own_training_cases_fail() -> None:
    random = np.random.default_rng(4)
    training, fresh = some(20), [made_up(random) for _ in range(10 * TESTED)]
    whole = [WholeCase(case) for case in fresh]
    setting = Experiment(training, LearntContract.of(training), Remembered((), {}), fresh,
                         np.zeros(len(fresh), bool), whole)  # fmt: skip
    leaking = leaking_alarms(setting, alpha=0.1, n=20)
    assert leaking.draws == 10
    assert leaking.mean > 0.2
    assert not leaking.holds


def test_what_the_contract_refuses_is_a_false_alarm(setting: Experiment) -> None:
    refused = Experiment(setting.training, setting.learnt, setting.scorer, setting.fresh,
                         np.ones(len(setting.fresh), bool))  # fmt: skip
    rate = false_alarms(refused, alpha=0.1, n=20)
    assert rate.mean == 1.0
    assert not rate.holds


def test_too_few_alarms_do_not_hold_where_n_allows_more() -> None:
    assert not Rate(0.1, 20, 200, 10, 0.03, 0.001).holds
    assert Rate(0.05, 20, 200, 10, 0.01, 0.001).holds
    assert not Rate(0.05, 20, 200, 10, 0.06, 0.001).holds


def test_the_rule_of_the_draws_is_the_verdict_that_is_served() -> None:
    cases = some(40)
    training, ranked, new = cases[:15], cases[15:35], cases[35:]
    scorer = Scorer.fit(training)
    rows = {id(case): scorer(case) for case in cases}
    setting = Experiment(training, LearntContract.of(training), Remembered(scorer.names, rows), new,
                         np.zeros(len(new), bool))  # fmt: skip
    model = setting.calibrated(ranked, 0.1)
    served = calibrate_distribution(training, ranked, Settings(levels=model.section.levels))
    for case in new:
        strange = judge(served, [case]).verdict.value != "in_distribution"
        assert strange == draws._is_alarm(model, case, refused=False)


def test_packed_cases_come_back() -> None:
    values = np.sort(np.random.default_rng(0).integers(0, 256, (1, 4096))).astype(float)
    case = made_up(np.random.default_rng(1), channels=1, raw=values,
                   preprocessed=(values - values.mean()) / values.std())  # fmt: skip
    again = keep(None, case).whole()
    assert np.array_equal(again.raw, case.raw)
    assert np.array_equal(again.preprocessed, case.preprocessed)


def test_ranking_against_the_calibration_alone_raises_false_alarms() -> None:
    random = np.random.default_rng(2)
    streams = [(random.normal(size=20), random.normal(size=2000)) for _ in range(12)]
    alarms = count_alarms(streams)
    assert alarms.ranked_online == 0
    assert alarms.ranked_fixed >= 3
