"""What goes wrong with headers and hands: flips, swapped axes, wrong spacing, cut fields of view.

Every function takes an image and returns a new one. ``told`` says whether the header tells of the change, so
that every voxel keeps its place in the world, or whether the image is silently another one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Image


def flip(image: Image, axis: int, *, told: bool) -> Image:
    """Mirror an image along an array axis: 0 is z, 1 is y, 2 is x.

    Example:
        >>> from nnunet_losses.serve.image import Geometry, Image
        >>> geometry = Geometry(3, (2.0, 1.0, 1.0), (0.0,) * 3, tuple(np.eye(3).ravel()))
        >>> image = Image(np.arange(4.0).reshape(1, 1, 1, 4), (1.0, 1.0, 2.0), geometry, "")
        >>> turned = flip(image, 2, told=True)
        >>> turned.data.ravel().tolist(), turned.geometry.origin, turned.geometry.direction[0]
        ([3.0, 2.0, 1.0, 0.0], (6.0, 0.0, 0.0), -1.0)
    """
    data = np.ascontiguousarray(np.flip(image.data, axis + 1))
    if not told:
        return replace(image, data=data)
    direction = _direction(image)
    index = 2 - axis  # the file counts x first
    step = direction[:, index] * image.geometry.spacing[index]
    origin = np.array(image.geometry.origin) + step * (image.shape[axis] - 1)
    direction[:, index] *= -1
    return _placed(image, data, image.geometry.spacing, origin, direction)


def swap_axes(image: Image, order: Sequence[int], *, told: bool) -> Image:
    """Transpose an image to another order of its array axes, such as (2, 1, 0); pictures swap y and x alone.

    Raises:
        ValueError: for a picture whose z would move.
    """
    if image.geometry.dimension == 2 and order[0] != 0:
        raise ValueError(f"a picture has no z to move: the order is {tuple(order)}, expected (0, 2, 1)")
    data = np.ascontiguousarray(image.data.transpose(0, *(axis + 1 for axis in order)))
    if not told:
        return replace(image, data=data)
    columns = [2 - order[2 - index] for index in range(image.geometry.dimension)]  # the file counts x first
    spacing = tuple(image.geometry.spacing[column] for column in columns)
    return _placed(image, data, spacing, np.array(image.geometry.origin), _direction(image)[:, columns])


def scale_spacing(image: Image, factor: float) -> Image:
    """Say that the voxels are ``factor`` times as large as they are: centimetres for millimetres, say."""
    spacing = tuple(value * factor for value in image.geometry.spacing)
    return _placed(image, image.data, spacing, np.array(image.geometry.origin), _direction(image))


def crop_field(image: Image, share: float, random: Generator) -> Image:
    """Cut a box, ``share`` as long as the image along each axis, out of it; every voxel keeps its place."""
    sizes = [max(1, round(share * size)) if size > 1 else 1 for size in image.shape]
    starts = [int(random.integers(0, size - side + 1)) for size, side in zip(image.shape, sizes, strict=True)]
    box = tuple(slice(first, first + side) for first, side in zip(starts, sizes, strict=True))
    dimension = image.geometry.dimension
    offset = np.array(starts[::-1][:dimension]) * image.geometry.spacing
    origin = np.array(image.geometry.origin) + _direction(image) @ offset
    data = np.ascontiguousarray(image.data[(slice(None), *box)])
    return _placed(image, data, image.geometry.spacing, origin, _direction(image))


def one_slice(image: Image) -> Image:
    """Keep the middle slice of a volume alone."""
    middle = image.shape[0] // 2
    return replace(image, data=image.data[:, middle : middle + 1])


def _direction(image: Image) -> NDArray[np.float64]:
    dimension = image.geometry.dimension
    return np.array(image.geometry.direction, np.float64).reshape(dimension, dimension)


def _placed(
    image: Image, data: NDArray[np.float32], spacing: Sequence[float],
    origin: NDArray[np.float64], direction: NDArray[np.float64],
) -> Image:  # fmt: skip
    """An image of other voxels at another place; a reader's own note of the file's orientation is dropped."""
    geometry = replace(
        image.geometry,
        spacing=tuple(float(value) for value in spacing),
        origin=tuple(origin.tolist()),
        direction=tuple(direction.ravel().tolist()),
        affine=None,
        orientation=None,
    )
    flat = image.spacing[0] / image.spacing[1] if image.geometry.dimension == 2 else 1.0
    in_order = tuple(float(value) for value in spacing[::-1])
    z, y, x = in_order if len(in_order) == 3 else (max(in_order) * flat, *in_order)
    return replace(image, data=data, spacing=(z, y, x), geometry=geometry)
