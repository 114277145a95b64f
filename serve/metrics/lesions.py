"""Lesions: connected components of the two masks, and which of them belong together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

import cc3d
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import block_array, csr_array
from scipy.sparse.csgraph import connected_components

from .overlap import check_same_shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class Connectivity(IntEnum):
    """Which neighbours join a lesion: those that share a face, an edge, or a corner (4, 8, 8 in a slice)."""

    FACE = 6
    EDGE = 18
    CORNER = 26


class Matching(StrEnum):
    """Which predicted and reference lesions belong together.

    ``ONE_TO_ONE``: pairs that overlap enough, each lesion in at most one, with the largest sum of IoUs;
    of equally good ways the one with more pairs.
    ``OVERLAP``: a lesion is found when any predicted voxel lies in it; a predicted lesion is false only when
    it touches none. Many may share one, so panoptic quality is not defined.
    """

    ONE_TO_ONE = "one-to-one"
    OVERLAP = "overlap"


@dataclass(frozen=True, eq=False)
class Lesions:
    """Lesions of one case and label, and what became of them.

    Attributes:
        reference_voxels: (references,) size of each reference lesion.
        prediction_voxels: (predictions,) size of each predicted lesion.
        found: (references,) bool, whether a reference lesion was found.
        false: (predictions,) bool, whether a predicted lesion is a false positive.
        untouched_reference: (references,) bool, whether no predicted voxel lies in it.
        untouched_prediction: (predictions,) bool, whether it contains no reference voxel.
        matched_iou: (pairs,) IoU of the pairs, in the reference lesions' order; None without pairs by rule.
    """

    reference_voxels: NDArray[np.int64]
    prediction_voxels: NDArray[np.int64]
    found: NDArray[np.bool_]
    false: NDArray[np.bool_]
    untouched_reference: NDArray[np.bool_]
    untouched_prediction: NDArray[np.bool_]
    matched_iou: NDArray[np.float64] | None

    @property
    def tp(self) -> int:
        """Reference lesions that were found."""
        return int(np.count_nonzero(self.found))

    @property
    def fn(self) -> int:
        """Reference lesions that were not."""
        return int(np.count_nonzero(~self.found))

    @property
    def fp(self) -> int:
        """Predicted lesions that are none."""
        return int(np.count_nonzero(self.false))

    @property
    def f1(self) -> float:
        """TP / (TP + FP / 2 + FN / 2), which panoptic quality calls recognition quality (RQ)."""
        return _ratio(self.tp, self.tp + (self.fp + self.fn) / 2)

    @property
    def sensitivity(self) -> float:
        """TP / (TP + FN)."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def precision(self) -> float:
        """TP / (TP + FP)."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def segmentation_quality(self) -> float:
        """Mean IoU of the pairs (SQ); NaN where there is no pair."""
        if self.matched_iou is None or not self.matched_iou.size:
            return math.nan
        return float(self.matched_iou.mean())

    @property
    def panoptic_quality(self) -> float:
        """Sum of the pairs' IoU / (TP + FP / 2 + FN / 2) (PQ): SQ times RQ.

        Kirillov et al., https://arxiv.org/abs/1801.00868; NaN where lesions are not paired.
        """
        if self.matched_iou is None:
            return math.nan
        return _ratio(float(self.matched_iou.sum()), self.tp + (self.fp + self.fn) / 2)


def find_lesions(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    *,
    connectivity: Connectivity = Connectivity.CORNER,
    matching: Matching = Matching.ONE_TO_ONE,
    minimum_iou: float = 0.0,
) -> Lesions:
    """Find the lesions of both masks, and match them.

    Args:
        prediction: bool (y, x) or (z, y, x).
        reference: bool, the same shape.
        connectivity: which neighbours join a lesion.
        matching: which lesions belong together.
        minimum_iou: that a pair needs, one-to-one; 0: at least one common voxel.

    Raises:
        ValueError: for different shapes, other numbers of axes, or an IoU outside of 0 to 1.

    Example:
        >>> reference = np.array([[1, 1, 0, 0, 1]], bool)
        >>> lesions = find_lesions(np.array([[1, 0, 0, 0, 0]], bool), reference)
        >>> lesions.tp, lesions.fp, lesions.fn, lesions.sensitivity, lesions.segmentation_quality
        (1, 0, 1, 0.5, 0.5)
    """
    check_same_shape(prediction, reference)
    if reference.ndim not in (2, 3):
        raise ValueError(f"the masks have {reference.ndim} axes; lesions are found on 2 or 3")
    if not 0 <= minimum_iou <= 1:
        raise ValueError(f"the minimum IoU is {minimum_iou}; it lies between 0 and 1")
    predicted, predictions = _components(prediction, connectivity)
    referenced, references = _components(reference, connectivity)
    overlaps = _overlaps(predicted, referenced, references, predictions)
    found, false = np.zeros(len(references), bool), np.ones(len(predictions), bool)
    found[overlaps.references], false[overlaps.predictions] = True, False
    untouched = (~found, false)
    iou = None
    if matching is Matching.ONE_TO_ONE:
        found, false, iou = _paired(overlaps, minimum_iou, (len(references), len(predictions)))
    return Lesions(references, predictions, found, false, *untouched, iou)


def _components(
    mask: NDArray[np.bool_], connectivity: Connectivity
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Number the components of a mask from 1, and count the voxels of each."""
    volume = np.ascontiguousarray(mask).view(np.uint8).reshape((1,) * (3 - mask.ndim) + mask.shape)
    # of bool arrays, cc3d 4.1 labels some masks wrongly
    labels, count = cc3d.connected_components(volume, connectivity=int(connectivity), return_N=True)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return labels, sizes.astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Overlaps:
    """Pairs of lesions that share a voxel, by their indices, and their IoU."""

    references: NDArray[np.int64]
    predictions: NDArray[np.int64]
    iou: NDArray[np.float64]


def _overlaps(
    predicted: NDArray[Any],
    referenced: NDArray[Any],
    references: NDArray[np.int64],
    predictions: NDArray[np.int64],
) -> _Overlaps:
    both = (predicted > 0) & (referenced > 0)
    rows, columns = referenced[both].astype(np.int64) - 1, predicted[both].astype(np.int64) - 1
    pairs, common = np.unique(rows * max(len(predictions), 1) + columns, return_counts=True)
    rows, columns = np.divmod(pairs, max(len(predictions), 1))
    return _Overlaps(rows, columns, common / (references[rows] + predictions[columns] - common))


_MORE_PAIRS = 1e-9  # of equally good ways to pair lesions, the one with more pairs


def _paired(
    overlaps: _Overlaps, minimum: float, shape: tuple[int, int]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64]]:
    """Pair within every group of lesions that hang together by overlaps: groups are small."""
    enough = overlaps.iou >= minimum
    iou = csr_array(
        (overlaps.iou[enough], (overlaps.references[enough], overlaps.predictions[enough])), shape
    )
    matched = np.zeros(shape[0])
    false = np.ones(shape[1], bool)
    for rows, columns in _groups(iou):
        part = iou[rows][:, columns].toarray()
        row, column = linear_sum_assignment(part + _MORE_PAIRS * (part > 0), maximize=True)
        real = part[row, column] > 0
        matched[rows[row[real]]] = part[row[real], column[real]]
        false[columns[column[real]]] = False
    return matched > 0, false, matched[matched > 0]


def _groups(iou: Any) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows and columns of each part of the graph that has a pair."""
    _, part = connected_components(block_array([[None, iou], [iou.T, None]]), directed=False)
    of_row, of_column = part[: iou.shape[0]], part[iou.shape[0] :]
    for group in np.unique(of_row[np.unique(iou.nonzero()[0])]):
        yield np.flatnonzero(of_row == group), np.flatnonzero(of_column == group)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
