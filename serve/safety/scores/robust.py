"""Distance from what is usual, in units of what is usually seen; few outliers among the usual do no harm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nnunet_losses.serve.safety.conformal import MEAN_TO_DEVIATION, MEDIAN_TO_DEVIATION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Usual:
    """Median and spread of each of several quantities.

    Attributes:
        centre: (quantities,) median; NaN for a quantity that was never seen.
        scale: (quantities,) positive; an estimate of the standard deviation.
    """

    centre: Floats
    scale: Floats

    @classmethod
    def of(cls, values: Floats, *, least: float) -> Self:
        """Fit.

        Args:
            values: (cases, quantities); NaN is left out.
            least: smallest scale; a difference below means nothing.

        Example:
            >>> usual = Usual.of(np.array([[1.0], [2.0], [3.0], [np.nan], [99.0]]), least=0.1)
            >>> usual.centre.tolist(), usual.scale.round(4).tolist()
            ([2.5], [1.4826])
        """
        fits = [_centre_and_scale(column[~np.isnan(column)], least) for column in values.T]
        return cls(np.array([centre for centre, _ in fits]), np.array([scale for _, scale in fits]))

    def deviations(self, values: Floats) -> Floats:
        """How far off each quantity is, in its scale, to either side; NaN where nothing is to compare."""
        result: Floats = np.abs(values - self.centre) / self.scale
        return result

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what ``from_arrays`` takes."""
        return {"centre": self.centre, "scale": self.scale}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from ``to_arrays``."""
        return cls(arrays["centre"], arrays["scale"])


def largest(values: Floats) -> float:
    """Largest of the values that there are; NaN where there is none.

    Example:
        >>> largest(np.array([np.nan, 2.0])), largest(np.array([np.nan]))
        (2.0, nan)
    """
    present = values[~np.isnan(values)]
    return float(present.max()) if present.size else float("nan")


def _centre_and_scale(values: Floats, least: float) -> tuple[float, float]:
    """By the mean absolute deviation where more than half of the values are equal."""
    if values.size == 0:
        return float("nan"), least
    centre = float(np.median(values))
    deviations = np.abs(values - centre)
    scale = MEDIAN_TO_DEVIATION * float(np.median(deviations)) or MEAN_TO_DEVIATION * float(deviations.mean())
    return centre, max(scale, least)
