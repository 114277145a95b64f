"""Thresholds of the presence decision: hand-computed, and with the error rates that they promise."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_losses.serve.safety.presence import Presence, Thresholds, calibrate_thresholds

NONE = -np.inf  # score of a case without any candidate


def thresholds(free: list[float], bearing: list[float], level: float = 0.1) -> Thresholds:
    return calibrate_thresholds(np.array(free), np.array(bearing), false_alarms=level, misses=level)


def test_thresholds_by_hand() -> None:
    # 9 lesion-free: rank ceil(10 * 0.9) = 9, the largest
    # 19 lesion-bearing: floor(20 * 0.1 - 1) = 1 may be missed
    result = thresholds([*range(9)], [*range(19)])
    assert (result.lower, result.upper) == (1, 8)
    assert (result.lesion_free, result.lesion_bearing) == (9, 19)


def test_too_few_cases_promise_nothing() -> None:
    result = thresholds([*range(8)], [*range(8)])
    assert (result.lower, result.upper) == (-np.inf, np.inf)
    assert result.decide(1e9) is Presence.INDETERMINATE
    assert result.decide(NONE) is Presence.INDETERMINATE  # not even an empty prediction is a promise


def test_lesions_that_leave_no_candidate_forbid_empty() -> None:
    """Two of ten lesion-bearing cases without candidate: an empty prediction misses more than one in ten."""
    assert thresholds([NONE] * 20, [NONE, NONE, *range(8)]).decide(NONE) is Presence.INDETERMINATE
    assert thresholds([NONE] * 20, [*range(19)]).decide(NONE) is Presence.EMPTY


def test_crossing_thresholds_divide_once() -> None:
    result = thresholds([0.0] * 20, [10.0] * 20)
    assert (result.lower, result.upper, result.dividing) == (10, 0, 5)
    assert result.decide(5.0) is Presence.EMPTY
    assert result.decide(5.1) is Presence.PRESENT
    assert thresholds([NONE] * 20, [10.0] * 20).decide(0.0) is Presence.PRESENT


def test_thresholds_next_to_each_other_divide_between_them() -> None:
    above = float(np.nextafter(1.0, 2.0))
    result = Thresholds(lower=above, upper=1.0, false_alarms=0.1, misses=0.1, lesion_free=9, lesion_bearing=9)
    assert result.decide(above) is Presence.PRESENT  # it is not below the lower threshold
    assert result.decide(1.0) is Presence.EMPTY  # it is not above the upper one


def test_ties_are_on_the_safe_side() -> None:
    result = thresholds([5.0] * 20, [5.0] * 20)
    assert result.decide(5.0) is Presence.INDETERMINATE


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, np.nan])
def test_levels_lie_between_0_and_1(level: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        thresholds([1.0], [1.0], level)


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="minus infinity"):
        thresholds([np.nan], [1.0])
    with pytest.raises(ValueError, match="NaN"):
        thresholds([1.0], [1.0]).decide(np.nan)


@pytest.mark.parametrize(
    ("n", "level", "apart"), [(20, 0.05, 1.0), (20, 0.1, 3.0), (60, 0.05, 2.0), (60, 0.1, 8.0)]
)
def test_error_rates_are_kept(n: int, level: float, apart: float) -> None:
    """Over 600 calibrations, each with 50 new cases of either kind; thresholds that cross among them."""
    random = np.random.default_rng([n, int(apart)])
    errors = np.zeros((600, 2))
    for row in errors:
        free = np.round(random.normal(size=n + 50), 1)
        bearing = np.round(random.normal(apart, size=n + 50), 1)
        free[random.random(free.size) < 0.3] = NONE
        result = thresholds(free[:n].tolist(), bearing[:n].tolist(), level)
        row[0] = np.mean([result.decide(score) is Presence.PRESENT for score in free[n:]])
        row[1] = np.mean([result.decide(score) is Presence.EMPTY for score in bearing[n:]])
    mean, error = errors.mean(axis=0), errors.std(axis=0) / np.sqrt(len(errors))
    assert (mean <= level + 2 * error).all(), mean
