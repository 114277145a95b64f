"""Where the sliding window stands, how its tiles are weighted and mirrored, as in nnU-Net."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations, product
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Slices = tuple[slice | int, ...]

_SIGMA = 1 / 8  # of the patch
_PEAK = 10  # keeps most of the tails above float16's smallest number


def pad_to_patch(
    data: NDArray[np.float32], patch_size: Sequence[int]
) -> tuple[NDArray[np.float32], tuple[slice, ...]]:
    """Pad (channels, z, y, x) with zeros until the patch fits.

    The image stays in the middle; an odd voxel goes to the end. In two dimensions the slices are left alone.

    Returns:
        The padded array, and the slices that undo the padding of any (channels, z, y, x).
    """
    inner_sizes = data.shape[-len(patch_size) :]
    missing = [max(patch - size, 0) for patch, size in zip(patch_size, inner_sizes, strict=True)]
    margins = [(0, 0)] * (data.ndim - len(patch_size)) + [(gap // 2, gap - gap // 2) for gap in missing]
    inner = zip(margins[1:], data.shape[1:], strict=True)
    back = (slice(None), *(slice(low, low + size) for (low, _), size in inner))
    if not any(missing):
        return data, back
    sizes = [low + size + high for (low, high), size in zip(margins, data.shape, strict=True)]
    padded = np.zeros(sizes, data.dtype)
    padded[back] = data
    return padded, back


def window_starts(image_size: Sequence[int], patch_size: Sequence[int], step_size: float) -> list[list[int]]:
    """First voxels of the window along each axis; the window moves by at most ``step_size`` patches.

    Example:
        >>> window_starts((110,), (64,), 0.5)
        [[0, 23, 46]]
    """
    starts = []
    for size, patch in zip(image_size, patch_size, strict=True):
        count = ceil((size - patch) / (patch * step_size)) + 1
        step = (size - patch) / (count - 1) if count > 1 else 0.0
        starts.append([round(step * index) for index in range(count)])
    return starts


def tile_slices(shape: Sequence[int], patch_size: Sequence[int], step_size: float) -> list[Slices]:
    """Every tile of a padded volume (z, y, x), as indices of (channels, z, y, x), in nnU-Net's order.

    A two-dimensional patch visits every slice.
    """
    starts = window_starts(shape[-len(patch_size) :], patch_size, step_size)
    windows = [
        tuple(slice(start, start + patch) for start, patch in zip(corner, patch_size, strict=True))
        for corner in product(*starts)
    ]
    if len(patch_size) == len(shape):
        return [(slice(None), *window) for window in windows]
    return [(slice(None), index, *window) for index in range(shape[0]) for window in windows]


@lru_cache(maxsize=8)
def gaussian_weights(patch_size: tuple[int, ...]) -> NDArray[np.float16]:
    """Importance of a tile's voxels: a Gaussian around its middle, in nnU-Net's float16 values; read-only."""
    impulse = np.zeros(patch_size)
    impulse[tuple(size // 2 for size in patch_size)] = 1
    weights = ndimage.gaussian_filter(impulse, [size * _SIGMA for size in patch_size], mode="constant")
    weights /= weights.max() / _PEAK
    half = weights.astype(np.float32).astype(np.float16)  # by way of float32, as torch converts
    # a weight of zero would leave voxels that only one tile covers without an answer
    half[half == 0] = half[half > 0].min()
    half.flags.writeable = False
    return half


def mirrorings(mirror_axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Axes to flip in each forward pass, the plain pass first, as indices of (batch, channels, *patch).

    Example:
        >>> mirrorings((0, 1))
        [(), (2,), (3,), (2, 3)]
    """
    axes = [axis + 2 for axis in mirror_axes]
    return [subset for count in range(len(axes) + 1) for subset in combinations(axes, count)]
