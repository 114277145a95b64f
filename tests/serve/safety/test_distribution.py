"""From observations to verdicts, by examples that can be checked by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nnunet_losses.serve.answer import Verdict
from nnunet_losses.serve.safety.calibration import GuaranteeKind, Levels
from nnunet_losses.serve.safety.distribution import (
    FoldObservations,
    Settings,
    calibrate_distribution,
    calibrate_folds,
)
from nnunet_losses.serve.safety.judging import ranked_positions
from nnunet_losses.serve.safety.verdict import judge

from .scores.cases import GRID, made_up, phantoms, some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnunet_losses.serve.safety.distribution import DistributionModel
    from nnunet_losses.serve.safety.scores.observation import Observation


SATURATED = 200


@dataclass(frozen=True)
class Obliqueness:
    """One score: the angle itself; and a second one, which is infinite or missing for some angles."""

    names: tuple[str, ...] = ("geometry.obliqueness", "second")

    def __call__(self, observation: Observation) -> np.ndarray:
        angle = observation.grid.obliqueness
        second = np.inf if angle > SATURATED else np.nan
        return np.array([np.nan if angle < 0 else angle, second])


def fit(_: Sequence[Observation]) -> Obliqueness:
    return Obliqueness()


def tilted(*angles: float) -> list[Observation]:
    case = made_up(np.random.default_rng(0))
    return [replace(case, grid=replace(GRID, obliqueness=float(angle))) for angle in angles]


def model(*angles: float, **settings: object) -> DistributionModel:
    chosen = Settings(fit=fit, fixed=False, **settings)  # type: ignore[arg-type]
    return calibrate_distribution(tilted(0, 1), tilted(*angles), chosen)


def p(known: DistributionModel, angle: float) -> float | None:
    return judge(known, tilted(angle)).p


def test_ranks_with_ties() -> None:
    known = model(1, 2, 2, 3)
    assert p(known, 9) == 1 / 5  # itself alone
    assert p(known, 3) == 2 / 5  # itself and the 3
    assert p(known, 2) == 4 / 5  # itself, both 2 and the 3
    assert p(known, 0) == 1.0


def test_one_case_ranks_but_reaches_no_level() -> None:
    answer = judge(model(5), tilted(6))
    assert (answer.p, answer.p_min, answer.n_calibration) == (0.5, 0.5, 1)
    assert answer.levels == {"suspicious": None, "out_of_distribution": None}
    assert answer.remark is not None
    assert (
        "The level 0.05 (suspicious) cannot be reached with 1 calibration cases; it needs 19."
        in answer.remark
    )
    assert answer.verdict is Verdict.IN_DISTRIBUTION
    assert answer.basis == "heuristic"


def test_saturated_scores_rank_together() -> None:
    known = model(1, 2, 300)  # the second score of 300 is infinite, and so is its z
    assert p(known, 250) == 2 / 4
    assert p(known, 3) == 2 / 4
    equal = model(4, 4, 4)
    assert p(equal, 4) == 1.0
    assert p(equal, 5) == 1 / 4


def test_a_missing_score_is_nothing_strange() -> None:
    known = model(1, 2, 3)
    assert p(known, -1) == 1.0  # no score at all: the least strange of all
    assert p(model(-1, -1, -1), 2) == 1 / 4


def test_levels_need_cases() -> None:
    few, enough = model(*range(18)), model(*range(19))
    assert judge(few, tilted(18)).verdict is Verdict.IN_DISTRIBUTION  # p is 1/19
    assert judge(few, tilted(18)).levels["suspicious"] is None
    assert judge(enough, tilted(19)).verdict is Verdict.SUSPICIOUS  # p is 1/20
    assert judge(enough, tilted(17)).verdict is Verdict.IN_DISTRIBUTION
    assert judge(model(*range(98)), tilted(98)).verdict is Verdict.SUSPICIOUS
    many = judge(model(*range(99)), tilted(99))
    assert (many.verdict, many.basis) == (Verdict.OUT_OF_DISTRIBUTION, "conformal")
    assert many.remark is None


def test_far_beyond_few_cases_is_out_of_distribution_by_rule_of_thumb() -> None:
    answer = judge(model(*range(19)), tilted(79))
    assert (answer.verdict, answer.basis) == (Verdict.OUT_OF_DISTRIBUTION, "heuristic")
    assert judge(model(*range(19)), tilted(30)).verdict is Verdict.SUSPICIOUS


def test_the_strangest_respect_is_told() -> None:
    (told, *_) = judge(model(*range(19)), tilted(79)).evidence
    assert told.name == "geometry.obliqueness"
    assert told.message == "The image is tilted by 79 degrees; the known images by 0 to 1 degrees."
    assert (told.observed, told.expected, told.outside) == (79.0, [0.0, 1.0], True)
    assert told.p == 1 / 20
    assert told.z is not None
    assert told.z > 8


def test_an_answer_is_json() -> None:
    answer = judge(model(1, 2, 3), tilted(300))
    assert type(answer).model_validate_json(answer.model_dump_json()) == answer
    assert max(item.z for item in answer.evidence if item.z is not None) <= 1e6


def test_levels_in_all_but_a_few_calibrations() -> None:
    settings = Settings(Levels(suspicious=0.05), pac=0.05)
    fitted, ranked = phantoms(0, 30), phantoms(1000, 60)
    answer = judge(calibrate_distribution(fitted, ranked, settings), [ranked[0]])
    assert answer.levels["suspicious"] == pytest.approx(1 / 61)  # Beta(1, 60): 0.95 quantile is .0487
    assert answer.levels["out_of_distribution"] is None
    assert (
        judge(calibrate_distribution(fitted, ranked[:57], settings), [ranked[0]]).levels["suspicious"] is None
    )


def test_folds_rank_together() -> None:
    folds = [
        FoldObservations(str(k), tilted(0, 1), tilted(*angles)) for k, angles in enumerate(((1, 2), (3, 4)))
    ]
    known = calibrate_folds(
        folds, Settings(fit=fit, fixed=False), guarantee=GuaranteeKind.APPROXIMATE, remark="About."
    )
    answer = judge(known, tilted(9))
    assert (answer.p, answer.n_calibration, answer.guarantee) == (1 / 5, 4, "approximate")
    assert answer.remark is not None
    assert answer.remark.startswith("About.")
    assert p(known, 2) == 4 / 5  # of the first fold 2, of the second both, and itself
    with pytest.raises(ValueError, match="give one for each fold"):
        known.scores(tilted())


def test_nothing_to_rank_against_is_no_verdict() -> None:
    answer = judge(model(), tilted(79))
    assert (answer.verdict, answer.p) == (Verdict.NOT_CALIBRATED, None)
    assert model().section.guarantee is GuaranteeKind.NONE


def test_a_leak_shows_itself() -> None:
    fitted, unseen, new = phantoms(0, 40), phantoms(1000, 40), phantoms(3000, 40)

    def alarms(ranked: Sequence[Observation]) -> float:
        known = calibrate_distribution(fitted, ranked, Settings(fixed=False))
        return float(np.mean([judge(known, [case]).verdict is not Verdict.IN_DISTRIBUTION for case in new]))

    assert alarms(unseen) <= 0.15
    assert alarms(fitted) >= 0.3


def test_a_case_is_looked_at_by_the_fold_that_the_scores_were_fitted_to() -> None:
    known = calibrate_folds(
        [FoldObservations("fold_3", tilted(0, 1), tilted(5))], Settings(fit=fit, fixed=False)
    )
    members = [SimpleNamespace(folds=[SimpleNamespace(name=f"fold_{index}") for index in (0, 2, 3)])]
    assert ranked_positions(known, SimpleNamespace(members=members)) == [2]  # type: ignore[arg-type]


def test_no_folds_and_no_cases() -> None:
    with pytest.raises(ValueError, match="no folds"):
        calibrate_folds([])
    with pytest.raises(ValueError, match="no cases to fit"):
        calibrate_distribution([], some(2))
