"""Distances between the surfaces of two masks: normalised surface distance (NSD) and HD95.

The surface of a mask is the set of its voxels that touch a voxel outside of it by a face; beyond the image
is outside. Axes of length 1 do not count: a slice has an outline, not a top and a bottom. Distances are
Euclidean between voxel centres, in the unit of the spacing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import binary_erosion, generate_binary_structure
from scipy.spatial import cKDTree

from .overlap import check_same_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Share of the tolerance by which a distance may exceed it: 3 * 0.1 is more than 0.3, and in the single
# precision of a file's header 1.2 is 1.2000000477.
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """From each surface voxel of one mask to the nearest one of the other; empty where a mask is empty."""

    to_reference: NDArray[np.float64]  # of each surface voxel of the prediction
    to_prediction: NDArray[np.float64]  # of each surface voxel of the reference

    def nsd(self, tolerance: float) -> float:
        """Share of all surface voxels that lie within a tolerance of the other surface, 0 to 1.

        Nikolov et al., https://arxiv.org/abs/1809.04430, with surface voxels in place of surface elements.
        NaN unless both masks have a surface.

        Raises:
            ValueError: for a tolerance that is negative or not finite.
        """
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise ValueError(f"the tolerance is {tolerance}; give a finite distance of at least 0")
        if not self._exist:
            return math.nan
        both = np.concatenate([self.to_reference, self.to_prediction])
        return float(np.mean(both <= tolerance * (1 + ROUNDING)))

    def hausdorff(self, percentile: float = 95) -> float:
        """Larger one of the two directed percentiles, linearly interpolated; NaN unless both have a surface.

        Pooling both directions before the percentile, as MedPy and panoptica do, gives other values.

        Raises:
            ValueError: for a percentile outside of 0 to 100.
        """
        if not 0 <= percentile <= 100:
            raise ValueError(f"the percentile is {percentile}; it lies between 0 and 100")
        if not self._exist:
            return math.nan
        directed = [np.percentile(one, percentile) for one in (self.to_reference, self.to_prediction)]
        return float(max(directed))

    @property
    def _exist(self) -> bool:
        return bool(self.to_reference.size and self.to_prediction.size)


def surface_distances(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing: Sequence[float]
) -> SurfaceDistances:
    """Measure the distances between two surfaces.

    Args:
        prediction: bool, two or three axes.
        reference: bool, the same shape.
        spacing: distance of neighbouring voxels along each axis, in array order.

    Raises:
        ValueError: for different shapes, or a spacing that does not fit them.

    Example:
        >>> one, other = np.zeros((1, 5, 5), bool), np.zeros((1, 5, 5), bool)
        >>> one[0, 1, 1] = other[0, 1, 3] = True
        >>> distances = surface_distances(one, other, (5.0, 1.0, 0.5))
        >>> distances.hausdorff(), distances.nsd(1.0), distances.nsd(0.9)
        (1.0, 1.0, 0.0)
    """
    check_same_shape(prediction, reference)
    check_spacing(spacing, reference.ndim)
    steps = np.asarray(spacing, dtype=np.float64)
    predicted, referenced = (surface_voxels(mask) * steps for mask in (prediction, reference))
    if not (len(predicted) and len(referenced)):
        return SurfaceDistances(np.empty(0), np.empty(0))
    return SurfaceDistances(_nearest(predicted, referenced), _nearest(referenced, predicted))


def surface_voxels(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Find the surface of a mask: indices (voxels, axes), in array order.

    Example:
        >>> len(surface_voxels(np.ones((3, 3, 3), bool))), len(surface_voxels(np.ones((1, 3, 3), bool)))
        (26, 8)
    """
    if not mask.any():
        return np.empty((0, mask.ndim), np.int64)
    box = _bounding_box(mask)
    corner = np.array([side.start for side in box])
    inner = binary_erosion(mask[box], _face_neighbours(mask.shape))
    return np.asarray(np.argwhere(mask[box] & ~inner) + corner, dtype=np.int64)


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    axes = range(mask.ndim)
    inside = [np.flatnonzero(mask.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    return tuple(slice(int(one[0]), int(one[-1]) + 1) for one in inside)


def _face_neighbours(shape: Sequence[int]) -> NDArray[np.bool_]:
    """Face neighbours along the axes on which the image has more than one voxel, if there are such."""
    structure: NDArray[np.bool_] = generate_binary_structure(len(shape), 1)
    return structure[tuple(slice(1, 2) if size == 1 < max(shape) else slice(None) for size in shape)]


def _nearest(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    distances, _ = cKDTree(others).query(points)
    return np.asarray(distances, dtype=np.float64)


def check_spacing(spacing: Sequence[float], axes: int) -> None:
    """Refuse a spacing that is not one positive finite distance for each axis.

    Raises:
        ValueError: for such a spacing.
    """
    if len(spacing) != axes or not all(math.isfinite(step) and step > 0 for step in spacing):
        raise ValueError(f"the spacing is {tuple(spacing)}; give {axes} positive, finite distances")
