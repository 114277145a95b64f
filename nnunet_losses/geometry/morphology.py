"""Skeletons of masks and tubes around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cc3d
import numpy as np
from skimage.morphology import skeletonize

from .components import components

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .distance import Mask

MANY_COMPONENTS = 64  # from here on one thinning of the whole patch beats one per component


def skeleton_tube(mask: Mask) -> Mask:
    """Skeleton of the mask, dilated twice by the voxel and its face neighbours; it may reach beyond the mask.

    The thinning is scikit-image's (Zhang in 2D, Lee in 3D), so that its version decides on single voxels.
    Source: Kirchhoff et al., Skeleton Recall loss, https://arxiv.org/abs/2404.03010.

    Example:
        >>> skeleton_tube(np.eye(5, dtype=bool)).sum()
        np.int64(19)
    """
    tube = np.zeros_like(mask)
    for box, part in _thinning_jobs(mask):
        tube[box] |= skeletonize(part) > 0
    for _ in range(2):
        tube = _dilate_by_faces(tube)
    return tube


def soft_skeleton(mask: Mask, iterations: int) -> Mask:
    """The soft skeleton of clDice, for a mask instead of probabilities.

    An opening here is a 3^n maximum of a minimum over face neighbours, and neighbours outside the patch do
    not count. Source: Shit et al., clDice, https://arxiv.org/abs/2003.07311.

    Example:
        >>> soft_skeleton(np.ones((3, 5), bool), iterations=1).astype(int)
        array([[0, 0, 0, 0, 0],
               [0, 0, 0, 0, 0],
               [0, 0, 0, 0, 0]])
    """
    skeleton = np.zeros_like(mask)
    box = bounding_box(mask, margin=1)
    part = mask[box]
    found = part & ~_dilate_by_cube(_erode(part))
    for _ in range(iterations):
        eroded = _erode(part)
        if not eroded.any() or np.array_equal(eroded, part):
            break
        part = eroded
        found |= part & ~_dilate_by_cube(_erode(part))
    skeleton[box] = found
    return skeleton


def bounding_box(mask: Mask, margin: int = 0) -> tuple[slice, ...]:
    """Smallest box that holds the mask, with a margin where the patch has room; empty for an empty mask.

    Example:
        >>> bounding_box(np.array([[False, False, True, True]]))
        (slice(0, 1, None), slice(2, 4, None))
    """
    box = []
    for axis in range(mask.ndim):
        hits = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        low, high = (int(hits[0]), int(hits[-1]) + 1) if hits.size else (0, 0)
        box.append(slice(max(0, low - margin), high + margin if hits.size else 0))
    return tuple(slice(item.start, min(item.stop, size)) for item, size in zip(box, mask.shape, strict=True))


def _thinning_jobs(mask: Mask) -> Iterator[tuple[tuple[slice, ...], Mask]]:
    # Thinning looks at a voxel's 3^n neighbours only, so that components do not influence each other.
    ids = components(mask)
    boxes = cc3d.statistics(ids.view(np.uint32))["bounding_boxes"][1:] if mask.any() else []
    if len(boxes) > MANY_COMPONENTS:
        box = bounding_box(mask)
        yield box, mask[box]
        return
    for number, found in enumerate(boxes, start=1):
        box = tuple(found)
        yield box, np.ascontiguousarray(ids[box] == number)


def _sides(mask: Mask) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    for axis in range(mask.ndim):
        before = (slice(None),) * axis
        low, high = (*before, slice(None, -1)), (*before, slice(1, None))
        yield low, high
        yield high, low


def _erode(mask: Mask) -> Mask:
    eroded = mask.copy()
    for here, neighbour in _sides(mask):
        eroded[here] &= mask[neighbour]
    return eroded


def _dilate_by_faces(mask: Mask) -> Mask:
    dilated = mask.copy()
    for here, neighbour in _sides(mask):
        dilated[here] |= mask[neighbour]
    return dilated


def _dilate_by_cube(mask: Mask) -> Mask:
    for axis in range(mask.ndim):
        before = (slice(None),) * axis
        low, high = (*before, slice(None, -1)), (*before, slice(1, None))
        grown = mask.copy()
        grown[low] |= mask[high]
        grown[high] |= mask[low]
        mask = grown
    return mask
