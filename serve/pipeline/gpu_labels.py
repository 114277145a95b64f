"""Labels on a GPU: resampling matrices and arg max, slab by slab. The mask alone leaves the GPU.

Logits are interpolated in float32 and rounded to float16 as nnU-Net rounds them. nnU-Net interpolates in
float64: where two logits are about one float16 step apart, another of them may win than on the CPU.

This code has never run on a GPU: it is tested with NumPy in CuPy's place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.schema import Head

from .labels import SIGMOID_THRESHOLD, mask_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnunet_losses.serve.backends.device import Arrays
    from nnunet_losses.serve.schema import ModelDescription

    from .interpolation import AxisMap
    from .resample import Resize

_VOXELS = 2**25  # of the wanted grid that are computed at once, per head


def label_mask(
    logits: Any, resize: Resize, description: ModelDescription, arrays: Arrays
) -> NDArray[np.uint8 | np.uint16]:
    """Resample logits and decide for a label at each voxel.

    Args:
        logits: finite, (heads, z, y, x), float16 or float32, on the GPU.
        resize: way to the wanted grid.
        description: says whether heads are labels or overlapping regions.
        arrays: of the GPU.

    Returns:
        Mask (z, y, x) on the wanted grid, in the host's memory.
    """
    mask = np.empty(resize.shape, mask_dtype(description))
    limits = [resize.limits(head) for head in logits]
    depth, height, width = resize.shape
    step = max(1, _VOXELS // (height * width))
    for start in range(0, depth, step):
        rows = slice(start, min(start + step, depth))
        window, part = resize.rows(rows.start, rows.stop)
        heads = (
            _rounded(arrays.xp, logits[index, window], part, _within(limits[index], window, part))
            for index in range(len(logits))
        )
        paint = _largest if description.head is Head.SOFTMAX else _thresholds
        shape = (rows.stop - rows.start, height, width)
        mask[rows] = arrays.host(paint(arrays.xp, heads, arrays.xp.zeros(shape, mask.dtype), description))
    return mask


def _largest(xp: Any, heads: Any, mask: Any, _: ModelDescription) -> Any:
    best = next(heads)
    for label, value in enumerate(heads, start=1):
        mask = xp.where(value > best, mask.dtype.type(label), mask)
        best = xp.maximum(best, value)
    return mask


def _thresholds(xp: Any, heads: Any, mask: Any, description: ModelDescription) -> Any:
    ordered = sorted(description.labels, key=lambda label: label.channel)
    for label, value in zip(ordered, heads, strict=True):
        mask = xp.where(value >= np.float32(SIGMOID_THRESHOLD), mask.dtype.type(label.value), mask)
    return mask


def _within(limits: Any, window: slice, part: Resize) -> Any:
    """Clipping range for some slices: where the first axis is separate, each slice has its own."""
    if limits is None or part.last != 0:
        return limits
    return limits[0][window], limits[1][window]


def _rounded(xp: Any, volume: Any, resize: Resize, limits: Any) -> Any:
    """Resize (z, y, x) in float32, and round to the dtype of the logits."""
    dtype, volume = volume.dtype, volume.astype(np.float32)
    if resize.is_identity:
        return volume
    # growing axes last, so that as little as possible is computed
    growth = [len(axis_map) / volume.shape[axis] for axis, axis_map in enumerate(resize.maps)]
    for axis in sorted(range(3), key=lambda axis: (axis == resize.last, growth[axis])):
        if axis == resize.last:
            volume, limits = _clipped(xp, volume, limits), None
        volume = _interpolated(xp, resize.maps[axis], volume, axis)
    return _clipped(xp, volume, limits).astype(dtype).astype(np.float32)


def _clipped(xp: Any, volume: Any, limits: Any) -> Any:
    return volume if limits is None else xp.clip(volume, *(limit.astype(np.float32) for limit in limits))


def _interpolated(xp: Any, axis_map: AxisMap, volume: Any, axis: int) -> Any:
    if axis_map.is_identity:
        return volume
    if axis_map.weights is None:
        return xp.take(volume, xp.asarray(axis_map.indices), axis=axis)
    weights = xp.asarray(axis_map.weights.astype(np.float32))
    return xp.moveaxis(xp.tensordot(weights, volume, axes=(1, axis)), 0, axis)
