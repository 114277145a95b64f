"""Pooled encoder features: distance to the nearest known cases, and a Mahalanobis distance beside it.

Neighbours: Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022,
https://proceedings.mlr.press/v162/sun22d.html; for segmentation networks Woodland et al., MELBA 2024,
https://doi.org/10.59275/j.melba.2024-g93a. All stages together: Lambert et al., https://arxiv.org/abs/2307.15647.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from .gaussian import Gaussian
from .score import nested, require_cases, unnested
from .standard import Standard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .observation import Observation
    from .score import Arrays

    Floats = NDArray[np.float64]
    Pooling = Literal["features", "foreground_features"]

NEIGHBOURS = 5
CASES_PER_NEIGHBOUR = 4  # of fewer than 20 cases, fewer neighbours: the fifth of five is the furthest


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Distance to the k-th nearest known case: root of the mean square over features, in deviations.

    Every stage counts alike, however many channels it has.

    Attributes:
        pooling: which features: of all tiles, or weighted by what was found.
        standard: how they are standardised; None where no known case had any.
        bank: (cases, features) standardised and weighted features of the known cases.
    """

    pooling: Pooling
    standard: Standard | None
    bank: NDArray[np.float32]

    @classmethod
    def fit(cls, observations: Sequence[Observation], *, pooling: Pooling) -> Self:
        """Fit to known cases; those without features are left out.

        Raises:
            ValueError: for no cases, or features that do not fit to each other.
        """
        known = _known(observations, pooling)
        if not known:
            return cls(pooling, None, np.empty((0, 0), np.float32))
        standard = Standard.of(known)
        bank = np.stack([standard(features) for features in known]) * standard.stage_weights
        return cls(pooling, standard, bank.astype(np.float32))

    def score(self, observation: Observation) -> float:
        """Distance to the k-th nearest known case.

        Raises:
            ValueError: for features of another network.
        """
        features = getattr(observation, self.pooling)
        if features is None or self.standard is None:
            return float("nan")
        vector = (self.standard(features) * self.standard.stage_weights).astype(np.float32)
        return kth_smallest(np.linalg.norm(self.bank - vector, axis=1), neighbours(len(self.bank)))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what ``from_arrays`` takes."""
        return {**_fitted(self.pooling, self.standard), "bank": self.bank}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Rebuild from ``to_arrays``."""
        return cls(*_unfitted(arrays), arrays["bank"])


@dataclass(frozen=True, eq=False)
class LedoitWolf:
    """Mahalanobis distance of the standardised features, with a shrunk covariance.

    Attributes:
        pooling: which features: of all tiles, or weighted by what was found.
        standard: how they are standardised; None where no known case had any.
        gaussian: of the standardised features.
    """

    pooling: Pooling
    standard: Standard | None
    gaussian: Gaussian | None

    @classmethod
    def fit(cls, observations: Sequence[Observation], *, pooling: Pooling) -> Self:
        """Fit to known cases; those without features are left out.

        Raises:
            ValueError: for no cases, or features that do not fit to each other.
        """
        known = _known(observations, pooling)
        if not known:
            return cls(pooling, None, None)
        standard = Standard.of(known)
        return cls(pooling, standard, Gaussian.shrunk(np.stack([standard(features) for features in known])))

    def score(self, observation: Observation) -> float:
        """Distance from the known cases' mean.

        Raises:
            ValueError: for features of another network.
        """
        features = getattr(observation, self.pooling)
        if features is None or self.standard is None or self.gaussian is None:
            return float("nan")
        return self.gaussian.distance(self.standard(features))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what ``from_arrays`` takes."""
        fitted = {} if self.gaussian is None else nested("gaussian", self.gaussian.to_arrays())
        return {**_fitted(self.pooling, self.standard), **fitted}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Rebuild from ``to_arrays``."""
        fitted = unnested("gaussian", arrays)
        return cls(*_unfitted(arrays), Gaussian.from_arrays(fitted) if fitted else None)


def neighbours(cases: int) -> int:
    """Which neighbour counts among so many cases.

    Example:
        >>> neighbours(1), neighbours(12), neighbours(500)
        (1, 3, 5)
    """
    return min(NEIGHBOURS, max(1, cases // CASES_PER_NEIGHBOUR))


def kth_smallest(distances: NDArray[np.floating[Any]], k: int) -> float:
    """Return the k-th smallest, counted from 1.

    Example:
        >>> kth_smallest(np.array([4.0, 2.0, 9.0]), 2)
        4.0
    """
    return float(np.partition(distances, k - 1)[k - 1])


def _known(observations: Sequence[Observation], pooling: Pooling) -> list[dict[str, Floats]]:
    require_cases(observations)
    return [features for case in observations if (features := getattr(case, pooling)) is not None]


def _fitted(pooling: Pooling, standard: Standard | None) -> dict[str, NDArray[Any]]:
    arrays = {} if standard is None else nested("standard", standard.to_arrays())
    return {"pooling": np.array(pooling), **arrays}


def _unfitted(arrays: Arrays) -> tuple[Pooling, Standard | None]:
    pooling: Pooling = "features" if str(arrays["pooling"]) == "features" else "foreground_features"
    standard = unnested("standard", arrays)
    return pooling, Standard.from_arrays(standard) if standard else None
