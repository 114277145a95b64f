"""From stitched logits to the mask on the image's grid, slab by slab.

nnU-Net resamples the logits in float64, rounds them to float16 and lets the first of the largest win. Done
for all voxels this is slow and holds every class at once. Here float32 finds the voxels where rounding cannot
change the winner, and only the doubtful rest is computed again, in nnU-Net's own order of operations. The
mask is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.schema import Head

from .slabs import slabs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.schema import ModelDescription

    from .resample import Resize
    from .slabs import Slab

# beyond this share of doubtful voxels, computing all of them again is faster than computing them one by one
_MANY = 0.1
# distance of two neighbouring float16 numbers, as a share of the larger one (1 % to spare), and at least
_HALF_STEP, _SMALLEST_STEP = 1.01 * 2.0**-10, 2.0**-24
# smallest float16 whose sigmoid, computed in float32, exceeds one half
SIGMOID_THRESHOLD = np.float16(2.0**-23)


def mask_dtype(description: ModelDescription) -> type[np.uint8 | np.uint16]:
    """Type of the mask: 8 bits for fewer than 255 foreground labels, as in nnU-Net."""
    values = {value for label in description.labels for value in (label.value, *label.members)} - {0}
    return np.uint8 if len(values) < 255 and max(values) <= np.iinfo(np.uint8).max else np.uint16


def label_mask(logits: NDArray[Any], resize: Resize, description: ModelDescription) -> NDArray[Any]:
    """Resample logits and decide for a label at each voxel.

    The resampled logits count as rounded to the dtype of the logits (float16 as in nnU-Net); of equal ones
    the first wins. No more than a slab of one class is held at a time.

    Args:
        logits: finite, (heads, z, y, x), float16 or float32.
        resize: way to the wanted grid.
        description: says whether heads are labels or overlapping regions.

    Returns:
        Mask (z, y, x) on the wanted grid.
    """
    mask = np.zeros(resize.shape, mask_dtype(description))
    values = [label.value for label in sorted(description.labels, key=lambda label: label.channel)]
    for slab in slabs(logits, resize):
        if description.head is Head.SOFTMAX:
            _paint_best(mask[slab.rows], slab)
        else:
            _paint_regions(mask[slab.rows], slab, values)
    return mask


def _paint_best(mask: NDArray[Any], slab: Slab) -> None:
    """Arg max over heads."""
    if slab.has_points:
        places = _few(_paint_by_margin(mask, slab))
        if places is not None:
            mask[places] = slab.at(slice(None), places).argmax(axis=0)
            return
    best = slab.rounded(0)
    mask[...] = 0
    for label in range(1, slab.heads):
        value = slab.rounded(label)
        np.copyto(mask, mask.dtype.type(label), where=value > best)
        np.maximum(best, value, out=best)


def _paint_by_margin(mask: NDArray[Any], slab: Slab) -> NDArray[np.bool_]:
    """Arg max in float32; return where rounding may decide otherwise."""
    best = slab.single(0)
    second = np.full_like(best, -np.inf)
    for label in range(1, slab.heads):
        value = slab.single(label)
        np.copyto(mask, mask.dtype.type(label), where=value > best)
        np.maximum(second, np.minimum(best, value), out=second)
        np.maximum(best, value, out=best)
    margin = np.subtract(best, second, out=second)
    return margin <= np.abs(best, out=best) * np.float32(_HALF_STEP) + np.float32(slab.error + _SMALLEST_STEP)


def _paint_regions(mask: NDArray[Any], slab: Slab, values: Sequence[int]) -> None:
    """One threshold per region, painted in order: later regions lie on top."""
    for region, value in enumerate(values):
        np.copyto(mask, mask.dtype.type(value), where=_inside(slab, region))


def _inside(slab: Slab, region: int) -> NDArray[np.bool_]:
    if slab.has_points:
        value = slab.single(region)
        places = _few(np.abs(value) <= slab.error + 2 * float(SIGMOID_THRESHOLD))
        if places is not None:
            inside = value >= SIGMOID_THRESHOLD
            inside[places] = slab.at(slice(region, region + 1), places)[0] >= SIGMOID_THRESHOLD
            return inside
    return slab.rounded(region) >= SIGMOID_THRESHOLD


def _few(doubtful: NDArray[np.bool_]) -> tuple[NDArray[np.intp], ...] | None:
    """Places of the doubtful voxels, if they are few."""
    many = np.count_nonzero(doubtful) > _MANY * doubtful.size
    return None if many else np.nonzero(doubtful)
