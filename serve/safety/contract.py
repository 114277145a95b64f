"""The input contract: what an image must be before a network sees it.

nnU-Net predicts something for every array that it is given: for a blank one, for one full of NaN, for one
that its normalisation was never made for. Each is refused here by name, before any network time is spent.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats.layout import times
from nnunet_losses.serve.pipeline.nonzero import nonzero
from nnunet_losses.serve.pipeline.preprocess import resampled_shape
from nnunet_losses.serve.schema import Normalization

from .memory import MOST_TILES, available_memory, bundle_memory, tile_count
from .resemblance import resemblance_warnings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnunet_losses.serve.answer import Warning_
    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.schema import Channel, ModelDescription

# A voxel edge outside of this is a wrong unit or a wrong header, unless the training images were alike.
SMALLEST_SPACING_MM = 1e-3
LARGEST_SPACING_MM = 1e3
SPACING_MARGIN = 10.0  # factor around the training images' spacing that is never absurd
RGB_RANGE = (0.0, 255.0)
LARGEST_VALUE = 1e15  # the sum of an image's squares overflows float32 beyond; no scanner measures so much


def check_contract(
    image: Image, description: ModelDescription, *, memory_bytes: int | None = None, hints: bool = True
) -> tuple[Warning_, ...]:
    """Refuse an image that the model was not made for; warn of one that is unlike the training images.

    Args:
        image: as the reader returns it.
        description: of the model.
        memory_bytes: budget of the prediction; None takes 80 % of what is free.
        hints: whether to warn; a calibration's evidence takes the place of rules of thumb.

    Returns:
        Warnings, each with what was seen and what the training images were like. They are hints by rules of
        thumb, not a calibrated judgement.

    Raises:
        Refusal: with a ``contract.*`` code.
    """
    _check_channel_count(image, description)
    _check_dimensions(image, description)
    _check_spacing(image, description)
    for voxels, channel in zip(image.data, description.members[0].preprocessing.channels, strict=True):
        _check_voxels(voxels, channel)
    _check_size(image, description, available_memory() if memory_bytes is None else memory_bytes)
    return resemblance_warnings(image, description) if hints else ()


def _check_channel_count(image: Image, description: ModelDescription) -> None:
    expected, observed = len(description.channel_names), len(image.data)
    if observed == expected:
        return
    names = ", ".join(description.channel_names)
    transparent = (
        " The fourth channel of a picture is its transparency: save it without." if observed == 4 else ""
    )
    raise Refusal(
        Code.CONTRACT_CHANNEL_COUNT,
        f"The image has {_count(observed, 'channel')}; this model needs {expected} ({names}).",
        remedy=f"Send exactly these channels, in this order.{transparent}",
        observed=observed,
        expected=expected,
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _check_dimensions(image: Image, description: ModelDescription) -> None:
    if image.geometry.dimension < description.dimension:
        raise Refusal(
            Code.CONTRACT_DIMENSIONS,
            "The image is a single two-dimensional picture; this model looks at volumes.",
            remedy="Send the whole volume as one file.",
            observed=image.geometry.dimension,
            expected=description.dimension,
        )


def _check_spacing(image: Image, description: ModelDescription) -> None:
    smallest, largest = SMALLEST_SPACING_MM, LARGEST_SPACING_MM
    dimension, fingerprint = image.geometry.dimension, description.fingerprint
    if fingerprint is not None:
        smallest = min(smallest, *(value / SPACING_MARGIN for value in fingerprint.spacing_min[-dimension:]))
        largest = max(largest, *(value * SPACING_MARGIN for value in fingerprint.spacing_max[-dimension:]))
    spacing = image.spacing[-dimension:]
    if min(spacing) < smallest or max(spacing) > largest:
        raise Refusal(
            Code.CONTRACT_SPACING,
            f"The voxels are said to be {times(spacing)} mm large (z, y, x), which cannot be.",
            remedy="Correct the voxel spacing; its unit is millimetres.",
            observed=list(spacing),
            expected={"at_least": smallest, "at_most": largest},
        )


def _check_voxels(voxels: NDArray[np.float32], channel: Channel) -> None:
    low, high = float(voxels.min()), float(voxels.max())  # NaN anywhere makes both NaN
    if not np.isfinite([low, high]).all():
        raise _non_finite(voxels, channel)
    if low == high and channel.std != 0:  # a channel that was constant in training may be so again
        raise _constant(low, channel)
    if channel.normalization is not Normalization.CT and max(-low, high) > LARGEST_VALUE:  # CT is clipped
        raise _too_large(low, high, channel)
    if channel.normalization is Normalization.RGB_0_1 and not (low >= RGB_RANGE[0] and high <= RGB_RANGE[1]):
        raise Refusal(
            Code.CONTRACT_VALUE_RANGE,
            f"The channel {channel.name} has values from {low:g} to {high:g}; colours go from 0 to 255.",
            remedy="Send the picture with 8 bits for each colour.",
            observed=[low, high],
            expected=list(RGB_RANGE),
        )


def _too_large(low: float, high: float, channel: Channel) -> Refusal:
    return Refusal(
        Code.CONTRACT_VALUE_RANGE,
        f"The channel {channel.name} has values from {low:g} to {high:g}, which leave nothing of the image "
        "when they are normalised.",
        remedy="Where such values stand for voxels that were not measured, put the background's value there.",
        observed=[low, high],
        expected={"at_least": -LARGEST_VALUE, "at_most": LARGEST_VALUE},
    )


def _non_finite(voxels: NDArray[np.float32], channel: Channel) -> Refusal:
    broken = ~np.isfinite(voxels)
    count = int(broken.sum())
    first = [int(index) for index in np.unravel_index(int(broken.argmax()), broken.shape)]
    return Refusal(
        Code.CONTRACT_NON_FINITE,
        f"The channel {channel.name} has {_count(count, 'voxel')} without a finite value, "
        f"the first at (z, y, x) = {tuple(first)}.",
        remedy="Replace NaN and infinite values; where they stand for background, by the background's value.",
        observed={"voxels": count, "first": first},
        expected="finite values",
    )


def _constant(value: float, channel: Channel) -> Refusal:
    if value == 0:
        return Refusal(
            Code.CONTRACT_BLANK,
            f"The channel {channel.name} is blank: all of its voxels are 0.",
            remedy="Send the image itself; a model cannot do without one of its channels.",
            observed=0.0,
            expected="an image with content",
        )
    return Refusal(
        Code.CONTRACT_CONSTANT,
        f"The channel {channel.name} shows nothing: all of its voxels are {value:g}.",
        remedy="Send the image itself; a model cannot do without one of its channels.",
        observed=value,
        expected="an image with content",
    )


def memory_needed(image: Image, description: ModelDescription) -> int:
    """Estimate the bytes that a prediction of this image needs at its peak, whether or not it is accepted."""
    content = _content_shape(image.data)
    shapes = [resampled_shape(content, image.spacing, member) for member in description.members]
    return bundle_memory(image.data.shape, shapes, description)


def _check_size(image: Image, description: ModelDescription, budget: int) -> None:
    """Refuse what would need more memory than there is, or leave nothing, at the model's spacing."""
    content = _content_shape(image.data)
    shapes = [resampled_shape(content, image.spacing, member) for member in description.members]
    for shape in shapes:
        if min(shape) < 1:
            raise _size("leave nothing of it", image, shape, expected="at least one voxel along every axis")
    _check_memory(image, shapes, description, budget)
    for shape, member in zip(shapes, description.members, strict=True):
        tiles = tile_count(shape, member)
        if tiles > MOST_TILES:
            raise _size(
                f"make {tiles:,} tiles of it; {MOST_TILES:,} are allowed",
                image,
                shape,
                observed={"voxels": list(shape), "tiles": tiles},
                expected={"tiles_at_most": MOST_TILES},
            )


def _check_memory(
    image: Image, shapes: list[tuple[int, ...]], description: ModelDescription, budget: int
) -> None:
    needed, largest = bundle_memory(image.data.shape, shapes, description), max(shapes, key=prod)
    if needed > budget:
        raise _size(
            f"need about {needed / 2**30:.3g} GiB of memory; {budget / 2**30:.3g} GiB are allowed",
            image,
            largest,
            observed={"voxels": list(largest), "bytes": needed},
            expected={"bytes_at_most": budget},
        )


def _content_shape(data: NDArray[np.float32]) -> tuple[int, ...]:
    """Shape (z, y, x) of the box around the nonzero voxels, to which nnU-Net crops."""
    inside = nonzero(data)
    planes = [inside.any(axis=others) for others in ((1, 2), (0, 2), (0, 1))]
    return tuple(int(np.ptp(np.flatnonzero(plane))) + 1 if plane.any() else plane.size for plane in planes)


def _size(what: str, image: Image, shape: tuple[int, ...], *, expected: Any, observed: Any = None) -> Refusal:
    spacing = times([float(value) for value in image.spacing])
    return Refusal(
        Code.CONTRACT_SIZE,
        f"The image has {times(image.shape)} voxels of {spacing} mm (z, y, x). "
        f"To resample it to the model's spacing ({times(shape)} voxels) would {what}.",
        remedy="Correct the voxel spacing, or crop the image to the region of interest.",
        observed=list(shape) if observed is None else observed,
        expected=expected,
    )
