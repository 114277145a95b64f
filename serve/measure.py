"""What is in a mask: voxels, volume and components of each label."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cc3d
import numpy as np

from .answer import LabelAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .image import Geometry
    from .schema import Label, ModelDescription

FULL_CONNECTIVITY = 26  # 8 neighbours where there is one slice
CUBIC_MILLIMETRES_PER_MILLILITRE = 1000


def measure_labels(
    mask: NDArray[Any], geometry: Geometry, description: ModelDescription
) -> tuple[LabelAnswer, ...]:
    """Measure every label of the model in a mask.

    Args:
        mask: integers (z, y, x).
        geometry: of the image, for the volume of a voxel.
        description: of the model; a region consists of several mask values.
    """
    return tuple(_measure(mask, label, geometry) for label in description.labels)


def _measure(mask: NDArray[Any], label: Label, geometry: Geometry) -> LabelAnswer:
    inside = label_voxels(mask, label.members)
    voxels = int(np.count_nonzero(inside))
    return LabelAnswer(
        name=label.name,
        present=voxels > 0,
        voxels=voxels,
        volume_ml=_volume(voxels, geometry),
        components=count_components(inside) if voxels else 0,
    )


def label_voxels(mask: NDArray[Any], members: Sequence[int]) -> NDArray[np.bool_]:
    """Where a mask holds one of some values.

    Example:
        >>> label_voxels(np.array([0, 1, 2]), (1, 2)).tolist()
        [False, True, True]
    """
    if len(members) == 1:
        return np.asarray(mask == members[0])
    return np.isin(mask, np.asarray(members, mask.dtype))


def _volume(voxels: int, geometry: Geometry) -> float | None:
    """Volume in millilitres; a picture has none."""
    if geometry.dimension == 2:
        return None
    return voxels * math.prod(geometry.spacing) / CUBIC_MILLIMETRES_PER_MILLILITRE


def count_components(inside: NDArray[np.bool_]) -> int:
    """Number of connected parts of (z, y, x), where voxels touch that share a corner.

    Example:
        >>> count_components(np.eye(3, dtype=bool)[None])
        1
    """
    _, count = cc3d.connected_components(
        inside.view(np.uint8),  # of bool arrays, cc3d 4.1 refuses masks of many single voxels
        connectivity=FULL_CONNECTIVITY,
        return_N=True,
    )
    return int(count)
