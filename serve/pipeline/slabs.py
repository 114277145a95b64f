"""Resampled logits of a few slices at a time, as exactly as they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .half import largest_magnitude
from .points import sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .resample import Limits, Resize

# output voxels that are computed at once: a few arrays of this size fit into a core's cache
_VOXELS = 2**18
# single voxels that are computed at once, for all heads
_POINTS = 2**16
# error of a float32 interpolation along three axes, as a share of the largest value, with a factor 5 to spare
_SINGLE_ERROR = 4e-6


class Slab:
    """Slices [start, stop) of the wanted grid.

    Attributes:
        rows: these slices.
        heads: number of logit channels.
        error: of values in float32, at most.
        has_points: whether values change by rounding, and can be computed at single voxels.
    """

    def __init__(
        self, volume: tuple[NDArray[Any], list[Limits], float], resize: Resize, start: int, stop: int
    ) -> None:
        self._logits, self._limits, self.error = volume
        self._resize = resize
        self._window, self._part = resize.rows(start, stop)
        self.rows = slice(start, stop)
        self.heads = len(self._logits)
        is_rounded = self._logits.dtype == np.float16 and not resize.is_identity
        self.has_points = is_rounded and resize.is_linear

    def single(self, head: int) -> NDArray[np.float32]:
        """Values (z, y, x) in float32, unrounded; only where nothing is clipped."""
        return self._part(self._logits[head, self._window].astype(np.float32), None)

    def rounded(self, head: int) -> NDArray[np.float32]:
        """Values (z, y, x) in float32, rounded to the dtype of the logits."""
        window = self._logits[head, self._window]
        if self._part.is_identity:
            return window.astype(np.float32)
        exact = self._exact(head, window)
        return exact.astype(window.dtype).astype(np.float32)

    def _exact(self, head: int, window: NDArray[Any]) -> NDArray[np.float64]:
        if self._resize.is_linear:
            grid = np.ix_(np.arange(self.rows.start, self.rows.stop), *map(np.arange, self._resize.shape[1:]))
            linear: NDArray[np.float64] = sample(self._logits[head : head + 1], self._resize, grid)[0]
            return linear
        limits = self._limits[head]
        if limits is not None and self._resize.last == 0:  # each input slice has its own
            limits = (limits[0][self._window], limits[1][self._window])
        return self._part(window.astype(np.float64), limits)

    def at(self, heads: slice, places: tuple[NDArray[np.intp], ...]) -> NDArray[Any]:
        """Values (heads, voxels) at voxels (z, y, x) of this slab, rounded as nnU-Net rounds them."""
        logits = self._logits[heads]
        values = np.empty((len(logits), len(places[0])), logits.dtype)
        for start in range(0, values.shape[1], _POINTS):
            chunk = slice(start, start + _POINTS)
            z, y, x = (axis[chunk] for axis in places)
            values[:, chunk] = sample(logits, self._resize, (z + self.rows.start, y, x))
        return values


def slabs(logits: NDArray[Any], resize: Resize) -> Iterator[Slab]:
    """Cut the wanted grid into slabs."""
    limits = [resize.limits(head) for head in logits]
    volume = (logits, limits, _SINGLE_ERROR * largest_magnitude(logits))
    depth, height, width = resize.shape
    step = max(1, _VOXELS // (height * width))
    for start in range(0, depth, step):
        yield Slab(volume, resize, start, min(start + step, depth))
