"""nnU-Net's ``resample_data_or_seg_to_shape`` without skimage: one small matrix per axis, the same numbers.

Isotropic volumes are resized in three dimensions. Volumes with one much coarser axis are resized slice by
slice and then, with an interpolation of its own, along that axis ("separate z", though it may be any axis).
As in skimage, a cubic result is clipped to the range of its input: per channel, or per slice in separate z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .interpolation import AxisMap, map_axis, resize_axis
from .parallel import parallel_map

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nnunet_losses.serve.schema import Resampling

    Part = tuple[slice, ...]

# smallest and largest values that a result may have; None: whatever comes out
Limits = tuple[NDArray[Any], NDArray[Any]] | None

# nnU-Net: spacings that differ by more than this factor are resampled in two steps
ANISOTROPY_THRESHOLD = 3

_VOXELS = 2**19  # that are resized at once


def new_shape(
    shape: Sequence[int], spacing: Sequence[float], new_spacing: Sequence[float]
) -> tuple[int, ...]:
    """Shape of an array after resampling, as nnU-Net rounds it: half to even, in its order of operations.

    Example:
        >>> new_shape((10, 5, 5), (1.0, 0.5, 1.0), (1.0, 1.0, 2.0))
        (10, 2, 2)
    """
    triples = zip(spacing, new_spacing, shape, strict=True)
    return tuple(round(float(old) / float(new) * int(size)) for old, new, size in triples)


def coarse_axis(
    spacing: Sequence[float], new_spacing: Sequence[float], *, force: bool | None = None
) -> int | None:
    """Axis that is resampled on its own, or None to resample all at once.

    Args:
        spacing: current spacing of the three axes.
        new_spacing: spacing after resampling; decides where the current one is nearly isotropic.
        force: nnU-Net's ``force_separate_z``; None decides by anisotropy.

    Example:
        >>> coarse_axis((5.0, 1.0, 1.0), (1.0, 1.0, 1.0)), coarse_axis((5.0, 5.0, 1.0), (1.0, 1.0, 1.0))
        (0, None)
    """
    if force is False:
        return None
    if force or _is_anisotropic(spacing):
        deciding = spacing
    elif _is_anisotropic(new_spacing):
        deciding = new_spacing
    else:
        return None
    axes = np.flatnonzero(max(deciding) / np.array(deciding) == 1)
    return int(axes[0]) if len(axes) == 1 else None


def _is_anisotropic(spacing: Sequence[float]) -> bool:
    return bool(np.max(spacing) / np.min(spacing) > ANISOTROPY_THRESHOLD)


@dataclass(frozen=True, eq=False)
class Resize:
    """A way from one grid to another: for each axis how to interpolate, and in which order.

    Attributes:
        maps: the three axes' interpolations.
        clipped_axes: axes over which the clipping range is taken; None where nothing needs clipping.
        last: the axis that is interpolated after clipping; None where all are interpolated before.
    """

    maps: tuple[AxisMap, AxisMap, AxisMap]
    clipped_axes: tuple[int, ...] | None
    last: int | None

    @property
    def is_identity(self) -> bool:
        """Whether nothing is resampled."""
        return all(axis_map.is_identity for axis_map in self.maps)

    @cached_property
    def is_linear(self) -> bool:
        """Whether a voxel of the result depends on no more than two neighbours along each axis."""
        return self.clipped_axes is None and all(axis_map.is_linear for axis_map in self.maps)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the result."""
        z, y, x = (len(axis_map) for axis_map in self.maps)
        return z, y, x

    def limits(self, volume: NDArray[Any]) -> Limits:
        """Clipping range of a volume (z, y, x): three axes, of length 1 where the range is taken over."""
        if self.clipped_axes is None:
            return None
        return (
            volume.min(axis=self.clipped_axes, keepdims=True),
            volume.max(axis=self.clipped_axes, keepdims=True),
        )

    def __call__(self, volume: NDArray[Any], limits: Limits) -> NDArray[Any]:
        """Resize a float32 or float64 volume (z, y, x) and clip it to the limits."""
        # growing axes last, so that as little as possible is computed
        order = sorted(
            range(3), key=lambda axis: (axis == self.last, len(self.maps[axis]) / volume.shape[axis])
        )
        for axis in order:
            if axis == self.last:
                volume = _clip(volume, limits)
                limits = None
            volume = self.maps[axis].apply(volume, axis)
        return _clip(volume, limits)

    def rows(self, start: int, stop: int) -> tuple[slice, Resize]:
        """Restrict to slices [start, stop) of the result: the input slices needed, and the way from them."""
        window, first = self.maps[0].rows(start, stop)
        return window, Resize((first, *self.maps[1:]), self.clipped_axes, self.last)


def _clip(volume: NDArray[Any], limits: Limits) -> NDArray[Any]:
    return volume if limits is None else np.clip(volume, *limits)


def plan_resize(
    shape: Sequence[int],
    target: Sequence[int],
    spacings: tuple[Sequence[float], Sequence[float]],
    resampling: Resampling,
) -> Resize:
    """Decide how a volume is resized.

    Args:
        shape: of the volume (z, y, x).
        target: wanted shape.
        spacings: current and new spacing.
        resampling: nnU-Net's orders, and whether the coarse axis is separate.
    """
    last = coarse_axis(*spacings, force=resampling.force_separate_z)
    maps = [resize_axis(int(old), int(new), resampling.order) for old, new in zip(shape, target, strict=True)]
    within = tuple(axis for axis in range(3) if axis != last)
    if last is not None:
        maps[last] = map_axis(int(shape[last]), int(target[last]), resampling.order_z)
    # linear and nearest interpolation cannot leave the input's range
    needs_clipping = resampling.order > 1 and not all(maps[axis].is_identity for axis in within)
    return Resize((maps[0], maps[1], maps[2]), within if needs_clipping else None, last)


def resample_image(
    image: NDArray[np.float32], resize: Resize, *, threads: int | None = None
) -> NDArray[np.float32]:
    """Resize every channel of an image (channels, z, y, x), in float64 as nnU-Net does."""
    if resize.is_identity:
        return image
    result = np.empty((len(image), *resize.shape), np.float32)
    for volume, resampled in zip(image, result, strict=True):
        resample_volume(volume.__getitem__, volume.shape, resize, resampled, threads=threads)
    return result


def resample_volume(
    load: Callable[[Part], NDArray[np.float32]],
    shape: Sequence[int],
    resize: Resize,
    result: NDArray[np.float32],
    *,
    threads: int | None = None,
) -> None:
    """Resize a volume (z, y, x) in float64: two axes slice by slice, then the third one.

    Args:
        load: returns a part of the volume; is called once for each part, in several threads.
        shape: of the volume.
        resize: the way.
        result: float32, is written to.
        threads: None takes the cores that this process may use.
    """
    axis = resize.last or 0
    third = resize.maps[axis]
    middle = result
    if not third.is_identity:
        size = [shape[other] if other == axis else len(resize.maps[other]) for other in range(3)]
        middle = np.empty(size, np.float32 if third.weights is None else np.float64)
    slices = _cut(shape, axis)
    limits = parallel_map(partial(_resize_slices, load, resize, middle), slices, threads)
    clip = None
    if resize.clipped_axes is not None and resize.last is None:
        clip = min(low for low, _ in limits), max(high for _, high in limits)
    if not third.is_identity or clip is not None:
        other = 1 if axis == 0 else 0
        parts = _cut(middle.shape, other)
        parallel_map(partial(_resize_third, middle, (third, axis), clip, result), parts, threads)


def _cut(shape: Sequence[int], axis: int) -> list[Part]:
    """Cut a volume into slices across an axis, a few at a time."""
    step = max(1, _VOXELS * shape[axis] // math.prod(shape))
    before = (slice(None),) * axis
    return [(*before, slice(start, min(start + step, shape[axis]))) for start in range(0, shape[axis], step)]


def _resize_slices(
    load: Callable[[Part], NDArray[np.float32]], resize: Resize, middle: NDArray[Any], part: Part
) -> tuple[float, float]:
    """Resize slices within their plane; return their range before that."""
    values = load(part)
    limits = resize.limits(values)
    axis = resize.last or 0
    plane = [other for other in range(3) if other != axis and not resize.maps[other].is_identity]
    if plane:
        values = values.astype(np.float64)
    for other in sorted(plane, key=lambda other: len(resize.maps[other]) / values.shape[other]):
        values = resize.maps[other].apply(values, other)
    middle[part] = values if resize.last is None else _clip(values, limits)
    return (0.0, 0.0) if limits is None else (float(limits[0].min()), float(limits[1].max()))


def _resize_third(
    middle: NDArray[Any],
    third: tuple[AxisMap, int],
    clip: tuple[float, float] | None,
    result: NDArray[np.float32],
    part: Part,
) -> None:
    """Resize along the third axis, and clip to the range of the whole volume."""
    axis_map, axis = third
    values = axis_map.apply(middle[part], axis)
    if clip is not None:
        values = np.clip(values, *clip)
    result[part] = values
