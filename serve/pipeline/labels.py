"""From stitched logits to the mask on the image's grid, slab by slab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.schema import Head, ModelDescription

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .resample import Resize

# output voxels whose logits are held at once, for one class
_SLAB_VOXELS = 2_000_000


def mask_dtype(description: ModelDescription) -> type[np.uint8 | np.uint16]:
    """Type of the mask: 8 bits for fewer than 255 foreground labels, as in nnU-Net."""
    values = {value for label in description.labels for value in (label.value, *label.members)} - {0}
    return np.uint8 if len(values) < 255 and max(values) <= np.iinfo(np.uint8).max else np.uint16


def label_mask(logits: NDArray[Any], resize: Resize, description: ModelDescription) -> NDArray[Any]:
    """Resample logits and decide for a label at each voxel.

    The resampled logits are rounded to the dtype of the logits (float16 as in nnU-Net) before they are
    compared; of equal ones the first wins. No more than a slab of one class is held at a time.

    Args:
        logits: (heads, z, y, x).
        resize: way to the wanted grid.
        description: says whether heads are labels or overlapping regions.

    Returns:
        Mask (z, y, x) on the wanted grid.
    """
    mask = np.zeros(resize.shape, mask_dtype(description))
    limits = [resize.limits(head.astype(np.float64)) for head in logits]
    for rows, window, part in _slabs(resize):
        values = (
            _resampled(head[window], part, _within(limit, window, part))
            for head, limit in zip(logits, limits, strict=True)
        )
        if description.head is Head.SOFTMAX:
            _paint_best(mask[rows], values)
        else:
            _paint_regions(mask[rows], values, description)
    return mask


def _slabs(resize: Resize) -> Iterator[tuple[slice, slice, Resize]]:
    depth, *plane = resize.shape
    step = max(1, _SLAB_VOXELS // int(np.prod(plane)))
    for start in range(0, depth, step):
        stop = min(start + step, depth)
        window, part = resize.rows(start, stop)
        yield slice(start, stop), window, part


def _within(limits: Any, window: slice, part: Resize) -> Any:
    """Limits of the slices in a window, where every slice has its own."""
    if limits is None or part.last != 0:
        return limits
    return tuple(limit[window] for limit in limits)


def _resampled(head: NDArray[Any], part: Resize, limits: Any) -> NDArray[np.float32]:
    if part.is_identity:
        return head.astype(np.float32)
    return part(head.astype(np.float64), limits).astype(head.dtype).astype(np.float32)


def _paint_best(mask: NDArray[Any], values: Iterator[NDArray[np.float32]]) -> None:
    best = next(values)
    for label, value in enumerate(values, start=1):
        better = value > best
        mask[better] = label
        np.copyto(best, value, where=better)


def _paint_regions(
    mask: NDArray[Any], values: Iterator[NDArray[np.float32]], description: ModelDescription
) -> None:
    regions = sorted(description.labels, key=lambda label: label.channel)
    for region, value in zip(regions, values, strict=True):
        mask[1 / (1 + np.exp(-value)) > 0.5] = region.value
