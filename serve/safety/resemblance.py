"""Whether an image is far from the training images, by rules of thumb: hints, not a calibrated judgement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.serve.answer import Warning_
from nnunet_losses.serve.schema import Normalization

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.schema import Channel, Fingerprint, ModelDescription

SPACING_FACTOR = 2.0  # beyond the training images' smallest and largest spacing
EXTENT_FACTOR = 2.0  # beyond their smallest and largest extent
CONTRAST_FACTOR = 10.0  # by which the image's contrast may be smaller than the foreground's in training
BEYOND_FACTOR = 50.0  # how many widths of the foreground's range an image may reach beyond that range
# normalisations that take the scale out: a small contrast means nothing
SCALE_FREE = (Normalization.Z_SCORE, Normalization.RESCALE_0_1)
SAMPLED_VOXELS = 1_000_000
FEWEST_VOXELS = 1000  # of a sample
AXES = ("z", "y", "x")


def resemblance_warnings(image: Image, description: ModelDescription) -> tuple[Warning_, ...]:
    """Compare spacing, extent and intensities with what the bundle says of the training images.

    Args:
        image: with finite values.
        description: of the model; what it does not say is not compared.
    """
    warnings: list[Warning_] = []
    if description.fingerprint is not None:
        warnings += _grid_warnings(image, description.fingerprint)
    channels = description.members[0].preprocessing.channels
    for voxels, channel in zip(image.data, channels, strict=True):
        warnings += _intensity_warnings(voxels, channel)
    return tuple(warnings)


def _grid_warnings(image: Image, fingerprint: Fingerprint) -> Iterator[Warning_]:
    is_flat, trained_flat = image.geometry.dimension == 2, fingerprint.shape_max[0] == 1
    if trained_flat and not is_flat:
        yield Warning_(
            code="input.dimensions_unusual",
            message="The image is a volume; the model was trained with pictures, and looks at slices alone.",
            observed=3,
            expected=2,
        )
    axes = range(1 if is_flat or trained_flat else 0, 3)
    yield from _spacing_warnings(image.spacing, fingerprint, axes)
    yield from _extent_warnings(image, fingerprint, axes)


def _spacing_warnings(
    spacing: Sequence[float], fingerprint: Fingerprint, axes: Sequence[int]
) -> Iterator[Warning_]:
    low, high = fingerprint.spacing_min, fingerprint.spacing_max
    far = [a for a in axes if not low[a] / SPACING_FACTOR <= spacing[a] <= high[a] * SPACING_FACTOR]
    if far:
        sentence = (
            f"The voxels are {_list(spacing, far)} mm large; those of the training images were "
            f"{_ranges(low, high, far)} mm. The answer may be worse than usual."
        )
        yield Warning_(
            code="input.spacing_unusual",
            message=sentence,
            observed=list(spacing),
            expected={"smallest": list(low), "largest": list(high), "factor": SPACING_FACTOR},
        )


def _extent_warnings(image: Image, fingerprint: Fingerprint, axes: Sequence[int]) -> Iterator[Warning_]:
    extent = np.multiply(image.shape, image.spacing).tolist()
    low = np.multiply(fingerprint.shape_min, fingerprint.spacing_min).tolist()
    high = np.multiply(fingerprint.shape_max, fingerprint.spacing_max).tolist()
    unit = "pixels" if image.geometry.spacing == (1.0, 1.0) else "mm"  # pictures have no millimetres
    far = [a for a in axes if not low[a] / EXTENT_FACTOR <= extent[a] <= high[a] * EXTENT_FACTOR]
    if far:
        sentence = (
            f"The image is {_list(extent, far)} {unit} large; the training images were "
            f"{_ranges(low, high, far)} {unit}. It may show more, or less, than the model knows."
        )
        yield Warning_(
            code="input.extent_unusual",
            message=sentence,
            observed=extent,
            expected={"smallest": low, "largest": high, "factor": EXTENT_FACTOR},
        )


def _list(values: Sequence[float], axes: Sequence[int]) -> str:
    return ", ".join(f"{values[axis]:.3g} ({AXES[axis]})" for axis in axes)


def _ranges(low: Sequence[float], high: Sequence[float], axes: Sequence[int]) -> str:
    return ", ".join(f"{low[axis]:.3g} to {high[axis]:.3g} ({AXES[axis]})" for axis in axes)


def _intensity_warnings(voxels: NDArray[np.float32], channel: Channel) -> Iterator[Warning_]:
    """Compare the central 99 % with the foreground in training: another unit or modality?"""
    low, high = channel.percentile_00_5, channel.percentile_99_5
    if low is None or high is None or low >= high:
        return
    observed, width = _central_range(voxels), high - low
    apart = observed[1] < low or observed[0] > high
    beyond = max(low - observed[0], observed[1] - high) > BEYOND_FACTOR * width
    flat = observed[1] - observed[0] < width / CONTRAST_FACTOR
    if apart or beyond or (flat and channel.normalization not in SCALE_FREE):
        yield Warning_(
            code="input.intensity_unusual",
            message=(
                f"{channel.name} has intensities from {observed[0]:.4g} to {observed[1]:.4g}; the "
                f"structures in the training images had {low:.4g} to {high:.4g}. "
                "Unit, scaling or modality may be different."
            ),
            observed=list(observed),
            expected={"foreground_in_training": [low, high], "beyond_factor": BEYOND_FACTOR},
        )


def _central_range(voxels: NDArray[np.float32]) -> tuple[float, float]:
    """0.5th and 99.5th percentile of the nonzero voxels, of an even sample where there are many."""
    sample = voxels.ravel()[:: max(1, voxels.size // SAMPLED_VOXELS)]
    values = sample[sample != 0]
    if values.size < FEWEST_VOXELS:
        values = voxels[voxels != 0]
    low, high = np.percentile(values, (0.5, 99.5)) if values.size else (0.0, 0.0)
    return float(low), float(high)
