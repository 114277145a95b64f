"""Do mirrored passes and folds agree, and how open is the answer? Only where a calibration asks for it.

The number itself is the score. Nothing is fitted to known cases, on which passes agree more than on new ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nnunet_losses.serve.pipeline.agreement import ENTROPY, MEASURES

from .score import require_cases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .observation import Observation
    from .score import Arrays


@dataclass(frozen=True)
class Doubt:
    """One of ``MEASURES``.

    Attributes:
        measure: its name.
    """

    measure: str

    @classmethod
    def fit(cls, observations: Sequence[Observation], *, measure: str) -> Self:
        """Take the measure; the cases change nothing.

        Raises:
            ValueError: for no cases.
        """
        require_cases(observations)
        return cls(measure)

    def score(self, observation: Observation) -> float:
        """How large it is; NaN where it was not measured."""
        return (observation.doubts or {}).get(self.measure, float("nan"))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what ``from_arrays`` takes."""
        return {"measure": np.array(self.measure)}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Rebuild from ``to_arrays``.

        Raises:
            ValueError: for an unknown measure.
        """
        measure = str(arrays["measure"])
        if measure not in MEASURES:
            raise ValueError(f"the measure {measure!r} is not known; expected one of {', '.join(MEASURES)}")
        return cls(measure)


def measured(observations: Sequence[Observation]) -> tuple[str, ...]:
    """Which measures the cases have; the entropy is missing only in those in which nothing was marked."""
    return tuple(
        name
        for name in MEASURES
        if name == ENTROPY or any(name in (case.doubts or {}) for case in observations)
    )
