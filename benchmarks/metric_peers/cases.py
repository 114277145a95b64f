"""Small masks on which metrics are known to go apart, each with its values worked out by hand.

Needs NumPy alone: the same cases are measured in the environments of other libraries.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

METRICS = ("dice", "nsd", "hd95", "lesion_sensitivity", "lesion_f1", "pq")
IGNORED = 9


@dataclass(frozen=True, eq=False)
class EdgeCase:
    """Two masks and what they are worth.

    Attributes:
        name: what is special about it.
        prediction: 0 and 1, two or three axes.
        reference: 0, 1, and ``IGNORED``.
        spacing: along each axis.
        hand: value of each of ``METRICS``; lesions are pairs that share any voxel, NaN is 0 / 0.
        tolerance: of NSD; the smallest spacing, which is panoptica's only one, unless told.
    """

    name: str
    prediction: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    spacing: tuple[float, ...]
    hand: tuple[float, ...]
    tolerance: float

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Voxels that count."""
        return self.reference != IGNORED

    def masks(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Prediction and reference without what is ignored, for libraries that know no such label."""
        return (self.prediction == 1) & self.valid, self.reference == 1


def _case(
    name: str,
    shape: tuple[int, ...],
    prediction: Iterable[tuple[int | slice, ...]],
    reference: Iterable[tuple[int | slice, ...]],
    hand: tuple[float, ...],
    *,
    spacing: tuple[float, ...] | None = None,
    tolerance: float | None = None,
    ignored: tuple[int | slice, ...] | None = None,
) -> EdgeCase:
    masks = np.zeros((2, *shape), np.uint8)
    for mask, parts in zip(masks, (prediction, reference), strict=True):
        for part in parts:
            mask[part] = 1
    if ignored is not None:
        masks[1][ignored] = IGNORED
    steps = spacing or (1.0,) * len(shape)
    return EdgeCase(name, masks[0], masks[1], steps, hand, tolerance or min(steps))


def _row(first: int, last: int) -> tuple[int, slice]:
    """Pixels of the middle row, both ends included."""
    return 1, slice(first, last + 1)


_BOX, _PART = (slice(0, 3), slice(0, 3)), (slice(0, 3), slice(0, 2))
_VOXEL, _BESIDE = (1, 1, 1), (2, 1, 1)

CASES = (
    _case("both empty", (4, 4), [], [], (nan,) * 6),
    _case("prediction empty", (4, 4), [], [(1, 1)], (0, nan, nan, 0, 0, 0)),
    _case("reference empty", (4, 4), [(1, 1)], [], (0, nan, nan, nan, 0, 0)),
    _case("single voxel, found", (3, 3, 3), [_VOXEL], [_VOXEL], (1, 1, 0, 1, 1, 1)),
    # the distance is the tolerance: still within
    _case("single voxel, beside", (4, 4, 4), [_BESIDE], [_VOXEL], (0, 1, 1, 0, 0, 0)),
    _case("single voxel, next thick slice", (4, 4, 4), [_BESIDE], [_VOXEL], (0, 0, 5, 0, 0, 0),
          spacing=(5.0, 1.0, 1.0)),
    # surfaces: 8 of 9 and 6 of 6 pixels. The last column is 2 away; of the prediction, the middle pixel is 1
    # away from the reference's outline. 11 of 14 within 1.
    _case("touching the border", (6, 6), [_PART], [_BOX], (0.8, 11 / 14, 2, 1, 1, 2 / 3), spacing=(1.0, 2.0)),
    _case("filling the image", (4, 5), [(slice(None),)], [(slice(None),)], (1, 1, 0, 1, 1, 1)),
    # the same as at the border: a slice has an outline, no top and no bottom
    _case("volume of one slice", (1, 6, 6), [(0, *_PART)], [(0, *_BOX)], (0.8, 11 / 14, 2, 1, 1, 2 / 3),
          spacing=(3.0, 1.0, 2.0)),
    # the outline of 9 by 9: 32 pixels 4 or more away, of which the four corners are furthest; none within 1
    _case("slice filled, centre found", (1, 9, 9), [(0, 4, 4)], [(slice(None),)],
          (2 / 82, 0, 4 * sqrt(2), 1, 1, 1 / 81), spacing=(3.0, 1.0, 1.0)),
    # distances 0 and 2.5 either way; 95 % of the way from one to the other is 2.375
    _case("anisotropic, half found", (5, 3, 3), [(slice(2, 4), 1, 1)], [(slice(1, 3), 1, 1)],
          (0.5, 0.5, 2.375, 1, 1, 1 / 3), spacing=(2.5, 1.0, 1.0)),
    # the missed one is 6 from the false one as from a found one
    _case("several, one missed, one false", (7, 7), [(0, 0), (0, 6), (6, 6)], [(0, 0), (0, 6), (6, 0)],
          (2 / 3, 4 / 6, 5.4, 2 / 3, 2 / 3, 2 / 3)),
    # one predicted lesion of 7 pixels over two of 3: it finds one; 7 distances of which one is 2
    _case("two merged", (3, 9), [_row(1, 7)], [_row(1, 3), _row(5, 7)],
          (12 / 13, 12 / 13, 1.4, 1 / 2, 2 / 3, 3 / 7 / 1.5), spacing=(1.0, 2.0)),
    _case("one split", (3, 9), [_row(1, 3), _row(5, 7)], [_row(1, 7)],
          (12 / 13, 12 / 13, 1.4, 1, 2 / 3, 3 / 7 / 1.5), spacing=(1.0, 2.0)),
    # IoU 3/9, 4/11, 2/8 along the chain: the two outer pairs together are better than the middle one
    _case("a chain of four", (3, 16), [_row(2, 9), _row(11, 13)], [_row(1, 4), _row(6, 12)],
          (18 / 22, 18 / 22, 2, 1, 1, (1 / 3 + 1 / 4) / 2), spacing=(1.0, 2.0)),
    _case("touching by a corner", (4, 4), [(1, 1)], [(1, 1), (2, 2)],
          (2 / 3, 2 / 3, 0.95 * sqrt(2), 1, 1, 1 / 2)),
    _case("touching by a corner, volume", (4, 4, 4), [(1, 1, 1)], [(1, 1, 1), (2, 2, 2)],
          (2 / 3, 2 / 3, 0.95 * sqrt(3), 1, 1, 1 / 2)),
    # three steps of 0.1 are 0.30000000000000004
    _case("as far as the tolerance", (3, 6), [(1, 1)], [(1, 4)], (0, 1, 0.3, 0, 0, 0), spacing=(0.1, 0.1),
          tolerance=0.3),
    _case("ignored voxels", (4, 4), [(0,), (3,)], [(0,)], (1, 1, 0, 1, 1, 1), ignored=(3,)),
    # without its ignored half, the predicted lesion is the reference
    _case("lesion cut by ignored voxels", (4, 4), [(slice(None), 0)], [(slice(0, 2), 0)], (1, 1, 0, 1, 1, 1),
          ignored=(slice(2, 4),)),
)  # fmt: skip
