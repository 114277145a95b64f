"""Features of all stages as one vector, each feature in units of its spread over the known cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Features = Mapping[str, Floats]

# Smallest deviation of a feature, as a share of the median one: some are constants of the network, whose
# rounding, other on every engine, would count as much as anything else.
LEAST_DEVIATION = 0.01


@dataclass(frozen=True, eq=False)
class Standard:
    """Mean and deviation of every feature.

    Attributes:
        names: of the stages' outputs, in the vector's order.
        sizes: (stages,) number of features of each.
        centre: (features,) mean.
        scale: (features,) standard deviation, positive.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    centre: Floats
    scale: Floats

    @classmethod
    def of(cls, cases: Sequence[Features]) -> Self:
        """Fit.

        Args:
            cases: features by output name, each (channels,); one case at least.

        Raises:
            ValueError: for cases with other outputs, or other numbers of channels.

        Example:
            >>> cases = [{"stage0": np.array([1.0, 5.0])}, {"stage0": np.array([3.0, 5.0])}]
            >>> standard = Standard.of(cases)
            >>> standard.scale.tolist(), standard(cases[0]).tolist()
            ([1.0, 0.01], [-1.0, 0.0])
        """
        names = tuple(sorted(cases[0]))
        sizes = tuple(len(cases[0][name]) for name in names)
        vectors = np.stack([_vector(case, names, sizes) for case in cases])
        deviations = vectors.std(axis=0)
        typical = float(np.median(deviations[deviations > 0])) if (deviations > 0).any() else 0.0
        scale = np.maximum(deviations, LEAST_DEVIATION * typical) if typical else np.ones_like(deviations)
        return cls(names, sizes, vectors.mean(axis=0), scale)

    def __call__(self, features: Features) -> Floats:
        """Standardise a case's features: (features,).

        Raises:
            ValueError: for other outputs or numbers of channels than those fitted.
        """
        standardised: Floats = (_vector(features, self.names, self.sizes) - self.centre) / self.scale
        return standardised

    @property
    def stage_weights(self) -> Floats:
        """Factor of each feature that makes the vector's norm a mean over stages of means over features."""
        return np.repeat([1 / np.sqrt(size * len(self.sizes)) for size in self.sizes], self.sizes)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what ``from_arrays`` takes."""
        names, sizes = np.array(self.names, dtype=np.str_), np.array(self.sizes, np.int64)
        return {"names": names, "sizes": sizes, "centre": self.centre, "scale": self.scale}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from ``to_arrays``."""
        names, sizes = arrays["names"].tolist(), arrays["sizes"].tolist()
        return cls(tuple(names), tuple(sizes), arrays["centre"], arrays["scale"])


def _vector(features: Features, names: Sequence[str], sizes: Sequence[int]) -> Floats:
    observed = {name: len(values) for name, values in sorted(features.items())}
    expected = dict(zip(names, sizes, strict=True))
    if observed != expected:
        raise ValueError(f"the case has the features {observed}; the known cases have {expected}")
    return np.concatenate([features[name] for name in names]).astype(np.float64)
