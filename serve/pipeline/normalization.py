"""nnU-Net's five intensity normalisations, in its order of float32 operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.schema import Channel, Normalization

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EPSILON = 1e-8
_RGB_MAXIMUM = 255


def normalize(volume: NDArray[np.float32], inside: NDArray[np.bool_] | None, channel: Channel) -> None:
    """Normalise one channel in place.

    Args:
        volume: float32 (z, y, x).
        inside: the nonzero region, needed where the channel uses the mask.
        channel: which normalisation, and the training statistics that CT normalisation needs.

    Raises:
        Refusal: CONTRACT_VALUE_RANGE where RGB normalisation meets values that are not RGB values.
    """
    match channel.normalization:
        case Normalization.CT:
            _ct(volume, channel)
        case Normalization.Z_SCORE:
            _z_score(volume, inside if channel.use_mask else None)
        case Normalization.RESCALE_0_1:
            _rescale(volume)
        case Normalization.RGB_0_1:
            _rgb(volume, channel)
        case Normalization.NONE:
            pass


def _ct(volume: NDArray[np.float32], channel: Channel) -> None:
    mean, std = channel.mean, channel.std
    low, high = channel.percentile_00_5, channel.percentile_99_5
    assert mean is not None, "the bundle's checks require statistics"
    assert std is not None, "the bundle's checks require statistics"
    np.clip(volume, low, high, out=volume)
    volume -= mean
    volume /= max(std, _EPSILON)


def _z_score(volume: NDArray[np.float32], inside: NDArray[np.bool_] | None) -> None:
    if inside is None:
        mean, std = volume.mean(), volume.std()
        volume -= mean
        volume /= max(std, _EPSILON)
        return
    values = volume[inside]
    if values.size == 0:  # a blank image has no statistics, and nothing to change
        return
    volume[inside] = (values - values.mean()) / max(values.std(), _EPSILON)


def _rescale(volume: NDArray[np.float32]) -> None:
    volume -= volume.min()
    volume /= max(volume.max(), _EPSILON)


def _rgb(volume: NDArray[np.float32], channel: Channel) -> None:
    low, high = float(volume.min()), float(volume.max())
    if low < 0 or high > _RGB_MAXIMUM:
        raise Refusal(
            Code.CONTRACT_VALUE_RANGE,
            f"Channel {channel.name!r} holds values from {low:g} to {high:g}, the model expects 8 bits.",
            remedy="Send pictures with values from 0 to 255.",
            observed=[low, high],
            expected=[0, _RGB_MAXIMUM],
        )
    volume /= 255.0
