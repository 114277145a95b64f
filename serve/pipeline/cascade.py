"""The second stage of a cascade: the previous stage's mask becomes channels of the network's input.

nnU-Net crops the mask with the image, marks background outside the nonzero region with -1, resamples the
labels and appends one channel of zeros and ones for each foreground label.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnunet_losses.serve.schema import Resampling

from .resample import plan_resize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnunet_losses.serve.schema import LabelResampling

    from .resample import Resize

Labels = NDArray[np.int32]

OUTSIDE = -1  # background outside the nonzero region: a label of its own while labels are resampled
_VOXELS = 2**19  # that are resampled at once
_POINTS = 2**15  # disputed ones that are computed at once: each takes some 200 bytes


@dataclass(frozen=True, eq=False)
class PreviousStage:
    """What the previous stage found.

    Attributes:
        mask: (z, y, x) on the image's own grid.
        values: mask values that get a channel each, in the channels' order.
    """

    mask: NDArray[Any]
    values: tuple[int, ...]


def marked_labels(mask: NDArray[Any], inside: NDArray[np.bool_]) -> Labels:
    """Labels of a cropped mask, -1 where background lies outside the nonzero region.

    Example:
        >>> marked_labels(np.array([0, 0, 2]), np.array([True, False, False])).tolist()
        [0, -1, 2]
    """
    labels = mask.astype(np.int32)
    labels[(labels == 0) & ~inside] = OUTSIDE
    return labels


def write_label_channels(labels: Labels, values: Sequence[int], channels: NDArray[np.float32]) -> None:
    """Write one channel of zeros and ones for each value into (values, z, y, x).

    Example:
        >>> channels = np.empty((2, 1, 1, 4), np.float32)
        >>> write_label_channels(np.array([[[-1, 0, 1, 2]]], np.int32), (1, 2), channels)
        >>> channels.tolist()
        [[[[0.0, 0.0, 1.0, 0.0]]], [[[0.0, 0.0, 0.0, 1.0]]]]
    """
    for channel, value in zip(channels, values, strict=True):
        np.equal(labels, value, out=channel)


def resample_labels(
    labels: Labels,
    target: Sequence[int],
    spacings: tuple[Sequence[float], Sequence[float]],
    resampling: LabelResampling,
) -> Labels:
    """Resample a label map as nnU-Net's ``resample_data_or_seg_to_shape(is_seg=True)`` does.

    Each label is interpolated linearly by itself, and the largest share wins; among equal shares the nearest
    voxel's label, if it is one of them, else the smallest. Where all neighbours agree nothing is computed.

    Args:
        labels: (z, y, x).
        target: wanted shape.
        spacings: current and new spacing.
        resampling: how.
    """
    nearest = _plan(labels.shape, target, spacings, resampling, order=0)
    if nearest.is_identity:
        return labels
    if resampling.order == 0:
        return _nearest(labels, nearest, slice(None))
    linear = _plan(labels.shape, target, spacings, resampling, order=1)
    result = np.empty(nearest.shape, np.int32)
    step = max(1, _VOXELS // (result.shape[1] * result.shape[2]))
    for start in range(0, len(result), step):
        rows = slice(start, min(start + step, len(result)))
        part = _nearest(labels, nearest, rows)
        disputed = np.flatnonzero(_disputed(labels, linear, rows))
        for first in range(0, len(disputed), _POINTS):
            z, y, x = places = np.unravel_index(disputed[first : first + _POINTS], part.shape)
            part[places] = _largest_share(labels, linear, (z + rows.start, y, x), favourite=part[places])
        result[rows] = part
    return result


def _plan(
    shape: Sequence[int],
    target: Sequence[int],
    spacings: tuple[Sequence[float], Sequence[float]],
    resampling: LabelResampling,
    *,
    order: Any,
) -> Resize:
    way = Resampling(order=order, order_z=resampling.order_z, force_separate_z=resampling.force_separate_z)
    return plan_resize(shape, target, spacings, way)


def _nearest(labels: Labels, resize: Resize, rows: slice) -> Labels:
    z, y, x = (axis_map.indices for axis_map in resize.maps)
    return labels[np.ix_(z[rows], y, x)]


def _disputed(labels: Labels, linear: Resize, rows: slice) -> NDArray[np.bool_]:
    """Where not all neighbours have one label: their smallest and largest label differ."""
    low = high = labels
    for axis, axis_map in enumerate(linear.maps):
        wanted = np.arange(len(axis_map))[rows if axis == 0 else slice(None)]
        neighbours = [indices for indices, _ in axis_map.neighbours(wanted)]
        first, last = neighbours[0], neighbours[-1]
        low = np.minimum(low.take(first, axis), low.take(last, axis))
        high = np.maximum(high.take(first, axis), high.take(last, axis))
    return np.asarray(low != high)


def _largest_share(
    labels: Labels, linear: Resize, places: tuple[NDArray[np.intp], ...], *, favourite: Labels
) -> Labels:
    """Label with the largest interpolated share at each place, in SciPy's order of operations."""
    axes = [axis_map.neighbours(place) for axis_map, place in zip(linear.maps, places, strict=True)]
    corners = []
    for neighbours in product(*axes):
        (z, _), (y, _), (x, _) = neighbours
        weight = np.ones(len(places[0]))
        for _, factor in neighbours:
            weight = weight if factor is None else weight * factor
        corners.append((labels[z, y, x], weight))
    winner, best = np.empty_like(favourite), np.zeros(len(favourite))
    favoured = np.zeros(len(favourite), bool)  # whether the favourite has the best share so far
    for label in np.unique([found for found, _ in corners]):
        share = sum(np.where(found == label, weight, 0.0) for found, weight in corners)
        is_favourite = favourite == label
        favoured |= (share == best) & (share > 0) & is_favourite
        better = share > best
        favoured[better] = is_favourite[better]
        winner[better] = label
        np.maximum(best, share, out=best)
    return np.where(favoured, favourite, winner)
