"""Do the channels belong together? Doubled, mixed up or badly registered ones correlate otherwise than known.

Two channels that were swapped correlate as before: their histograms tell, not this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .robust import Usual, largest
from .score import require_cases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .observation import Observation
    from .score import Arrays

    Floats = NDArray[np.float64]

LEAST = 0.05  # of Fisher's z: smaller differences mean nothing
PERFECT = 0.9999  # correlations above are as good as 1, whose z is infinite


@dataclass(frozen=True, eq=False)
class Correlations:
    """Largest deviation of a correlation of two channels from the usual, in robust deviations.

    On Fisher's scale, arctanh(r), where a correlation's spread hardly depends on its value: Fisher, On the
    "probable error" of a coefficient of correlation, Metron 1921.

    Attributes:
        usual: of every two channels.
        channels: how many.
    """

    usual: Usual
    channels: int

    @classmethod
    def fit(cls, observations: Sequence[Observation]) -> Self:
        """Fit to known cases.

        Raises:
            ValueError: for no cases, or such as differ in their number of channels.
        """
        require_cases(observations)
        counts = sorted({len(case.correlations) for case in observations})
        if len(counts) > 1:
            raise ValueError(f"the cases have {counts} channels; expected as many in each")
        values = np.stack([_fisher(case.correlations) for case in observations])
        return cls(Usual.of(values, least=LEAST), counts[0])

    def score(self, observation: Observation) -> float:
        """Deviation of the pair that deviates most; NaN with one channel.

        Raises:
            ValueError: for another number of channels.
        """
        count = len(observation.correlations)
        if count != self.channels:
            raise ValueError(f"the case has {count} channels; the known cases have {self.channels}")
        return largest(self.usual.deviations(_fisher(observation.correlations)))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what ``from_arrays`` takes."""
        return {**self.usual.to_arrays(), "channels": np.array(self.channels)}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Rebuild from ``to_arrays``."""
        return cls(Usual.from_arrays(arrays), int(arrays["channels"]))


def _fisher(correlations: Floats) -> Floats:
    """(pairs,) of (channels, channels)."""
    pairs = correlations[np.triu_indices(len(correlations), 1)]
    return np.arctanh(np.clip(pairs, -PERFECT, PERFECT))
