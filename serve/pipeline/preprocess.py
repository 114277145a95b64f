"""From the image to the network's input: transpose, crop to nonzero, normalise, resample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.serve.errors import Code, Refusal

from .cascade import marked_labels, resample_labels, write_label_channels
from .nonzero import fill_holes, nonzero, nonzero_box
from .normalization import Intensities, intensities
from .parallel import Workers
from .resample import new_shape, plan_resize, resample_volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.schema import Member

    from .cascade import Labels, PreviousStage
    from .nonzero import Box


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


def preprocess(
    image: Image, member: Member, previous: PreviousStage | None = None, *, threads: int | None = None
) -> Preprocessed:
    """Bring an image to the network's input, as nnU-Net's DefaultPreprocessor does.

    Args:
        image: as nnU-Net's reader returns it.
        member: the configuration.
        previous: what a cascade's previous stage found; its labels become further channels.
        threads: None takes the cores that this process may use.

    Raises:
        Refusal: CONTRACT_CHANNEL_COUNT for a wrong number of channels, CONTRACT_SIZE where resampling would
            leave nothing of an axis, CONTRACT_VALUE_RANGE where RGB normalisation meets other values.
    """
    plan = member.preprocessing
    _require_channels(image, len(plan.channels))
    forward = plan.transpose_forward
    spacing = tuple(image.spacing[axis] for axis in forward)
    target_spacing = network_spacing(spacing, member)
    with Workers(threads) as workers:
        sides = nonzero_box(image.data, workers)
    box = (sides[forward[0]], sides[forward[1]], sides[forward[2]])
    # never a copy: nnU-Net's memory layout stays, for sums depend on it
    data = image.data.astype(np.float32, copy=False).transpose(0, *(axis + 1 for axis in forward))
    cropped = data[:, *box]
    target = new_shape(cropped.shape[1:], spacing, target_spacing)
    _require_voxels(target, cropped.shape[1:])
    inside, labels = _regions(cropped, box, member, previous)
    resize = plan_resize(cropped.shape[1:], target, (spacing, target_spacing), plan.resampling_image)
    appended = 0 if previous is None or labels is None else len(previous.values)
    result = np.empty((len(cropped) + appended, *target), np.float32)
    for volume, channel, resampled in zip(cropped, plan.channels, result, strict=False):
        load = partial(_normalized, volume, inside, intensities(volume, inside, channel))
        resample_volume(load, volume.shape, resize, resampled, threads=threads)
    if previous is not None and labels is not None and plan.resampling_labels is not None:
        labels = resample_labels(labels, target, (spacing, target_spacing), plan.resampling_labels)
        write_label_channels(labels, previous.values, result[len(cropped) :])
    return Preprocessed(result, data.shape[1:], box, spacing, target_spacing)


def _regions(
    cropped: NDArray[np.float32], box: Box, member: Member, previous: PreviousStage | None
) -> tuple[NDArray[np.bool_] | None, Labels | None]:
    """The nonzero region and the previous stage's labels, as far as they are needed."""
    plan = member.preprocessing
    if previous is None and not any(channel.use_mask for channel in plan.channels):
        return None, None
    inside = fill_holes(nonzero(cropped))
    if previous is None:
        return inside, None
    labels = marked_labels(previous.mask.transpose(plan.transpose_forward)[box], inside)
    return labels >= 0, labels  # for nnU-Net, what was labelled counts as inside


def _normalized(
    volume: NDArray[np.float32],
    inside: NDArray[np.bool_] | None,
    change: Intensities,
    part: tuple[slice, ...],
) -> NDArray[np.float32]:
    """Part of a channel, normalised: a copy."""
    values = np.array(volume[part], order="C")
    change.apply(values, None if inside is None else inside[part])
    return values


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
