"""The part of a calibration that says how good a mask may be expected to be."""

from __future__ import annotations

from typing import Literal

from nnunet_losses.serve.schema import Frozen


class QualitySection(Frozen):
    """``calibration.json``: section ``quality``. Expected Dice of a mask that is not empty, with an interval.

    ``constant``: the median of the calibration cases. ``linear``: a ridge regression, fitted on one half of
    them; the interval comes from the other half. ``lower`` and ``upper`` are added to the expectation; None
    where there are too few cases for the coverage.
    """

    kind: Literal["constant", "linear"]
    coverage: float = 0.9
    features: tuple[str, ...] = ()
    centre: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    intercept: float
    lower: float | None
    upper: float | None
    n: int  # cases behind the interval
    n_fit: int = 0  # cases behind the regression
