"""nnU-Net's five intensity normalisations, in its order of float32 operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.schema import Channel, Normalization

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EPSILON = 1e-8
_RGB_MAXIMUM = 255


@dataclass(frozen=True)
class Intensities:
    """What normalisation does to each voxel of a channel: clip, subtract, divide.

    The whole channel has been looked at for it; voxels are then changed in any portions.

    Attributes:
        range: smallest and largest value; None does not clip.
        shift: is subtracted; None subtracts nothing.
        scale: divides; None leaves everything as it is.
        masked: whether voxels outside the nonzero region stay as they are.
    """

    range: tuple[float, float] | None = None
    shift: Any = None
    scale: Any = None
    masked: bool = False

    def apply(self, values: NDArray[np.float32], inside: NDArray[np.bool_] | None) -> None:
        """Normalise voxels in place.

        Args:
            values: float32, any voxels of the channel.
            inside: whether each lies in the nonzero region; needed where the channel is masked.
        """
        if self.scale is None:
            return
        target = values.copy() if self.masked else values
        if self.range is not None:
            np.clip(target, *self.range, out=target)
        if self.shift is not None:
            target -= self.shift
        target /= self.scale
        if self.masked:
            np.copyto(values, target, where=True if inside is None else inside)


def intensities(
    volume: NDArray[np.float32], inside: NDArray[np.bool_] | None, channel: Channel
) -> Intensities:
    """Find out how a channel is normalised.

    Args:
        volume: the cropped channel (z, y, x), in the memory layout that nnU-Net has: sums depend on it.
        inside: the nonzero region, needed where the channel uses the mask.
        channel: which normalisation, and the training statistics that CT normalisation needs.

    Raises:
        Refusal: CONTRACT_VALUE_RANGE where RGB normalisation meets values that are not RGB values.
    """
    match channel.normalization:
        case Normalization.CT:
            return _ct(channel)
        case Normalization.Z_SCORE:
            return _z_score(volume, inside if channel.use_mask else None)
        case Normalization.RESCALE_0_1:
            return _rescale(volume)
        case Normalization.RGB_0_1:
            return _rgb(volume, channel)
        case Normalization.NONE:
            return Intensities()


def _ct(channel: Channel) -> Intensities:
    low, high = channel.percentile_00_5, channel.percentile_99_5
    mean, std = channel.mean, channel.std
    assert low is not None, "the bundle's checks require statistics"
    assert high is not None, "the bundle's checks require statistics"
    assert mean is not None, "the bundle's checks require statistics"
    assert std is not None, "the bundle's checks require statistics"
    return Intensities((low, high), mean, max(std, _EPSILON))


def _z_score(volume: NDArray[np.float32], inside: NDArray[np.bool_] | None) -> Intensities:
    values = volume if inside is None else volume[inside]
    if values.size == 0:  # a blank image has no statistics, and nothing to change
        return Intensities()
    return Intensities(None, values.mean(), max(values.std(), _EPSILON), masked=inside is not None)


def _rescale(volume: NDArray[np.float32]) -> Intensities:
    low, high = volume.min(), volume.max()
    return Intensities(None, low, max(high - low, _EPSILON))


def _rgb(volume: NDArray[np.float32], channel: Channel) -> Intensities:
    low, high = float(volume.min()), float(volume.max())
    if low < 0 or high > _RGB_MAXIMUM:
        raise Refusal(
            Code.CONTRACT_VALUE_RANGE,
            f"Channel {channel.name!r} holds values from {low:g} to {high:g}, the model expects 8 bits.",
            remedy="Send pictures with values from 0 to 255.",
            observed=[low, high],
            expected=[0, _RGB_MAXIMUM],
        )
    return Intensities(scale=float(_RGB_MAXIMUM))
