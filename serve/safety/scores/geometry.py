"""How the voxels lie: spacing, extent, obliqueness, orientation and the share of the image that is not zero.

nnU-Net looks at nothing of this but the spacing: an image that lies otherwise, or whose unit is wrong, is
segmented without a word. Each is compared with the nearest known cases rather than with a range or a mean,
for scanners and protocols come in groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from .neighbours import kth_smallest, neighbours
from .score import require_cases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from .observation import Observation
    from .score import Arrays

    Floats = NDArray[np.float64]
    Quantity = Literal["spacing", "extent", "obliqueness", "nonzero"]

# what is compared, and the smallest difference that means anything
QUANTITIES: dict[Quantity, tuple[Callable[[Observation], Any], float]] = {
    "spacing": (lambda case: np.log(case.grid.spacing), 0.01),  # of a ratio's logarithm: 1 %
    "extent": (lambda case: np.log(case.grid.extent), 0.01),
    "obliqueness": (lambda case: [case.grid.obliqueness], 1.0),  # degrees
    "nonzero": (lambda case: case.nonzero, 0.01),
}


@dataclass(frozen=True, eq=False)
class GridDistance:
    """Difference of one quantity from its k-th nearest known case: the largest over axes or channels.

    Spacing and extent: absolute logarithm of the ratio, so twice and half as large are equally strange.

    Attributes:
        quantity: what is compared.
        bank: (cases, axes or channels) of the known cases.
    """

    quantity: Quantity
    bank: Floats

    @classmethod
    def fit(cls, observations: Sequence[Observation], *, quantity: Quantity) -> Self:
        """Fit to known cases.

        Raises:
            ValueError: for no cases.
        """
        require_cases(observations)
        look, _ = QUANTITIES[quantity]
        return cls(quantity, np.array([look(case) for case in observations], np.float64))

    def score(self, observation: Observation) -> float:
        """Distance to the k-th nearest known case; 0 where it means nothing.

        Raises:
            ValueError: for another number of channels.
        """
        look, tolerance = QUANTITIES[self.quantity]
        values = np.asarray(look(observation), np.float64)
        if values.shape != self.bank.shape[1:]:
            raise ValueError(
                f"the case has {values.size} channels; the known cases have {self.bank.shape[1]}"
            )
        distances = np.abs(self.bank - values).max(axis=1)
        distance = kth_smallest(distances, neighbours(len(self.bank)))
        return distance if distance > tolerance else 0.0

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what ``from_arrays`` takes."""
        return {"quantity": np.array(self.quantity), "bank": self.bank}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Rebuild from ``to_arrays``.

        Raises:
            ValueError: for an unknown quantity.
        """
        named = str(arrays["quantity"])
        for quantity in QUANTITIES:
            if quantity == named:
                return cls(quantity, arrays["bank"])
        raise ValueError(f"the quantity {named!r} is not known; expected one of {', '.join(QUANTITIES)}")


@dataclass(frozen=True)
class Orientation:
    """Surprise at an image's orientation: 0 where all known cases have it, largest where none has.

    The negative logarithm of its share, the case itself counted: -log((known with it + 1) / (known + 1)).

    Attributes:
        codes: orientations of the known cases, each once, in alphabetical order.
        counts: how many known cases have each.
    """

    codes: tuple[str, ...]
    counts: tuple[int, ...]

    @classmethod
    def fit(cls, observations: Sequence[Observation]) -> Self:
        """Fit to known cases.

        Raises:
            ValueError: for no cases.
        """
        require_cases(observations)
        seen = [case.grid.orientation for case in observations]
        codes = tuple(sorted(set(seen)))
        return cls(codes, tuple(seen.count(code) for code in codes))

    def score(self, observation: Observation) -> float:
        """Surprise in natural units of information."""
        count = dict(zip(self.codes, self.counts, strict=True)).get(observation.grid.orientation, 0)
        return float(np.log((sum(self.counts) + 1) / (count + 1)))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what ``from_arrays`` takes."""
        return {"codes": np.array(self.codes, dtype=np.str_), "counts": np.array(self.counts, np.int64)}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Rebuild from ``to_arrays``."""
        return cls(tuple(arrays["codes"].tolist()), tuple(arrays["counts"].tolist()))
