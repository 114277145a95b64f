"""Interpolation along one axis, exactly as SciPy does it in several dimensions.

Spline interpolation on a grid is linear and separable: resizing a volume is one small matrix per axis. The
cubic ones are read off SciPy itself by interpolating unit vectors, so that boundaries and the spline
prefilter are SciPy's own. `scipy.ndimage.zoom` with ``grid_mode=True`` is what `skimage.transform.resize`
calls, `scipy.ndimage.map_coordinates` what nnU-Net calls for a coarse axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Callable

Order = Literal[0, 1, 3]
Signal = NDArray[np.float64]
# input samples and their weights
Tap = tuple[NDArray[np.intp], NDArray[np.float64]]
Neighbour = Tap | tuple[NDArray[np.intp], None]

# Output rows that share one product: the matrices are banded, so small blocks skip most of the zeros.
_BLOCK = 32
# A cubic spline's weights decay by 0.27 a voxel; below this they do not change a float64 sum, but would turn
# into denormal numbers, which are slow.
_NEGLIGIBLE = 1e-18


@dataclass(frozen=True, eq=False)
class AxisMap:
    """How the samples of one output axis come from those of one input axis.

    Attributes:
        size: number of input samples.
        weights: (output samples, input samples); None where each output sample copies one input sample.
        indices: that input sample, for each output sample; used where ``weights`` is None.
        taps: of a linear interpolation: lower and upper neighbours of the output samples.
    """

    size: int
    weights: NDArray[np.float64] | None
    indices: NDArray[np.intp]
    taps: tuple[Tap, Tap] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def is_identity(self) -> bool:
        """Whether the output equals the input."""
        return self.weights is None and np.array_equal(self.indices, np.arange(self.size))

    @cached_property
    def _blocks(self) -> list[tuple[slice, slice, NDArray[np.float64]]]:
        """Cut the matrix into (output rows, input columns, weights) around its band."""
        assert self.weights is not None
        blocks = []
        for start in range(0, len(self), _BLOCK):
            rows = slice(start, min(start + _BLOCK, len(self)))
            columns = _support(self.weights[rows])
            blocks.append((rows, columns, np.ascontiguousarray(self.weights[rows, columns])))
        return blocks

    @property
    def is_linear(self) -> bool:
        """Whether an output sample depends on no more than two neighbouring input samples."""
        return self.weights is None or self.taps is not None

    def neighbours(self, places: NDArray[np.intp]) -> list[Neighbour]:
        """Input samples that output samples depend on, with their weights; of a linear map only."""
        if self.taps is None:
            return [(self.indices[places], None)]
        return [(indices[places], weights[places]) for indices, weights in self.taps]

    def rows(self, start: int, stop: int) -> tuple[slice, AxisMap]:
        """Restrict to output samples [start, stop): the input samples these need, and the map from them."""
        if self.weights is None:
            indices = self.indices[start:stop]
            window = slice(int(indices.min()), int(indices.max()) + 1)
            return window, AxisMap(window.stop - window.start, None, indices - window.start)
        window = _support(self.weights[start:stop])
        weights = self.weights[start:stop, window]
        return window, AxisMap(window.stop - window.start, weights, np.argmax(weights, axis=1))

    def apply(self, volume: NDArray[Any], axis: int) -> NDArray[Any]:
        """Interpolate along one of three axes; the dtype stays (float32 or float64)."""
        if self.is_identity:
            return volume
        if self.weights is None:
            return np.take(volume, self.indices, axis=axis)
        shape = list(volume.shape)
        shape[axis] = len(self)
        result = np.empty(shape, volume.dtype)
        volume = np.ascontiguousarray(volume)
        for rows, columns, weights in self._blocks:
            _product(weights.astype(volume.dtype, copy=False), volume, result, axis, columns, rows)
        return result


def _support(weights: NDArray[np.float64]) -> slice:
    """Columns from the first to the last that some row uses."""
    used = np.flatnonzero(weights.any(axis=0))
    return slice(int(used[0]), int(used[-1]) + 1)


def _product(
    weights: NDArray[Any], volume: NDArray[Any], result: NDArray[Any], axis: int, columns: slice, rows: slice
) -> None:
    """Write ``weights @ volume`` over ``columns`` of an axis into ``rows`` of the result."""
    if axis == 0:
        flat = volume[columns].reshape(columns.stop - columns.start, -1)
        np.matmul(weights, flat, out=result[rows].reshape(len(weights), -1))
    elif axis == 1:
        np.matmul(weights, volume[:, columns], out=result[:, rows])
    else:
        flat, out = (array.reshape(-1, array.shape[2]) for array in (volume, result))
        np.matmul(flat[:, columns], weights.T, out=out[:, rows])


@lru_cache(maxsize=64)
def resize_axis(size: int, new_size: int, order: Order) -> AxisMap:
    """One axis of `skimage.transform.resize` with ``mode="edge"``, without anti-aliasing and before clipping.

    Example:
        >>> resize_axis(2, 4, 1).weights
        array([[1.  , 0.  ],
               [0.75, 0.25],
               [0.25, 0.75],
               [0.  , 1.  ]])
    """
    if size == new_size:
        return AxisMap(size, None, np.arange(size))
    if order == 1:
        return _linear((np.arange(new_size) + 0.5) * (size / new_size) - 0.5, size)

    def zoom(signal: Signal) -> Signal:
        result = ndimage.zoom(signal, new_size / size, order=order, mode="nearest", grid_mode=True)
        return np.asarray(result, np.float64)

    return _read_off(zoom, size, order)


@lru_cache(maxsize=64)
def map_axis(size: int, new_size: int, order: Order) -> AxisMap:
    """The coarse axis of nnU-Net's separate z: `map_coordinates` with ``mode="nearest"``."""
    if size == new_size:
        return AxisMap(size, None, np.arange(size))
    # in nnU-Net's order of operations, since nearest neighbours depend on the last bit
    coordinates = float(size) / new_size * (np.arange(new_size) + 0.5) - 0.5
    if order == 1:
        return _linear(coordinates, size)

    def sample(signal: Signal) -> Signal:
        result = ndimage.map_coordinates(signal, coordinates[np.newaxis], order=order, mode="nearest")
        return np.asarray(result, np.float64)

    return _read_off(sample, size, order)


def _linear(coordinates: NDArray[Any], size: int) -> AxisMap:
    """Linear interpolation at coordinates; beyond the ends both neighbours are the last sample."""
    floor = np.floor(coordinates)
    lower, upper = (np.clip(floor + step, 0, size - 1).astype(np.intp) for step in (0, 1))
    lower_weight = 1 - (coordinates - floor)
    upper_weight = 1 - lower_weight  # not the fraction itself: SciPy's differs in the last bit
    weights = np.zeros((len(coordinates), size))
    rows = np.arange(len(coordinates))
    weights[rows, lower] += lower_weight
    weights[rows, upper] += upper_weight
    return AxisMap(size, weights, lower, ((lower, lower_weight), (upper, upper_weight)))


def _read_off(interpolate: Callable[[Signal], Signal], size: int, order: Order) -> AxisMap:
    """Find the matrix of a linear operation from what it makes of unit vectors."""
    if order == 0:
        return AxisMap(size, None, interpolate(np.arange(size, dtype=np.float64)).astype(np.intp))
    weights = np.stack([interpolate(unit) for unit in np.eye(size)], axis=1)
    weights[np.abs(weights) < _NEGLIGIBLE] = 0
    return AxisMap(size, weights, np.argmax(weights, axis=1))
