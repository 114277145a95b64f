"""Conformal p-values: hand-computed, and valid where cases are exchangeable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnunet_losses.serve.safety.conformal import (
    cases_for,
    combined,
    cross_combined,
    guaranteed_rank,
    p_value,
    robust_z,
    smallest_p,
)

ALPHAS = (0.05, 0.1)


@pytest.mark.parametrize(
    ("score", "calibration", "expected"),
    [
        (2.5, [1.0, 2.0, 3.0], 2 / 4),
        (2.0, [1.0, 2.0, 3.0], 3 / 4),  # a tie counts as at least as strange
        (0.0, [1.0, 2.0, 3.0], 1.0),
        (4.0, [1.0, 2.0, 3.0], 1 / 4),
        (1.0, [1.0, 1.0, 1.0], 1.0),  # nothing but ties: no evidence
        (5.0, [4.0], 1 / 2),
        (3.0, [4.0], 1.0),
        (np.inf, [1.0, 2.0], 1 / 3),
        (np.inf, [np.inf, 2.0], 2 / 3),  # saturated scores tie, too
        (-np.inf, [-np.inf, 2.0], 1.0),
        (7.0, [], 1.0),
    ],
)
def test_a_p_value_counts_cases_as_strange(score: float, calibration: list[float], expected: float) -> None:
    assert p_value(score, np.array(calibration)) == pytest.approx(expected)


def test_nan_has_no_rank() -> None:
    with pytest.raises(ValueError, match="NaN"):
        p_value(np.nan, np.array([1.0]))
    with pytest.raises(ValueError, match="NaN"):
        p_value(1.0, np.array([np.nan]))


@pytest.mark.parametrize(("alpha", "cases"), [(0.05, 19), (0.1, 9), (0.01, 99), (0.5, 1), (1 / 3, 2)])
def test_a_level_needs_so_many_cases(alpha: float, cases: int) -> None:
    assert cases_for(alpha) == cases
    assert smallest_p(cases) <= alpha + 1e-12 < smallest_p(cases - 1)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, np.nan])
def test_a_level_lies_between_0_and_1(alpha: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        cases_for(alpha)


def test_ranks_that_keep_alpha_in_most_calibrations() -> None:
    assert [guaranteed_rank(n, 0.05) for n in (50, 58, 59, 100, 200, 400)] == [None, None, 1, 2, 5, 13]
    assert guaranteed_rank(0, 0.05) is None


def test_one_score_alone_is_ranked_as_it_stands() -> None:
    pool = np.array([[1.0], [2.0], [3.0]])
    for score in (0.0, 2.0, 2.5, 9.0):
        assert combined(np.array([score]), pool).p == p_value(score, pool[:, 0])


def test_robust_z_by_hand() -> None:
    # median 3, absolute deviations 2 1 0 1 97: their median 1
    assert robust_z(np.array([[1.0], [2.0], [3.0], [4.0], [100.0]]))[:, 0] == pytest.approx(
        np.array([-2, -1, 0, 1, 97]) / 1.4826
    )


def test_robust_z_of_ties_missing_and_infinite_scores() -> None:
    mostly_equal = robust_z(np.array([[5.0], [5.0], [5.0], [9.0]]))[:, 0]
    assert mostly_equal == pytest.approx([0, 0, 0, 4 / (np.sqrt(np.pi / 2) * 1)])
    missing = robust_z(np.array([[1.0, np.nan], [np.nan, np.nan], [3.0, np.nan]]))
    assert np.isnan(missing[1, 0])
    assert np.isnan(missing[:, 1]).all()
    assert missing[0, 0] == -missing[2, 0]
    assert robust_z(np.array([[1.0], [2.0], [np.inf]]))[2, 0] == np.inf


def test_a_case_without_any_score_is_not_strange() -> None:
    pool = np.array([[1.0, 2.0], [2.0, np.nan]])
    result = combined(np.array([np.nan, np.nan]), pool)
    assert result.p == 1.0
    assert result.statistic == -np.inf


def test_no_calibration_cases_give_no_evidence() -> None:
    assert combined(np.array([5.0]), np.empty((0, 1))).p == 1.0


@settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(*[st.floats(-1e300, 1e300) | st.just(np.nan) | st.just(np.inf)] * 2),
        min_size=1,
        max_size=12,
    )
)
def test_p_values_are_exact_whatever_the_scores(rows: list[tuple[float, float]]) -> None:
    """Of n + 1 cases, each taken as the new one, at most k have a p-value of k / (n + 1) or less."""
    scores = np.array(rows)
    ps = np.array([combined(scores[i], np.delete(scores, i, axis=0)).p for i in range(len(scores))])
    for k in range(1, len(scores) + 1):
        assert np.count_nonzero(ps <= k / len(scores) + 1e-12) <= k


@pytest.mark.parametrize("n", [20, 50])
def test_false_alarms_keep_their_level(n: int) -> None:
    """Dependent, heavy-tailed, tied scores; 150 calibrations, each with 25 new cases."""
    random = np.random.default_rng(n)
    alarms = np.zeros((150, len(ALPHAS)))
    for row in alarms:
        mixing = random.normal(size=(4, 4))
        scores = np.round(random.standard_t(2, size=(n + 25, 4)) @ mixing, 1)
        ps = np.array([combined(case, scores[:n]).p for case in scores[n:]])
        row[:] = [(ps <= alpha).mean() for alpha in ALPHAS]
    mean, error = alarms.mean(axis=0), alarms.std(axis=0) / np.sqrt(len(alarms))
    assert (mean <= np.array(ALPHAS) + 2 * error).all(), mean
    assert (mean[np.array(ALPHAS) >= 2 / n] >= np.array(ALPHAS)[np.array(ALPHAS) >= 2 / n] / 2).all(), mean


def test_one_strange_score_among_many_is_seen_with_few_cases() -> None:
    """Merging six p-values by Bonferroni can never reach 0.05 with 20 cases; the largest z can."""
    random = np.random.default_rng(5)
    found = 0
    for _ in range(100):
        scores = random.normal(size=(21, 6))
        scores[-1, 3] += 8
        found += combined(scores[-1], scores[:-1]).p <= 0.05
    assert found >= 90


def test_cross_conformal_by_hand() -> None:
    pools = [np.array([[0.0], [1.0], [2.0]]), np.array([[10.0], [11.0]])]
    # fold 0: only 2 is as strange as 1.5; fold 1: 10 and 11 are as strange as 9
    assert cross_combined([np.array([1.5]), np.array([9.0])], pools).p == pytest.approx((1 + 1 + 2) / 6)
    assert cross_combined([np.array([5.0]), np.array([50.0])], pools).p == pytest.approx(1 / 6)
    with pytest.raises(ValueError, match="1 cases for 2 folds"):
        cross_combined([np.array([1.5])], pools)
