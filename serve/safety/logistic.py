"""Logistic regression with ridge by Newton's method: a few features, a few hundred components, no library.

Also the ridge regression of the expected Dice: both standardise their features, and keep what they need as
plain numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RIDGE = 1.0  # of standardised weights: as strong as a normal prior of deviation 1
_STEPS = 50
_TOLERANCE = 1e-10
_LARGEST = 30.0  # log-odds beyond which a probability is 0 or 1 as far as the curvature is concerned


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear function of standardised features.

    Attributes:
        centre, scale, weights: (features,).
        intercept: value where all features are at their centre.
    """

    centre: Floats
    scale: Floats
    weights: Floats
    intercept: float

    def __call__(self, features: Floats) -> Floats:
        """Values (rows,) of features (rows, features)."""
        values: Floats = (features - self.centre) / self.scale @ self.weights + self.intercept
        return values


def fit_logistic(features: Floats, positive: NDArray[np.bool_], *, ridge: float = RIDGE) -> Linear:
    """Fit log-odds: maximum likelihood with a ridge on the weights, none on the intercept.

    Args:
        features: (rows, features), finite.
        positive: (rows,), both kinds among them.
        ridge: half of it times the sum of squared standardised weights is added to the loss.

    Raises:
        ValueError: for one kind of rows only.

    Example:
        >>> model = fit_logistic(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([False, False, True, True]))
        >>> (model(np.array([[0.0], [1.5], [3.0]])) > 1e-6).tolist()
        [False, False, True]
    """
    if positive.all() or not positive.any():
        raise ValueError(
            f"{positive.sum()} of {positive.size} rows are positive; expected some of both kinds"
        )
    centre, scale = _standard(features)
    design = np.column_stack([(features - centre) / scale, np.ones(len(features))])
    penalty = np.diag([ridge] * features.shape[1] + [0.0])
    beta = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        step = _newton_step(design, positive, penalty, beta)
        beta += step
        if np.abs(step).max() < _TOLERANCE:
            break
    return Linear(centre, scale, beta[:-1], float(beta[-1]))


def _newton_step(design: Floats, positive: NDArray[np.bool_], penalty: Floats, beta: Floats) -> Floats:
    """Newton's step, no longer than what keeps the loss from growing."""
    probability = 1 / (1 + np.exp(-np.clip(design @ beta, -_LARGEST, _LARGEST)))
    gradient = design.T @ (probability - positive) + penalty @ beta
    curvature = (design * (probability * (1 - probability))[:, None]).T @ design + penalty
    step = np.asarray(-np.linalg.solve(curvature + 1e-9 * np.eye(len(beta)), gradient), np.float64)
    before = _loss(design, positive, penalty, beta)
    while _loss(design, positive, penalty, beta + step) > before + 1e-12 * abs(before):
        step = step / 2
    return step


def _loss(design: Floats, positive: NDArray[np.bool_], penalty: Floats, beta: Floats) -> float:
    signed = np.where(positive, 1, -1) * (design @ beta)
    return float(np.logaddexp(0, -signed).sum() + beta @ penalty @ beta / 2)


def fit_ridge(features: Floats, values: Floats, *, ridge: float = RIDGE) -> Linear:
    """Fit a ridge regression; the intercept is free.

    Args:
        features: (rows, features), finite.
        values: (rows,).
        ridge: as in ``fit_logistic``.

    Example:
        >>> model = fit_ridge(np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]), ridge=0.0)
        >>> model(np.array([[4.0]])).round(6).tolist()
        [5.0]
    """
    centre, scale = _standard(features)
    standardised = (features - centre) / scale
    middle = float(values.mean())
    curvature = standardised.T @ standardised + ridge * np.eye(features.shape[1])
    weights = np.linalg.solve(curvature, standardised.T @ (values - middle))
    return Linear(centre, scale, np.asarray(weights, np.float64), middle)


def _standard(features: Floats) -> tuple[Floats, Floats]:
    """Centre and scale of every feature; a constant one keeps its scale."""
    deviation = features.std(axis=0)
    return features.mean(axis=0), np.where(deviation > 1e-12, deviation, 1.0)
