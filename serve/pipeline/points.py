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

_CHUNK = 2**16  # voxels at a time


def sample(volumes: NDArray[Any], resize: Resize, places: tuple[NDArray[np.intp], ...]) -> NDArray[Any]:
    """Resampled values at single voxels of the result.

    Args:
        volumes: (heads, z, y, x).
        resize: a linear one.
        places: voxels of the result, one array per axis.

    Returns:
        (heads, voxels), computed in float64 and rounded to the dtype of the volumes.
    """
    result = np.empty((len(volumes), len(places[0])), volumes.dtype)
    for start in range(0, len(places[0]), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        result[:, chunk] = _sample(volumes, resize, tuple(axis[chunk] for axis in places))
    return result


def _sample(
    volumes: NDArray[Any], resize: Resize, places: tuple[NDArray[np.intp], ...]
) -> NDArray[np.float64]:
    neighbours = [axis_map.neighbours(place) for axis_map, place in zip(resize.maps, places, strict=True)]
    if resize.last is None:
        return _blend(volumes, neighbours)
    # separate z: the coarse axis comes after the other two
    total = np.zeros((len(volumes), len(places[0])))
    for index, weight in neighbours[resize.last]:
        plane = [[(index, None)] if axis == resize.last else neighbours[axis] for axis in range(3)]
        total += _weighted(_blend(volumes, plane), weight)
    return total


def _blend(volumes: NDArray[Any], neighbours: Sequence[Sequence[Neighbour]]) -> NDArray[np.float64]:
    """Sum of the weighted corners: the last axis changes fastest, weights multiply from the first axis on."""
    total = np.zeros((len(volumes), len(neighbours[0][0][0])))
    for (z, weight_z), (y, weight_y), (x, weight_x) in product(*neighbours):
        value = volumes[:, z, y, x].astype(np.float64)
        for weight in (weight_z, weight_y, weight_x):
            value = _weighted(value, weight)
        total += value
    return total


def _weighted(value: NDArray[np.float64], weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
    return value if weight is None else value * weight
