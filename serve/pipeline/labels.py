"""From stitched logits to the mask on the image's grid, a few voxels at a time.

nnU-Net resamples the logits in float64, rounds them to float16 and lets the first of the largest win. Done
for all voxels this is slow and holds every class at once. Here float32 finds the voxels where rounding cannot
change the winner, and only the doubtful rest is computed again, in nnU-Net's own order of operations. The
mask is the same.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nnunet_losses.serve.schema import Head

from .bricks import Brick, Grid
from .parallel import parallel_map
from .slabs import slabs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.schema import ModelDescription

    from .bricks import Sides
    from .resample import Resize
    from .slabs import Slab

# distance of two neighbouring numbers, as a share of the larger one (1 % to spare), and at least
_STEP = {"float16": (1.01 * 2.0**-10, 2.0**-24), "float32": (1.01 * 2.0**-23, 2.0**-149)}
# smallest float16 whose sigmoid, computed in float32, exceeds one half
SIGMOID_THRESHOLD = np.float16(2.0**-23)


def mask_dtype(description: ModelDescription) -> type[np.uint8 | np.uint16]:
    """Type of the mask: 8 bits for fewer than 255 foreground labels, as in nnU-Net."""
    values = {value for label in description.labels for value in (label.value, *label.members)} - {0}
    return np.uint8 if len(values) < 255 and max(values) <= np.iinfo(np.uint8).max else np.uint16


def label_mask(
    logits: NDArray[Any], resize: Resize, description: ModelDescription, *, threads: int | None = None
) -> NDArray[Any]:
    """Resample logits and decide for a label at each voxel.

    The resampled logits count as rounded to the dtype of the logits (float16 as in nnU-Net); of equal ones
    the first wins. Little more than the logits is held, however many heads and voxels there are.

    Args:
        logits: finite, (heads, z, y, x), float16 or float32.
        resize: way to the wanted grid.
        description: says whether heads are labels or overlapping regions.
        threads: None takes the cores that this process may use.

    Returns:
        Mask (z, y, x) on the wanted grid.
    """
    mask = np.zeros(resize.shape, mask_dtype(description))
    decision: _Decision = _LargestLogit()
    if description.head is not Head.SOFTMAX:
        ordered = sorted(description.labels, key=lambda label: label.channel)
        decision = _Thresholds([label.value for label in ordered])
    if resize.is_linear:
        grid = Grid(logits, resize)
        parallel_map(partial(_paint_row, mask, grid, decision), grid.rows(), threads)
    else:
        parallel_map(partial(_paint_slab, mask, decision), slabs(logits, resize), threads)
    return mask


class _Decision(Protocol):
    """How logits become a label."""

    def exactly(self, values: NDArray[Any]) -> NDArray[np.intp]:
        """Labels (...) from rounded logits (heads, ...)."""
        ...

    def paint(self, mask: NDArray[Any], brick: Brick, grid: Grid) -> NDArray[np.bool_] | None:
        """Fill a brick's part of the mask; return where rounding may decide otherwise."""
        ...


def _paint_row(mask: NDArray[Any], grid: Grid, decision: _Decision, row: list[Sides]) -> None:
    doubtful = []
    for sides in row:
        brick = Brick(grid, sides)
        doubt = decision.paint(mask[brick.rows], brick, grid)
        if doubt is not None and doubt.any():
            places = np.nonzero(doubt)
            doubtful.append([part + rows.start for part, rows in zip(places, brick.rows, strict=True)])
    if doubtful:
        z, y, x = (np.concatenate(parts) for parts in zip(*doubtful, strict=True))
        mask[z, y, x] = decision.exactly(grid.at((z, y, x)))


def _paint_slab(mask: NDArray[Any], decision: _Decision, slab: Slab) -> None:
    mask[slab.rows] = decision.exactly(np.stack([slab.rounded(head) for head in range(slab.heads)]))


class _LargestLogit:
    """Arg max over heads."""

    def exactly(self, values: NDArray[Any]) -> NDArray[np.intp]:
        labels: NDArray[np.intp] = values.argmax(axis=0)
        return labels

    def paint(self, mask: NDArray[Any], brick: Brick, grid: Grid) -> NDArray[np.bool_] | None:
        heads = np.flatnonzero(brick.high >= brick.low.max())
        mask[...] = heads[0]
        if len(heads) == 1:
            return None
        values = brick.values(heads)
        winner = np.full(mask.shape, heads[0], mask.dtype)
        best, second = values[0], np.full_like(values[0], -np.inf)
        for head, value in zip(heads[1:].astype(mask.dtype), values[1:], strict=True):
            # heads grow: the last one that was better than all before it is the largest
            np.maximum(winner, (value > best) * head, out=winner)
            np.maximum(second, np.minimum(best, value), out=second)
            np.maximum(best, value, out=best)
        mask[...] = winner
        if grid.is_copied:
            return None
        share, least = _STEP[grid.logits.dtype.name]
        margin = np.subtract(best, second, out=second)
        return np.asarray(margin <= np.abs(best) * np.float32(share) + np.float32(grid.error + least))


class _Thresholds:
    """One threshold per region, painted in order: later regions lie on top.

    Args:
        values: mask value of each head's region.
    """

    def __init__(self, values: Sequence[int]) -> None:
        self._values = values

    def exactly(self, values: NDArray[Any]) -> NDArray[np.intp]:
        labels = np.zeros(values.shape[1:], np.intp)
        for value, logit in zip(self._values, values, strict=True):
            labels[logit >= SIGMOID_THRESHOLD] = value
        return labels

    def paint(self, mask: NDArray[Any], brick: Brick, grid: Grid) -> NDArray[np.bool_] | None:
        doubtful = None
        for head, value in enumerate(self._values):
            if brick.low[head] >= SIGMOID_THRESHOLD:
                mask[...] = value
            elif brick.high[head] >= SIGMOID_THRESHOLD:
                logit = brick.values(np.array([head]))[0]
                mask[logit >= SIGMOID_THRESHOLD] = value
                if not grid.is_copied:
                    doubt = np.abs(logit, out=logit) <= grid.error + 2 * float(SIGMOID_THRESHOLD)
                    doubtful = doubt if doubtful is None else doubtful | doubt
        return doubtful
