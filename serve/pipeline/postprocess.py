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


@dataclass(frozen=True)
class Removal:
    """What one step took out of a mask.

    Attributes:
        step: the bundle's step.
        components: how many were removed.
        voxels: of which they consisted.
    """

    step: KeepLargest
    components: int
    voxels: int


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
    inside = np.isin(mask, step.values)
    box = bounding_box(inside)
    # as bytes: of bool arrays, cc3d refuses masks of many single voxels
    components = cc3d.connected_components(inside[box].astype(np.uint8), connectivity=FULL_CONNECTIVITY)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0  # what is outside
    small = (sizes > 0) & (sizes < sizes.max())
    if not small.any():
        return Removal(step, 0, 0)
    mask[box][small[components]] = step.background
    return Removal(step, int(small.sum()), int(sizes[small].sum()))
