"""The nonzero region: where any channel differs from zero, and the holes inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cc3d
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .parallel import Workers

    Box = tuple[slice, slice, slice]

_VOXELS = 2**18  # that are looked at at once


def nonzero_box(data: NDArray[Any], workers: Workers) -> Box:
    """Smallest box around the voxels (z, y, x) that some channel does not have at zero; else everything.

    Example:
        >>> from nnunet_losses.serve.pipeline.parallel import Workers
        >>> data = np.zeros((2, 4, 4, 4)); data[0, 1, 2:, 0] = data[1, 2, 2, 0] = 1
        >>> nonzero_box(data, Workers(1))
        (slice(1, 3, None), slice(2, 4, None), slice(0, 1, None))
    """
    depth, height, width = data.shape[1:]
    step = max(1, _VOXELS // max(1, height * width))
    chunks = [slice(start, start + step) for start in range(0, depth, step)]
    occupied = workers.map(lambda chunk: _occupied(nonzero(data[:, chunk])), chunks)
    z = np.concatenate([planes for planes, _, _ in occupied])
    y, x = (np.any(lines, axis=0) for lines in list(zip(*occupied, strict=True))[1:])
    return _extent(z), _extent(np.asarray(y)), _extent(np.asarray(x))


def bounding_box(mask: NDArray[Any]) -> Box:
    """Smallest box around the True voxels of (z, y, x); the whole volume where there are none.

    Example:
        >>> mask = np.zeros((4, 4, 4), bool); mask[1, 2:, 0] = True
        >>> bounding_box(mask)
        (slice(1, 2, None), slice(2, 4, None), slice(0, 1, None))
    """
    z, y, x = map(_extent, _occupied(mask))
    return z, y, x


def nonzero(data: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether any of the channels differs from zero: (z, y, x) of (channels, z, y, x)."""
    result: NDArray[np.bool_] = data[0] != 0
    for channel in data[1:]:
        result |= channel != 0
    return result


def _occupied(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], ...]:
    return tuple(np.asarray(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))


def _extent(occupied: NDArray[np.bool_]) -> slice:
    positions = np.flatnonzero(occupied)
    return slice(int(positions[0]), int(positions[-1]) + 1) if len(positions) else slice(0, len(occupied))


def fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill what no path of False voxels, face to face, connects with the border of (z, y, x).

    The same as `scipy.ndimage.binary_fill_holes`, which peels the outside off layer by layer.

    Example:
        >>> mask = np.zeros((3, 3, 5), bool); mask[:, :, :3] = True; mask[1, 1, 1] = False
        >>> int(mask.sum()), int(fill_holes(mask).sum())
        (26, 27)
    """
    if mask.all():
        return mask
    components, count = cc3d.connected_components(~mask, connectivity=6, return_N=True)
    is_outside = np.zeros(count + 1, bool)
    for axis in range(3):
        for end in (0, -1):
            is_outside[np.unique(components.take(end, axis))] = True
    is_outside[0] = False  # the mask itself
    filled: NDArray[np.bool_] = ~is_outside[components]
    return filled
