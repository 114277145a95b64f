"""Does the answer look like an answer? Volume, number of parts and place of each label, on either side.

No rule of anatomy, but a comparison with what the same model said of known cases that it was not trained
with. What was found where nothing is usually found is strange, and so is what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from .robust import Usual, largest
from .score import require_cases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from .found import Found
    from .observation import Observation
    from .score import Arrays

    Floats = NDArray[np.float64]
    Aspect = Literal["volume", "components", "place"]

# what is compared, and the smallest spread that is believed
ASPECTS: dict[Aspect, tuple[Callable[[Found], Any], float]] = {
    "volume": (lambda found: np.log1p(found.volumes), 0.1),  # a tenth more or less, on a logarithmic scale
    "components": (lambda found: np.log1p(found.components), 0.2),
    "place": (lambda found: found.places.ravel(), 0.02),  # of the body's length
}


@dataclass(frozen=True, eq=False)
class Plausibility:
    """Largest deviation of one aspect over all labels, in robust deviations.

    Attributes:
        aspect: what is compared.
        usual: of every label; for the place of each label's coordinate. None where no mask was known.
    """

    aspect: Aspect
    usual: Usual | None

    @classmethod
    def fit(cls, observations: Sequence[Observation], *, aspect: Aspect) -> Self:
        """Fit to known cases; those without a mask are left out.

        Raises:
            ValueError: for no cases, or such as differ in their number of labels.
        """
        require_cases(observations)
        look, least = ASPECTS[aspect]
        rows = [look(case.found) for case in observations if case.found is not None]
        if not rows:
            return cls(aspect, None)
        sizes = sorted({row.size for row in rows})
        if len(sizes) > 1:
            raise ValueError(f"{aspect}: the cases have {sizes} values; expected the same labels in each")
        return cls(aspect, Usual.of(np.stack(rows), least=least))

    def score(self, observation: Observation) -> float:
        """Deviation of the label that deviates most; NaN without a mask, and of places where nothing is.

        Raises:
            ValueError: for another number of labels.
        """
        if observation.found is None or self.usual is None:
            return float("nan")
        values = ASPECTS[self.aspect][0](observation.found)
        if values.shape != self.usual.centre.shape:
            expected = self.usual.centre.size
            raise ValueError(
                f"{self.aspect}: the case has {values.size} values; the known cases have {expected}"
            )
        return largest(self.usual.deviations(values))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what ``from_arrays`` takes."""
        return {"aspect": np.array(self.aspect), **({} if self.usual is None else self.usual.to_arrays())}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Rebuild from ``to_arrays``.

        Raises:
            ValueError: for an unknown aspect.
        """
        named = str(arrays["aspect"])
        for aspect in ASPECTS:
            if aspect == named:
                return cls(aspect, Usual.from_arrays(arrays) if "centre" in arrays else None)
        raise ValueError(f"the aspect {named!r} is not known; expected one of {', '.join(ASPECTS)}")
