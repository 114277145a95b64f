"""Linear interpolation at single voxels, with SciPy's order of operations: equal to the last bit."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .interpolation import Neighbour
    from .resample import Resize


def sample(
    volumes: NDArray[Any], resize: Resize, places: tuple[NDArray[np.intp], ...]
) -> NDArray[np.float64]:
    """Resampled values at voxels of the result.

    skimage also clips a linear result to the range of its input. That moves a value by one float64 step at
    most, towards a value of the input, and is left out.

    Args:
        volumes: (heads, z, y, x).
        resize: a linear one.
        places: voxels of the result: one array of indices per axis; they broadcast, as when indexing.

    Returns:
        (heads, *shape of the places).
    """
    neighbours = [axis_map.neighbours(place) for axis_map, place in zip(resize.maps, places, strict=True)]
    if resize.last is None:
        return _blend(volumes, neighbours)
    # separate z: the coarse axis comes after the other two
    total: NDArray[np.float64] | float = 0.0
    for index, weight in neighbours[resize.last]:
        plane = [[(index, None)] if axis == resize.last else neighbours[axis] for axis in range(3)]
        total = total + _weighted(_blend(volumes, plane), weight)
    return np.asarray(total)


def _blend(volumes: NDArray[Any], neighbours: Sequence[Sequence[Neighbour]]) -> NDArray[np.float64]:
    """Sum of the weighted corners: the last axis changes fastest, weights multiply from the first axis on."""
    total: NDArray[np.float64] | float = 0.0
    for (z, weight_z), (y, weight_y), (x, weight_x) in product(*neighbours):
        value = volumes[:, z, y, x].astype(np.float64)
        for weight in (weight_z, weight_y, weight_x):
            value = _weighted(value, weight)
        total = total + value
    return np.asarray(total)


def _weighted(value: NDArray[np.float64], weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
    return value if weight is None else value * weight
