"""Is the image made as the known ones are? Noise, blur, thick slices, ghosts and spikes, by its texture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .gaussian import Gaussian
from .robust import Usual
from .score import nested, require_cases, unnested

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .observation import Observation
    from .score import Arrays

    Floats = NDArray[np.float64]

LEAST = 0.05  # of a statistic, which is a logarithm: differences of 5 % mean nothing


@dataclass(frozen=True, eq=False)
class Appearance:
    """Mahalanobis distance of the texture's statistics, with a shrunk covariance.

    Attributes:
        usual: centre and scale of every statistic of every channel.
        gaussian: of the standardised statistics; None where no known case had any.
    """

    usual: Usual
    gaussian: Gaussian | None

    @classmethod
    def fit(cls, observations: Sequence[Observation]) -> Self:
        """Fit to known cases; those without a texture are left out.

        Raises:
            ValueError: for no cases, or such as differ in their number of channels.
        """
        require_cases(observations)
        rows = [case.texture.ravel() for case in observations if case.texture is not None]
        sizes = sorted({row.size for row in rows})
        if len(sizes) > 1:
            raise ValueError(f"the cases have {sizes} statistics of texture; expected as many in each")
        if not rows:
            return cls(Usual(np.empty(0), np.empty(0)), None)
        usual = Usual.of(np.stack(rows), least=LEAST)
        return cls(usual, Gaussian.shrunk(np.stack([_standardised(row, usual) for row in rows])))

    def score(self, observation: Observation) -> float:
        """Distance from the usual texture; NaN where nothing is to compare.

        Raises:
            ValueError: for another number of channels.
        """
        if observation.texture is None or self.gaussian is None:
            return float("nan")
        row = observation.texture.ravel()
        if row.shape != self.usual.centre.shape:
            expected = self.usual.centre.size
            raise ValueError(
                f"the case has {row.size} statistics of texture; the known cases have {expected}"
            )
        return self.gaussian.distance(_standardised(row, self.usual))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what ``from_arrays`` takes."""
        fitted = {} if self.gaussian is None else nested("gaussian", self.gaussian.to_arrays())
        return {**nested("usual", self.usual.to_arrays()), **fitted}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Rebuild from ``to_arrays``."""
        fitted = unnested("gaussian", arrays)
        usual = Usual.from_arrays(unnested("usual", arrays))
        return cls(usual, Gaussian.from_arrays(fitted) if fitted else None)


def _standardised(row: Floats, usual: Usual) -> Floats:
    """Deviations to either side; what the case, or the known ones, have not counts as usual."""
    deviations: Floats = (row - usual.centre) / usual.scale
    return np.nan_to_num(deviations, nan=0.0)
