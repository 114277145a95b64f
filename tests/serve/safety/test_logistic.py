"""Regressions against closed forms and an independent optimiser."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from nnunet_losses.serve.safety.logistic import fit_logistic, fit_ridge


def test_the_minimum_is_found() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(200, 3)) * [1, 10, 0.1] + [0, 5, -2]
    positive = features @ [1.0, 0.2, 3.0] + rng.logistic(size=200) > -5
    model = fit_logistic(features, positive)
    design = np.column_stack([(features - features.mean(0)) / features.std(0), np.ones(200)])

    def loss(beta: np.ndarray) -> float:
        signed = np.where(positive, 1, -1) * (design @ beta)
        return float(np.logaddexp(0, -signed).sum() + (beta[:-1] ** 2).sum() / 2)

    best = minimize(loss, np.zeros(4), tol=1e-10)
    assert [*model.weights, model.intercept] == pytest.approx(best.x, abs=1e-3)
    assert model(features) == pytest.approx(design @ best.x, abs=1e-2)


def test_separable_rows_have_finite_weights() -> None:
    features = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    model = fit_logistic(features, features[:, 0] > 0)
    assert np.isfinite(model.weights).all()
    assert model.weights[0] > 0


def test_constant_features_say_nothing() -> None:
    features = np.array([[1.0, 7.0], [2.0, 7.0], [3.0, 7.0], [2.5, 7.0]])
    assert fit_logistic(features, np.array([False, False, True, True])).weights[1] == 0


def test_one_kind_of_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="3 of 3 rows are positive"):
        fit_logistic(np.zeros((3, 1)), np.ones(3, bool))


def test_extreme_rows_converge() -> None:
    features = np.array([[-1e6], [0.0], [1.0], [1e6]])
    model = fit_logistic(features, np.array([False, True, False, True]))
    assert np.isfinite([*model.weights, model.intercept]).all()


def test_ridge_by_hand() -> None:
    """Standardised feature -1, 1; values 0, 4: slope 2 x 2 / (2 + 2) = 1 with ridge 2."""
    model = fit_ridge(np.array([[3.0], [5.0]]), np.array([0.0, 4.0]), ridge=2.0)
    assert (model.intercept, model.weights.tolist(), model(np.array([[5.0]])).tolist()) == (2, [1], [3])
