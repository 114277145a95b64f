"""Euclidean distance maps, centre to centre, in the units of ``spacing``."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import edt
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Mask: TypeAlias = "NDArray[np.bool_]"
Ids: TypeAlias = "NDArray[np.int32]"
Distances: TypeAlias = "NDArray[np.float32]"
Spacing: TypeAlias = "tuple[float, ...] | None"

ROUNDING = 1e-5  # relative; distances that differ by less are equal


def distance_map(mask: Mask, spacing: Spacing = None, *, threads: int = 1) -> Distances:
    """Distance to the other side: in the mask to the nearest voxel outside it, elsewhere to the mask.

    Args:
        mask: the class, 2D or 3D.
        spacing: distance between voxel centres along each axis; None: 1.
        threads: how many; data-loader workers have one.

    Returns:
        Distances, all greater than 0; 0 everywhere if the mask is empty or fills the patch.

    Example:
        >>> distance_map(np.array([[False, False, True, True, True]]), spacing=(1.0, 0.5))
        array([[1. , 0.5, 0.5, 1. , 1.5]], dtype=float32)
    """
    return label_distance_map(mask, spacing, threads=threads)


def label_distance_map(
    labels: NDArray[np.integer | np.bool_], spacing: Spacing = None, *, threads: int = 1
) -> Distances:
    """Distance to the nearest voxel with another label; 0 everywhere if there is one label only.

    Args:
        labels: non-negative ids below 65535, 2D or 3D.
        spacing: as for ``distance_map``.
        threads: as for ``distance_map``.

    Example:
        >>> label_distance_map(np.array([[0, 0, 0, 2, 1]]))
        array([[3., 2., 1., 1., 1.]], dtype=float32)
    """
    # One multi-label transform serves both sides of every boundary. It takes 0 for "outside", hence the 1.
    padded = _padded(labels)
    padded += 1
    if (padded == padded.flat[0]).all():
        return np.zeros(labels.shape, np.float32)
    distances: Distances = edt.edt(
        padded, anisotropy=spacing or (1.0,) * labels.ndim, black_border=False, parallel=threads
    )
    return distances[..., :-1, :]


def _padded(labels: NDArray[np.integer | np.bool_]) -> NDArray[np.uint8 | np.uint16]:
    """Double the last row of each plane, which changes no distance.

    Rows whose number is no power of two spare the transform cache conflicts: a quarter of its time.
    """
    *planes, rows, columns = labels.shape
    padded = np.empty((*planes, rows + 1, columns), np.uint8 if labels.dtype == np.bool_ else np.uint16)
    padded[..., :-1, :] = labels
    padded[..., -1, :] = padded[..., -2, :]
    return padded


def signed_distance_map(mask: Mask, spacing: Spacing = None) -> Distances:
    """Distance outside the mask; inside -(distance - min(spacing)), so that the inner boundary voxel has 0.

    Source: Kervadec et al., https://doi.org/10.1016/j.media.2020.101851, there at unit spacing.

    Args:
        mask: the class, 2D or 3D.
        spacing: as for ``distance_map``.

    Returns:
        Signed distances; 0 everywhere if the mask is empty or fills the patch.

    Example:
        >>> signed_distance_map(np.array([[False, False, True, True, True]]))
        array([[ 2.,  1.,  0., -1., -2.]], dtype=float32)
    """
    distances = distance_map(mask, spacing)
    if not distances.any():
        return distances
    step = np.float32(min(spacing) if spacing else 1)
    distances[mask] = step - distances[mask]
    return distances


def boundary_proximity(labels: NDArray[np.integer | np.bool_], spacing: Spacing = None) -> Distances:
    """1 next to the boundary of each label's region, falling linearly to 0 at its deepest voxel.

    Source: the distance penalty in Ma et al., https://doi.org/10.1016/j.media.2021.102035, for two classes.

    Args:
        labels: non-negative ids, 2D or 3D.
        spacing: as for ``distance_map``.

    Returns:
        (max d - d) / (max d - min d) over the voxel's own region; 1 where that is 0/0; 0 if one label fills
        the patch.

    Example:
        >>> boundary_proximity(np.array([[0, 0, 0, 1, 1]]))
        array([[0. , 0.5, 1. , 1. , 0. ]], dtype=float32)
    """
    distances = label_distance_map(labels, spacing)
    if not distances.any():
        return distances
    regions = [labels == region for region in range(1, int(labels.max()) + 1)]
    inside = [_proximity(distances[region]) for region in regions]
    background = labels == 0
    if background.any():
        # In place, with the rest out of the way: selecting most of a patch takes longer than all else here.
        highest = distances.max(where=background, initial=0)
        np.copyto(distances, highest, where=~background)
        distances = _proximity(distances)
    for region, values in zip(regions, inside, strict=True):
        distances[region] = values
    return distances


def _proximity(distances: Distances) -> Distances:
    """Turn the distances of one region into its proximity, in place."""
    if not distances.size:
        return distances
    deepest, nearest = distances.max(), distances.min()
    if deepest - nearest <= ROUNDING * deepest:
        distances.fill(1)
        return distances
    np.subtract(deepest, distances, out=distances)
    distances /= deepest - nearest
    return distances
