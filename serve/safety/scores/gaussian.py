"""A normal distribution in many dimensions, fitted to few cases: how far is a case from its middle?

Few cases say nothing about most directions. There, one variance stands for all that the fit could not tell
apart; a plain covariance matrix would take the variance for zero, and every new case for infinitely strange.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SMALLEST_SHRINKAGE = 1e-6  # keeps the covariance invertible where the formula gives zero


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Mean and covariance, as variances along a few axes and one variance across them.

    Attributes:
        centre: (dimensions,).
        axes: (axes, dimensions), orthonormal rows.
        variances: (axes,), positive.
        rest: variance of every direction across the axes, positive.
    """

    centre: Floats
    axes: Floats
    variances: Floats
    rest: float

    @classmethod
    def principal(cls, cases: Floats, *, share: float, noise: float) -> Self:
        """Fit principal components; what they leave counts as the weakest of them.

        Args:
            cases: (n, dimensions), n at least 1.
            share: of the variance that the components explain.
            noise: smallest variance of any direction.

        Example:
            >>> fitted = Gaussian.principal(np.array([[0.0, 0.0], [4.0, 0.0]]), share=0.99, noise=0.25)
            >>> fitted.variances.round(6).tolist(), round(fitted.distance(np.array([0.0, 6.0])), 6)
            ([4.0], 3.162278)
        """
        centre, axes, variances = _decomposed(cases)
        count = int(np.searchsorted(np.cumsum(variances), share * variances.sum() * (1 - 1e-12))) + 1
        kept = np.maximum(variances[:count], noise) if variances.sum() > 0 else np.empty(0)
        return cls(centre, axes[: len(kept)], kept, float(kept[-1]) if len(kept) else noise)

    @classmethod
    def shrunk(cls, cases: Floats) -> Self:
        """Fit a covariance that is shrunk towards a multiple of the identity, by the optimal weight.

        Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices, 2004,
        https://doi.org/10.1016/S0047-259X(03)00096-4, section 3.2.

        Args:
            cases: (n, dimensions), n at least 1. Where all are equal the covariance is the identity.
        """
        centre, axes, variances = _decomposed(cases)
        mean = variances.sum() / cases.shape[1]
        if mean == 0:
            return cls(centre, axes[:0], variances[:0], 1.0)
        weight = max(shrinkage(cases), SMALLEST_SHRINKAGE)
        return cls(centre, axes, weight * mean + (1 - weight) * variances, float(weight * mean))

    def distance(self, case: Floats) -> float:
        """Mahalanobis distance of a case (dimensions,) from the centre.

        Example:
            >>> Gaussian(np.zeros(3), np.eye(3)[:1], np.array([4.0]), 1.0).distance(np.array([4.0, 2.0, 1.0]))
            3.0
        """
        difference = case - self.centre
        along = self.axes @ difference
        across = max(0.0, float(difference @ difference - along @ along))
        return float(np.sqrt(np.sum(along**2 / self.variances) + across / self.rest))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what ``from_arrays`` takes."""
        return {
            "centre": self.centre,
            "axes": self.axes,
            "variances": self.variances,
            "rest": np.array(self.rest),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from ``to_arrays``."""
        return cls(arrays["centre"], arrays["axes"], arrays["variances"], float(arrays["rest"]))


def shrinkage(cases: Floats) -> float:
    """Weight of the identity in Ledoit and Wolf's estimate, from 0 to 1.

    With S the covariance (divided by n), m = tr(S) / p and norms |A|^2 = tr(A A') / p: min(b^2, d^2) / d^2,
    where d^2 = |S - m I|^2 and b^2 = sum over cases of |x x' - S|^2 / n^2.

    Args:
        cases: (n, dimensions).

    Example:
        >>> cases = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # S = diag(2, 1/2)
        >>> round(shrinkage(cases), 6)  # d^2 = 9/16, b^2 = 17/32
        0.944444
    """
    _, _, variances = _decomposed(cases)
    n, dimensions = cases.shape
    centred = cases - cases.mean(axis=0)
    square = float(np.sum(variances**2))
    apart = (square - variances.sum() ** 2 / dimensions) / dimensions
    fourth = float(np.sum(np.sum(centred**2, axis=1) ** 2))
    scatter = max(0.0, (fourth - n * square) / (n**2 * dimensions))
    # all variances alike, but for rounding: then S is a multiple of the identity already
    return 1.0 if apart <= 1e-12 * square / dimensions else float(min(scatter, apart) / apart)


def _decomposed(cases: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean, principal axes (rows) and the variances along them (divided by n), falling."""
    centre = cases.mean(axis=0)
    _, singular, axes = np.linalg.svd(cases - centre, full_matrices=False)
    keep = singular > singular[0] * max(cases.shape) * np.finfo(np.float64).eps
    return centre, axes[keep], singular[keep] ** 2 / len(cases)
