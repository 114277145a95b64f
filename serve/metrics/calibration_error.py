"""Expected calibration error: whether of voxels with probability p a share of p is foreground."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

BINS = 15


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """Voxels by their probability of foreground, in bins of equal width: [0, 1/B), ..., [1 - 1/B, 1].

    Attributes:
        voxels: (bins,) number of voxels.
        probability: (bins,) sum of their probabilities.
        foreground: (bins,) number of those that are foreground in the reference.
    """

    voxels: NDArray[np.int64]
    probability: NDArray[np.float64]
    foreground: NDArray[np.int64]

    @property
    def expected_calibration_error(self) -> float:
        """Mean of |share of foreground - mean probability| over the bins, weighted by voxels; 0 to 1.

        That of the foreground's probability (Guo et al., https://arxiv.org/abs/1706.04599, with the class's
        own probability in place of the larger one). Background counts: a large image has a small error.
        """
        total = int(self.voxels.sum())
        return float(np.abs(self.foreground - self.probability).sum() / total) if total else math.nan

    @staticmethod
    def pooled(several: Iterable[ReliabilityBins]) -> ReliabilityBins:
        """Add the bins of several cases.

        Raises:
            ValueError: without any case.
        """
        cases = list(several)
        if not cases:
            raise ValueError("there are no bins to add; give those of at least one case")
        return ReliabilityBins(
            np.sum([case.voxels for case in cases], axis=0),
            np.sum([case.probability for case in cases], axis=0),
            np.sum([case.foreground for case in cases], axis=0),
        )


def reliability_bins(
    probability: NDArray[np.floating],
    reference: NDArray[np.bool_],
    valid: NDArray[np.bool_] | None = None,
    *,
    bins: int = BINS,
) -> ReliabilityBins:
    """Sort voxels by their probability.

    Args:
        probability: of foreground, 0 to 1, any shape.
        reference: bool, the same shape.
        valid: bool, the same shape; other voxels are not counted. None: all are.
        bins: number of bins.

    Raises:
        ValueError: for different shapes, values outside of 0 to 1, or less than one bin.

    Example:
        >>> bins = reliability_bins(np.array([0.1, 0.1, 0.9, 0.9]), np.array([False, False, True, False]))
        >>> round(bins.expected_calibration_error, 3)
        0.25
    """
    if probability.shape != reference.shape:
        raise ValueError(f"probabilities {probability.shape} and reference {reference.shape} differ in shape")
    if bins < 1:
        raise ValueError(f"the number of bins is {bins}; use at least one")
    chosen = np.ones(reference.shape, bool) if valid is None else valid
    values = probability[chosen].astype(np.float64)
    if not bool(np.all((values >= 0) & (values <= 1))):
        raise ValueError("some probabilities are not from 0 to 1; give probabilities, not logits")
    index = np.minimum((values * bins).astype(np.int64), bins - 1)
    return ReliabilityBins(
        np.bincount(index, minlength=bins).astype(np.int64),
        np.bincount(index, weights=values, minlength=bins).astype(np.float64),
        np.bincount(index[reference[chosen]], minlength=bins).astype(np.int64),
    )
