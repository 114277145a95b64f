"""nnU-Net's postprocessing: of what belongs together, only the largest component stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cc3d
import numpy as np

from .nonzero import bounding_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.schema import KeepLargest

FULL_CONNECTIVITY = 26  # 8 neighbours where there is one slice
MOST_PARTS = 1000  # that are described one by one: the mask of an image of noise may have a million


@dataclass(frozen=True)
class Part:
    """One connected component; or all that are smaller than the ``MOST_PARTS`` largest, together.

    Attributes:
        voxels: of which it consists.
        place: its centroid (z, y, x), in voxels of the mask.
        values: what the mask held in it, ascending.
        components: for how many it stands.
    """

    voxels: int
    place: tuple[float, float, float]
    values: tuple[int, ...]
    components: int = 1


@dataclass(frozen=True)
class Removal:
    """What one step took out of a mask.

    Attributes:
        step: the bundle's step.
        parts: the components that were removed, the largest first.
    """

    step: KeepLargest
    parts: tuple[Part, ...] = ()

    @property
    def components(self) -> int:
        """How many were removed."""
        return sum(part.components for part in self.parts)

    @property
    def voxels(self) -> int:
        """Of which they consisted."""
        return sum(part.voxels for part in self.parts)


def postprocess(mask: NDArray[Any], steps: Sequence[KeepLargest]) -> tuple[NDArray[Any], tuple[Removal, ...]]:
    """Apply steps one after the other, as ``nnUNetv2_apply_postprocessing`` does.

    Args:
        mask: integers (z, y, x); changed in place.
        steps: in order.

    Returns:
        The mask, and what each step removed from it.

    Example:
        >>> from nnunet_losses.serve.schema import KeepLargest
        >>> mask = np.array([[[1, 1, 0, 2, 0, 1]]], np.uint8)
        >>> mask, removed = postprocess(mask, [KeepLargest(values=(1,)), KeepLargest(values=(1, 2))])
        >>> mask.tolist(), [(removal.components, removal.voxels) for removal in removed]
        ([[[1, 1, 0, 0, 0, 0]]], [(1, 1), (1, 1)])
    """
    return mask, tuple(_keep_largest(mask, step) for step in steps)


def _keep_largest(mask: NDArray[Any], step: KeepLargest) -> Removal:
    """Remove in place; components of the same largest size all stay."""
    components, box = _components(np.isin(mask, step.values))
    sizes = np.bincount(components.ravel())
    sizes[0] = 0  # what is outside
    small = (sizes > 0) & (sizes < sizes.max())
    if not small.any():
        return Removal(step)
    parts = _parts(mask[box], np.where(small[components], components, 0), box)
    mask[box][small[components]] = step.background
    return Removal(step, parts)


def parts_of(mask: NDArray[Any], inside: NDArray[np.bool_]) -> tuple[Part, ...]:
    """Connected components of a part of a mask, the largest first.

    Args:
        mask: integers (z, y, x).
        inside: which of its voxels, (z, y, x).

    Example:
        >>> mask = np.array([[[1, 2, 0, 2, 0, 1]]], np.uint8)
        >>> parts_of(mask, mask > 0)[0]
        Part(voxels=2, place=(0.0, 0.0, 0.5), values=(1, 2), components=1)
    """
    components, box = _components(inside)
    return _parts(mask[box], components, box)


def _components(inside: NDArray[np.bool_]) -> tuple[NDArray[Any], tuple[slice, ...]]:
    """Number of each voxel's component in a box around them all; 0 outside of them."""
    box = bounding_box(inside)
    # as bytes: of bool arrays, cc3d refuses masks of many single voxels
    return cc3d.connected_components(inside[box].astype(np.uint8), connectivity=FULL_CONNECTIVITY), box


def _parts(mask: NDArray[Any], components: NDArray[Any], box: tuple[slice, ...]) -> tuple[Part, ...]:
    """Describe the components of a box of a mask that have a number."""
    where = np.nonzero(components)
    rows, members = _rows(components[where])
    counts = np.bincount(rows)
    sums = [np.bincount(rows, own.astype(np.float64)) for own in where]
    centroids = [total / counts + side.start for total, side in zip(sums, box, strict=True)]
    found = []
    for row, held in enumerate(_values(mask[where], rows, len(counts))):
        z, y, x = (round(float(axis[row]), 2) for axis in centroids)
        found.append(Part(int(counts[row]), (z, y, x), held, int(members[row])))
    return tuple(found)


def _rows(numbers: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Each voxel's row, the largest component's first and the last shared; and the components of each row."""
    sizes = np.bincount(numbers)
    largest_first = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    places = np.minimum(np.arange(len(largest_first)), MOST_PARTS)
    row_of = np.zeros(len(sizes), np.intp)
    row_of[largest_first] = places
    return row_of[numbers], np.bincount(places)


def _values(held: NDArray[Any], rows: NDArray[np.intp], count: int) -> list[tuple[int, ...]]:
    """What the voxels of each row held, ascending."""
    values, index = np.unique(held, return_inverse=True)
    seen = (
        np.bincount(rows * len(values) + index, minlength=count * len(values)).reshape(count, len(values)) > 0
    )
    return [tuple(values[row].tolist()) for row in seen]
