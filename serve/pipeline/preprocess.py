"""From the image to the network's input: transpose, crop to nonzero, normalise, resample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from nnunet_losses.serve.errors import Code, Refusal

from .cascade import label_channels, marked_labels, resample_labels
from .normalization import normalize
from .resample import new_shape, plan_resize, resample_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.schema import Member

    from .cascade import PreviousStage


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """The network's input, and what is needed to find the way back.

    All shapes and spacings are in the network's axis order, that is after ``transpose_forward``.

    Attributes:
        data: float32 (channels, z, y, x) at the network's spacing, normalised.
        uncropped_shape: of the image.
        box: the part of the image that ``data`` covers.
        spacing: of the image.
        network_spacing: of ``data``.
    """

    data: NDArray[np.float32]
    uncropped_shape: tuple[int, ...]
    box: tuple[slice, slice, slice]
    spacing: tuple[float, ...]
    network_spacing: tuple[float, ...]

    @property
    def cropped_shape(self) -> tuple[int, ...]:
        """Shape of the box, before resampling."""
        return tuple(side.stop - side.start for side in self.box)


def network_spacing(spacing: Sequence[float], member: Member) -> tuple[float, ...]:
    """Spacing that the network works at, for an image's spacing in the network's axis order.

    A two-dimensional network works slice by slice and leaves the distance of the slices alone.
    """
    planned = member.preprocessing.spacing
    return (float(spacing[0]), *planned) if len(planned) == 2 else planned


def resampled_shape(shape: Sequence[int], spacing: Sequence[float], member: Member) -> tuple[int, ...]:
    """Shape of the network's input for an image of this shape and spacing, both in the image's axis order.

    For the shape of the whole image this is an upper bound, for cropping only makes it smaller; for the shape
    after cropping it is exact. Nothing heavy is computed.
    """
    forward = member.preprocessing.transpose_forward
    turned = [spacing[axis] for axis in forward]
    return new_shape([shape[axis] for axis in forward], turned, network_spacing(turned, member))


def preprocess(image: Image, member: Member, previous: PreviousStage | None = None) -> Preprocessed:
    """Bring an image to the network's input, as nnU-Net's DefaultPreprocessor does.

    Args:
        image: as nnU-Net's reader returns it.
        member: the configuration.
        previous: what a cascade's previous stage found; its labels become further channels.

    Raises:
        Refusal: CONTRACT_CHANNEL_COUNT for a wrong number of channels, CONTRACT_SIZE where resampling would
            leave nothing of an axis, CONTRACT_VALUE_RANGE where RGB normalisation meets other values.
    """
    plan = member.preprocessing
    _require_channels(image, len(plan.channels))
    forward = plan.transpose_forward
    spacing = tuple(image.spacing[axis] for axis in forward)
    # a copy, since normalisation works in place; the memory layout stays, for sums depend on it
    data = image.data.astype(np.float32).transpose(0, *(axis + 1 for axis in forward))
    nonzero = (data != 0).any(axis=0)
    box = bounding_box(nonzero)
    cropped = data[:, *box]
    needs_mask = any(channel.use_mask for channel in plan.channels) or previous is not None
    inside = ndimage.binary_fill_holes(nonzero)[box] if needs_mask else None
    labels = None
    if previous is not None and inside is not None:
        labels = marked_labels(previous.mask.transpose(forward)[box], inside)
        inside = labels >= 0  # for nnU-Net, what was labelled counts as inside
    target_spacing = network_spacing(spacing, member)
    target = new_shape(cropped.shape[1:], spacing, target_spacing)
    _require_voxels(target, cropped.shape[1:])
    for volume, channel in zip(cropped, plan.channels, strict=True):
        normalize(volume, inside, channel)
    resize = plan_resize(cropped.shape[1:], target, (spacing, target_spacing), plan.resampling_image)
    resampled = resample_image(cropped, resize)
    if previous is not None and labels is not None and plan.resampling_labels is not None:
        labels = resample_labels(labels, target, (spacing, target_spacing), plan.resampling_labels)
        resampled = np.concatenate([resampled, label_channels(labels, previous.values)])
    return Preprocessed(resampled, data.shape[1:], box, spacing, target_spacing)


def bounding_box(mask: NDArray[Any]) -> tuple[slice, slice, slice]:
    """Smallest box around the True voxels of (z, y, x); the whole volume where there are none.

    Example:
        >>> mask = np.zeros((4, 4, 4), bool); mask[1, 2:, 0] = True
        >>> bounding_box(mask)
        (slice(1, 2, None), slice(2, 4, None), slice(0, 1, None))
    """
    z, y, x = (_extent(np.asarray(mask.any(axis=others))) for others in ((1, 2), (0, 2), (0, 1)))
    return z, y, x


def _extent(occupied: NDArray[np.bool_]) -> slice:
    positions = np.flatnonzero(occupied)
    return slice(int(positions[0]), int(positions[-1]) + 1) if len(positions) else slice(0, len(occupied))


def _require_channels(image: Image, expected: int) -> None:
    if len(image.data) != expected:
        raise Refusal(
            Code.CONTRACT_CHANNEL_COUNT,
            f"The image has {len(image.data)} channels; the model expects {expected}.",
            remedy="Send one image per channel, in the model's order.",
            observed=len(image.data),
            expected=expected,
        )


def _require_voxels(target: tuple[int, ...], cropped: tuple[int, ...]) -> None:
    if min(target) < 1:
        raise Refusal(
            Code.CONTRACT_SIZE,
            f"At the model's spacing, {cropped} voxels become {target}: nothing would be left.",
            remedy="Send a larger image, or correct its spacing.",
            observed=list(target),
            expected="at least one voxel along every axis",
        )
