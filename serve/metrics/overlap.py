"""Voxels that two masks share, and the Dice coefficient and the Jaccard index from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class VoxelCounts:
    """True and false positives and negatives, in voxels.

    Example:
        >>> counts = VoxelCounts(tp=3, fp=1, fn=2, tn=10)
        >>> round(counts.dice, 3), counts.iou
        (0.667, 0.5)
        >>> VoxelCounts(tp=0, fp=0, fn=0, tn=16).dice
        nan
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def predicted(self) -> int:
        """Voxels of the prediction."""
        return self.tp + self.fp

    @property
    def referenced(self) -> int:
        """Voxels of the reference."""
        return self.tp + self.fn

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN), 0 to 1; NaN where both masks are empty."""
        size = self.predicted + self.referenced
        return 2 * self.tp / size if size else math.nan

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN), 0 to 1; NaN where both masks are empty."""
        union = self.tp + self.fp + self.fn
        return self.tp / union if union else math.nan


def count_voxels(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], valid: NDArray[np.bool_] | None = None
) -> VoxelCounts:
    """Count voxels of two masks.

    Args:
        prediction: bool, any shape.
        reference: bool, the same shape.
        valid: bool, the same shape; voxels outside of it are not counted at all. None: all are.

    Raises:
        ValueError: for different shapes.

    Example:
        >>> count_voxels(np.array([True, True, False]), np.array([True, False, False]))
        VoxelCounts(tp=1, fp=1, fn=0, tn=1)
    """
    check_same_shape(prediction, reference)
    total = reference.size
    if valid is not None:
        check_same_shape(valid, reference)
        prediction, reference, total = prediction & valid, reference & valid, int(np.count_nonzero(valid))
    tp = int(np.count_nonzero(prediction & reference))
    fp = int(np.count_nonzero(prediction)) - tp
    fn = int(np.count_nonzero(reference)) - tp
    return VoxelCounts(tp=tp, fp=fp, fn=fn, tn=total - tp - fp - fn)


def as_mask(values: Any, name: str) -> NDArray[np.bool_]:
    """Take an array of 0 and 1, of any type, for a mask.

    Raises:
        ValueError: it holds anything else.

    Example:
        >>> as_mask([[0, 1]], "prediction")
        array([[False,  True]])
    """
    array = np.asarray(values)
    if array.dtype == np.bool_:
        return array
    strange = array[(array != 0) & (array != 1)]
    if strange.size:
        raise ValueError(f"the {name} holds {strange[0]}; give 0 and 1 alone, as {name} == label does")
    return np.asarray(array == 1)


def check_same_shape(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> None:
    """Refuse masks of different shapes, which NumPy might broadcast.

    Raises:
        ValueError: for different shapes.
    """
    if prediction.shape != reference.shape:
        raise ValueError(
            f"the masks have the shapes {prediction.shape} and {reference.shape}; "
            "resample one to the grid of the other"
        )
