"""Linear resampling of logits in bricks: small boxes of the wanted grid that fit into a core's cache.

A linearly interpolated value lies between the smallest and the largest of its neighbours. So a head whose
largest logit in a brick's neighbourhood is below another head's smallest one cannot win there, and needs no
interpolation. Rounding keeps the order of numbers: what is said of exact values holds for rounded ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from .half import largest_magnitude, unpack
from .points import sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .interpolation import AxisMap
    from .resample import Resize

    Places = tuple[NDArray[np.intp], ...]
    Sides = tuple["Side", "Side", "Side"]

# voxels along each axis, of the wanted grid and of the logits
_SIZE = (8, 32, 64)
# values that are computed at single voxels at once
_POINTS = 2**20
_SIGN = 0x8000  # a float16 number's bit
# error of a float32 interpolation along three axes, as a share of the largest value, with a factor 5 to spare
_SINGLE_ERROR = 4e-6


@dataclass(frozen=True, eq=False)
class Side:
    """A brick's extent along one axis: output samples ``rows`` come from input samples ``window``.

    Attributes:
        weights: float32 (rows, window); None where each row copies one input sample.
        indices: that sample, counted from the window's start; None where the rows are the window.
    """

    rows: slice
    window: slice
    weights: NDArray[np.float32] | None
    indices: NDArray[np.intp] | None

    def apply(self, values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
        """Interpolate (heads, z, y, x) along one of the axes 1 to 3."""
        if self.weights is None:
            return values if self.indices is None else values.take(self.indices, axis)
        heads, depth, height, width = values.shape
        if axis == 1:
            flat = self.weights @ values.reshape(heads, depth, height * width)
            return flat.reshape(heads, len(self.weights), height, width)
        return self.weights @ values if axis == 2 else values @ self.weights.T


def _cut(axis_map: AxisMap, size: int) -> list[Side]:
    """Cut an axis so that neither the rows nor their window grow much larger than the size."""
    step = max(1, int(size * min(1.0, len(axis_map) / axis_map.size)))
    return [
        _side(axis_map, start, min(start + step, len(axis_map))) for start in range(0, len(axis_map), step)
    ]


def _side(axis_map: AxisMap, start: int, stop: int) -> Side:
    window, part = axis_map.rows(start, stop)
    weights = None if part.weights is None else part.weights.astype(np.float32)
    return Side(slice(start, stop), window, weights, None if part.is_identity else part.indices)


class Brick:
    """A box of the wanted grid, and the logits that it depends on.

    Attributes:
        rows: the box.
        low: smallest logit of each head.
        high: largest logit of each head.
    """

    def __init__(self, grid: Grid, sides: Sides) -> None:
        self._grid = grid
        self._sides = sides
        self.rows = tuple(side.rows for side in sides)
        self._logits = np.ascontiguousarray(grid.logits[:, *(side.window for side in sides)])
        self.low, self.high = _extremes(self._logits)

    def values(self, heads: NDArray[np.intp]) -> NDArray[np.float32]:
        """Interpolated logits (heads, z, y, x) in float32, unrounded."""
        values = self._logits[heads]
        single = unpack(values) if values.dtype == np.float16 else values
        for axis in sorted(range(3), key=self._growth):  # growing axes last: less is computed
            single = self._sides[axis].apply(single, axis + 1)
        return single

    def _growth(self, axis: int) -> float:
        side = self._sides[axis]
        return float((side.rows.stop - side.rows.start) / (side.window.stop - side.window.start))


@dataclass(frozen=True, eq=False)
class Grid:
    """Logits and a linear way to the wanted grid."""

    logits: NDArray[Any]
    resize: Resize

    @cached_property
    def error(self) -> float:
        """Of interpolated values in float32, at most; none where samples are only copied."""
        return 0.0 if self.is_copied else _SINGLE_ERROR * largest_magnitude(self.logits)

    @property
    def is_copied(self) -> bool:
        """Whether every wanted voxel is a copy of one of the logits."""
        return all(axis_map.weights is None for axis_map in self.resize.maps)

    def rows(self) -> list[list[Sides]]:
        """Bricks of the whole grid, in rows along the last axis."""
        z, y, x = map(_cut, self.resize.maps, _SIZE)
        return [[(depth, height, width) for width in x] for depth, height in product(z, y)]

    def at(self, places: Places) -> NDArray[Any]:
        """Values (heads, voxels) at voxels (z, y, x) of the grid, rounded to the dtype of the logits."""
        values = np.empty((len(self.logits), len(places[0])), self.logits.dtype)
        step = max(1, _POINTS // len(values))
        for start in range(0, values.shape[1], step):
            chunk = slice(start, start + step)
            z, y, x = (axis[chunk] for axis in places)
            values[:, chunk] = sample(self.logits, self.resize, (z, y, x))
        return values


def _extremes(logits: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Smallest and largest of each head's logits (heads, z, y, x)."""
    flat = logits.reshape(len(logits), -1)
    if logits.dtype != np.float16:
        return flat.min(axis=1), flat.max(axis=1)
    # NumPy is slow with float16. Read as integers, positive numbers grow and negative ones shrink.
    signed, unsigned = flat.view(np.int16), flat.view(np.uint16)
    largest, smallest = signed.max(axis=1), unsigned.min(axis=1)
    most_negative = unsigned.max(axis=1)
    low = np.where(most_negative >= _SIGN, most_negative, smallest)
    high = np.where(largest >= 0, largest.view(np.uint16), smallest)
    return low.view(np.float16), high.view(np.float16)
