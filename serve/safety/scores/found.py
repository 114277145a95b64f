"""What a mask holds, in numbers that can be compared between cases."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from nnunet_losses.serve.measure import count_components, label_voxels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Geometry
    from nnunet_losses.serve.schema import Label

    Box = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Found:
    """What was found of each label, in the model's order.

    Attributes:
        volumes: (labels,) cubic millimetres; square millimetres in a picture.
        components: (labels,) number of connected parts.
        places: (labels, 3) centroid (z, y, x) as a share of the body's box; NaN for what was not found.
    """

    volumes: NDArray[np.float64]
    components: NDArray[np.float64]
    places: NDArray[np.float64]


def observe_mask(mask: NDArray[Any], labels: Sequence[Label], geometry: Geometry, body: Box) -> Found:
    """Measure every label.

    Args:
        mask: integers (z, y, x), not negative.
        labels: of the model; a region consists of several mask values.
        geometry: of the image.
        body: the box in which places are measured; see ``body_box``.

    Example:
        >>> from nnunet_losses.serve.image import Geometry
        >>> from nnunet_losses.serve.schema import Label
        >>> mask = np.zeros((1, 4, 8), np.uint8)
        >>> mask[0, 1, 2:6] = 1
        >>> geometry = Geometry(3, (0.5, 1.0, 2.0), (0.0,) * 3, tuple(np.eye(3).ravel()))
        >>> found = observe_mask(mask, [Label(name="organ", channel=1, value=1, members=(1,))], geometry,
        ...                      (slice(0, 1), slice(0, 4), slice(0, 8)))
        >>> found.volumes.tolist(), found.components.tolist(), found.places.tolist()
        ([4.0], [1.0], [[0.5, 0.375, 0.5]])
    """
    boxes = ndimage.find_objects(mask)
    rows = [_measure(mask, label.members, boxes, body) for label in labels]
    voxels, components, places = (list(column) for column in zip(*rows, strict=True)) if rows else ([],) * 3
    return Found(
        volumes=np.array(voxels, np.float64) * prod(geometry.spacing),
        components=np.array(components, np.float64),
        places=np.array(places, np.float64).reshape(len(rows), 3),
    )


def body_box(box: Box, forward: Sequence[int]) -> Box:
    """The part of the image, in its own axis order, that is not all zeros and to which nnU-Net crops.

    Args:
        box: the same in the network's axis order.
        forward: the image's axes in the network's order.
    """
    return tuple(box[list(forward).index(axis)] for axis in range(3))


def _measure(
    mask: NDArray[Any], members: Sequence[int], boxes: Sequence[Box | None], body: Box
) -> tuple[int, int, NDArray[np.float64]]:
    """Voxels, components and place of one label."""
    box = _union([found for value in members if value <= len(boxes) and (found := boxes[value - 1])])
    if box is None:
        return 0, 0, np.full(3, np.nan)
    inside = label_voxels(mask[box], members)
    return int(np.count_nonzero(inside)), count_components(inside), _place(inside, box, body)


def _union(boxes: Sequence[Box]) -> Box | None:
    """Smallest box around others."""
    if not boxes:
        return None
    sides = zip(*boxes, strict=True)
    return tuple(slice(min(s.start for s in side), max(s.stop for s in side)) for side in sides)


def _place(inside: NDArray[np.bool_], box: Box, body: Box) -> NDArray[np.float64]:
    """Middle of mass: 0 is where the body begins, 1 where it ends."""
    place = []
    for axis, (side, whole) in enumerate(zip(box, body, strict=True)):
        profile = inside.sum(axis=tuple({0, 1, 2} - {axis}))
        middle = (np.arange(side.start, side.stop) + 0.5) @ profile / profile.sum()
        place.append((middle - whole.start) / max(1, whole.stop - whole.start))
    return np.array(place)
